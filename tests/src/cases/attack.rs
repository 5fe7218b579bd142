// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks by guests and by devices, each by what it tries. `docs/attacks.md` has the public advisories beside them, and those attacks
//! that other areas hold.

use serde_json::json;

use crate::build;
use crate::cases::gate::{demand, entry_of};
use crate::machine::Machine;
use crate::qtest::{Edu, Function, Qtest};
use crate::runner::{Case, Outcome, with};
use crate::vtd;

pub(super) const CASES: &[Case] = &[
    Case::new("attack::bars_msix_table_and_registers_at_random", registers_of_a_device),
    Case::new("attack::dma_over_all_of_memory", scan),
    Case::new("attack::a_device_that_is_gone_while_it_is_used", gone),
    Case::new("attack::code_that_dma_rewrites_under_the_decoder", rewritten_code),
];

/// Requester ID of the device behind the first root port.
const FIRST: u16 = 0x100;
/// The root port.
const FIRST_PORT: u16 = 4 << 3;
/// And behind the second.
const SECOND: u16 = 0x200;
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

/// A guest goes over all of the machine's memory by DMA, and over its devices' registers. What it writes is found in its own RAM only.
fn scan() -> Outcome {
    const MEMORY: u64 = 256 << 20;
    const BYTES: u32 = 64;
    // The guest computes it, so that no image holds it.
    let sent: Vec<u8> = (0..BYTES).map(|index| (index.wrapping_mul(0x9e37_79b1) >> 13) as u8).collect();
    let system = build::system("attack-scan")?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    with(Machine::start(&arguments)?, |machine| {
        machine.expect_anywhere("[other] edu: watching")?;
        machine.expect_all(&["[iommu-server] dma fault: device 01:00.0", "write of IOVA ", "reason "])?;
        machine.expect_anywhere("[attacker] vmm: DMA of a device was blocked")?;
        machine.expect_anywhere("[attacker] edu: ")?;
        machine.expect_anywhere("[attacker] test scan-reads-nothing ... ok")?;
        let told = machine.expect_anywhere("places were written to and read from")?;
        let places = told.split(' ').nth(2).and_then(|word| word.parse::<u64>().ok());
        demand(places.is_some_and(|places| places > MEMORY >> 20), || told)?;
        let monitor = machine.monitor()?;
        monitor.execute("stop", json!({}))?;
        let contexts = vtd::contexts(monitor)?;
        let mut ram = |requester: u16| {
            let context = contexts.iter().find(|context| context.requester == requester);
            vtd::leaves(monitor, context.ok_or_else(|| format!("requester {requester:#x} has no tables"))?)
        };
        let (own, other) = (ram(FIRST)?, ram(SECOND)?);
        demand(other.iter().all(|leaf| leaf.hpa + leaf.size <= MEMORY && leaf.size >= 1 << 20), || {
            format!("the scan missed the other's RAM: {other:x?}")
        })?;
        let memory = monitor.memory(0, MEMORY)?;
        monitor.execute("cont", json!({}))?;
        let found: Vec<_> = (memory.chunks_exact(16).enumerate())
            .filter(|(index, chunk)| *chunk == &sent[..16] && memory[index * 16..].starts_with(&sent))
            .map(|(index, _)| index as u64 * 16)
            .collect();
        let is_own = |hpa: &u64| own.iter().any(|leaf| (leaf.hpa..leaf.hpa + leaf.size).contains(hpa));
        demand(found.iter().any(is_own), || "what was sent isn't even in the sender's own RAM".into())?;
        let foreign: Vec<_> = found.iter().filter(|hpa| !is_own(hpa)).collect();
        demand(foreign.is_empty(), || format!("DMA has landed at {foreign:x?}"))?;
        machine.expect_anywhere("[hello] hello: second 10 of 10")?;
        machine.refute("quarantined")
    })
}

/// The slot's power goes off while its guest uses the device; the neighbour and everybody else go on.
fn gone() -> Outcome {
    let system = build::system("attack-gone")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        machine.expect_anywhere("[attacker] edu: waiting for its end")?;
        machine.expect_anywhere("[other] edu: watching")?;
        Function(FIRST_PORT).power_off(&mut qtest)?;
        machine.expect("[attacker] edu: the device is gone: ")?;
        machine.expect("[attacker] test gone-and-silent ... ok")?;
        machine.expect("[root-task] vm attacker: ended: power-off, code 0")?;
        machine.expect_anywhere(
            "[pci-server] 0000:01:00.0 of vm attacker did not come back after its reset: nobody gets it any more",
        )?;
        machine.expect_anywhere("[root-task] vm attacker: its memory is taken back")?;
        let other = Edu::at(&mut qtest, SECOND)?;
        other.ring(&mut qtest)?;
        machine.expect_anywhere("[other] edu: 1 runs of the handler")?;
        machine.expect_anywhere("[hello] hello: second 10 of 10")?;
        machine.refute("vm other: ended")
    })
}
