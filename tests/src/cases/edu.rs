// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device `edu` passed through: its own tests in the guest.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[Case::new("edu::dma_and_messages_work_in_the_guest", works)];

fn works() -> Outcome {
    let system = build::system("systems/edu.toml")?;
    with(Machine::start(&system.arguments())?, |machine| {
        let summary = machine.expect("[edu] tests: ")?;
        machine.refute("FAILED")?;
        for check in [
            "dma-out-and-back",
            "msi-one-run-per-message",
            "msi-pending-while-off",
            "msi-from-hlt",
            "dma-message-from-hlt",
            "no-bus-mastering-no-message",
        ] {
            machine.expect_anywhere(&format!("[edu] test {check} ... ok"))?;
        }
        if !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.expect("the guest has ended with exit code 0")?;
        machine.refute("dma fault")
    })
}
