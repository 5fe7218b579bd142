// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device `edu` passed through: its own tests in the guest, and what the remapping unit holds afterwards.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};
use crate::vtd;

pub(super) const CASES: &[Case] = &[
    Case::new("edu::dma_and_messages_work_in_the_guest", works),
    Case::new("edu::after_its_vm_the_device_has_neither_dma_nor_interrupts", quiet),
];

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

fn quiet() -> Outcome {
    let system = build::system("systems/edu.toml")?;
    let mut arguments = system.arguments();
    // What the machine does when nothing is left to do must not take the monitor away.
    arguments.push("-no-shutdown".into());
    with(Machine::start(&arguments)?, |machine| {
        machine.expect("[edu] tests: ")?;
        machine.expect("[root-task] VM edu has ended")?;
        let monitor = machine.monitor()?;
        let contexts = vtd::contexts(monitor)?;
        let messages: Vec<_> = vtd::remapping_table(monitor)?
            .into_iter()
            .filter(|entry| entry.present() && entry.source() != vtd::IO_APIC)
            .collect();
        // Bus mastering, bit 2 of the command register, through the monitor's view of the device.
        let pci = monitor.human("info pci")?;
        if contexts.is_empty() && messages.is_empty() {
            Ok(())
        } else {
            Err(format!("context entries {contexts:x?}, remapping entries {messages:x?}\n{pci}"))
        }
    })
}
