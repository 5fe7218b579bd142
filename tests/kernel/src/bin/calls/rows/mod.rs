// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table, by object.

use crate::table::Group;

mod asid;
mod cnode;
mod extensions;
mod interrupts;
mod io;
mod memory;
mod nested;
mod ports;
mod sched;
mod tcb;
mod untyped;
mod vcpu;

/// All of it.
pub const ALL: &[&[Group]] = &[
    untyped::ROWS,
    tcb::ROWS,
    cnode::ROWS,
    sched::ROWS,
    interrupts::ROWS,
    ports::ROWS,
    memory::ROWS,
    asid::ROWS,
    nested::ROWS,
    io::ROWS,
    vcpu::ROWS,
    extensions::ROWS,
];
