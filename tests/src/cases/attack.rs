// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks by guests and by devices, each by what it tries. `docs/attacks.md` has the public advisories beside them, and those attacks
//! that other areas hold.

use crate::build;
use crate::cases::gate::{demand, entry_of};
use crate::machine::Machine;
use crate::qtest::{Function, Qtest};
use crate::runner::{Case, Outcome, with};
use crate::vtd;

pub(super) const CASES: &[Case] = &[
    Case::new("attack::bars_msix_table_and_registers_at_random", registers_of_a_device),
    Case::new("attack::code_that_dma_rewrites_under_the_decoder", rewritten_code),
];

/// Requester ID of the device behind the first root port.
const FIRST: u16 = 0x100;
/// `qemu-xhci`: entries of its MSI-X table, and where it is in BAR 0.
const ENTRIES: u64 = 16;
const TABLE: u64 = 0x3000;

/// The messages in the real table.
fn messages(qtest: &mut Qtest) -> Result<Vec<(u32, u32)>, String> {
    let table = Function(FIRST).bar(qtest, 0)? + TABLE;
    (0..ENTRIES).map(|n| Ok((qtest.read32(table + 16 * n)?, qtest.read32(table + 16 * n + 8)?))).collect()
}

/// The guest has tried all of this, and says so.
fn tried(machine: &mut Machine, guest: &str, checks: &[&str]) -> Outcome {
    let summary = machine.expect_anywhere(&format!("[{guest}] tests: "))?;
    demand(summary.ends_with(" 0 failed"), || format!("{summary}\n(`FAILED` says why)"))?;
    for check in checks {
        machine.expect_anywhere(&format!("[{guest}] test {check} ... ok"))?;
    }
    Ok(())
}

fn registers_of_a_device() -> Outcome {
    let system = build::system("attack-device")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        machine
            .expect_anywhere("[pci-server] 0000:01:00.0: attached to vm attacker, 16 interrupt vector(s)")?;
        let before = messages(&mut qtest)?;
        machine.expect_anywhere("[attacker] xhci: staying")?;
        let checks = [
            "bar-over-own-memory",
            "bar-over-the-program",
            "bar-over-the-local-apic",
            "bar-over-configuration-space",
            "bar-over-another-bar",
            "bar-beyond-40-bits",
            "msix-foreign-messages",
            "msix-doors",
            "msix-works-after-all-doors",
            "random-device-works-again",
        ];
        tried(machine, "attacker", &checks)?;
        // The real table says what pci-server wrote there, and that leads to entries of this device.
        let after = messages(&mut qtest)?;
        demand(before == after, || format!("the real table was {before:x?} and is {after:x?}"))?;
        let entries = vtd::remapping_table(machine.monitor()?)?;
        for message in after {
            let (index, entry) = entry_of(message, &entries)?;
            demand(entry.present() && entry.verifies_requester() && entry.source() == FIRST, || {
                format!("the message {message:x?} leads to {index}: {entry:x?}")
            })?;
        }
        machine.expect_anywhere("[hello] hello: second 10 of 10")?;
        machine.refute("dma fault")?;
        machine.refute("vm attacker: ended")
    })
}

/// Ends by itself: the last rewriting leaves the VMM without an access to decode, and that is the guest's own loss.
fn rewritten_code() -> Outcome {
    let system = build::system("attack-rewrite")?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    with(Machine::start(&arguments)?, |machine| {
        for check in ["rewritten-to-another-store", "rewritten-to-a-load"] {
            machine.expect_anywhere(&format!("[attacker] test {check} ... ok"))?;
        }
        machine.expect("[attacker] edu: rewriting to what is no access")?;
        machine
            .expect("[attacker] vmm: the guest has ended: an instruction that can't be emulated: 66 90 c3")?;
        machine.expect_anywhere("[root-task] vm attacker: ended: guest fault")?;
        machine.expect_anywhere("[hello] hello: second 10 of 10")?;
        machine.refute("STILL HERE")
    })
}
