// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that interrupt by their lines (INTx).

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("line::a_device_interrupts_by_its_line_until_it_was_dealt_with", works),
    Case::new("line::shared_unknown_and_missing_lines_are_refused", refused),
];

/// Three times, since everything is taken back and made anew in between.
fn works() -> Outcome {
    let system = build::system("line")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("interrupts by its line, global interrupt 22")?;
        for _ in 0..3 {
            for check in [
                "line-instead-of-messages",
                "line-found",
                "line-one-run-each",
                "line-again-while-high",
                "line-masked-pin",
                "line-turned-off-at-the-device",
                "line-from-hlt",
                "line-without-bus-mastering",
                "line-never-within-a-run",
                "line-in-service-during-a-run",
                "line-not-in-service-afterwards",
            ] {
                machine.expect(&format!("[line] test {check} ... "))?;
            }
            machine.expect("[line] tests: 12 passed, 0 failed")?;
            machine.expect("the guest has ended with exit code 0")?;
        }
        machine.refute("FAILED")?;
        machine.refute("dma fault")
    })
}

fn refused() -> Outcome {
    let system = build::system("line-refused")?;
    with(Machine::start(&system.arguments())?, |machine| {
        for (vm, why) in [
            ("shared", "device /00:04.0/00.0: 0000:00:1f.2 has the same interrupt line (INTx)"),
            (
                "nowhere",
                "device /00:06.0/00.0: its interrupt line (INTx): iommu-server: no I/O APIC of this machine",
            ),
            ("none", "device /00:08.0/00.0: it has no interrupt line"),
        ] {
            machine.expect_all(&[&format!("vm {vm}: refused"), why])?;
        }
        machine.refute("attached to")
    })
}
