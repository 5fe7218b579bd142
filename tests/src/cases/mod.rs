// SPDX-License-Identifier: MIT OR Apache-2.0
//! The booted tests, by area.

use crate::runner::Case;

mod attack;
mod bochs;
mod config;
mod death;
mod device;
mod edu;
mod entry;
mod faults;
mod firmware;
mod gate;
mod groups;
mod hostile;
mod http;
mod inspect;
mod isolation;
mod kernel;
mod line;
mod memory;
mod messages;
mod nvme;
mod refusals;
mod restart;
mod snapshot;
mod sriov;
mod time;
mod tool;
mod vmm;

/// All of them, in the order in which they run: what the others stand on comes first.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        kernel::CASES,
        isolation::CASES,
        bochs::CASES,
        edu::CASES,
        nvme::CASES,
        sriov::CASES,
        device::CASES,
        gate::CASES,
        config::CASES,
        messages::CASES,
        line::CASES,
        groups::CASES,
        memory::CASES,
        http::CASES,
        inspect::CASES,
        snapshot::CASES,
        refusals::CASES,
        firmware::CASES,
        hostile::CASES,
        attack::CASES,
        entry::CASES,
        vmm::CASES,
        faults::CASES,
        restart::CASES,
        death::CASES,
        time::CASES,
        tool::CASES,
    ]
    .concat()
}
