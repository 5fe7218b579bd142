// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices with several messages: a guest rings each and looks at what comes.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("messages::sixteen_of_msi_come_each_as_its_own", msi),
    Case::new("messages::sixteen_of_msix_come_each_as_its_own", msix),
];

fn msi() -> Outcome {
    let checks =
        ["msi-each-its-own", "msi-written-in-halves", "msi-fewer-fold", "msi-low-bits-are-the-devices"];
    works("xhci-msi", &checks)
}

fn msix() -> Outcome {
    let checks = [
        "bar-moved-in-halves",
        "msix-each-its-own",
        "msix-a-masked-vector-is-pending",
        "msix-all-masked",
        "msix-a-message-can-change-while-masked",
    ];
    works("xhci-msix", &checks)
}

fn works(name: &str, checks: &[&str]) -> Outcome {
    let system = build::system(name)?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("16 interrupt vector(s)")?;
        let summary = machine.expect("[xhci] tests: ")?;
        machine.refute("FAILED")?;
        for check in checks {
            machine.expect_anywhere(&format!("[xhci] test {check} ... ok"))?;
        }
        if !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.expect("the guest has ended with exit code 0")?;
        machine.refute("dma fault")
    })
}
