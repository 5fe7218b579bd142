// SPDX-License-Identifier: MIT OR Apache-2.0
//! A hostile device: two `edu` in two VMs, driven from outside past every driver, aim their DMA and their messages where
//! they have no business. Each refusal comes with a control that shows that the aim was good.

use crate::build;
use crate::cases::gate::entry_of;
use crate::machine::Machine;
use crate::qtest::{Edu, Qtest};
use crate::runner::{Case, Outcome, with};
use crate::vtd;

pub(super) const CASES: &[Case] = &[
    Case::new("device::dma_reaches_its_vm_and_no_other_vm", dma_to_other_vm),
    Case::new("device::dma_does_not_reach_a_server", dma_to_server),
    Case::new("device::dma_does_not_reach_the_kernel", dma_to_kernel),
    Case::new("device::dma_does_not_reach_another_devices_registers", dma_to_registers),
    Case::new("device::a_guests_own_dma_to_foreign_memory_is_blocked", dma_by_guest),
    Case::new("device::a_message_with_the_handle_of_another_device_raises_nothing", foreign_handle),
    Case::new("device::malformed_messages_raise_nothing", malformed),
    Case::expected_to_fail(
        "device::a_message_of_the_old_format_raises_nothing",
        "this emulator lets messages of the compatibility format pass",
        old_format,
    ),
    Case::expected_to_fail(
        "device::a_message_forged_by_dma_raises_nothing",
        "this emulator does not check the requester of messages written by DMA",
        forged_message,
    ),
    Case::new("device::after_the_end_of_its_vm_dma_faults", dma_after_the_end),
];

/// Requester IDs: the buses behind the root ports 00:04.0 and 00:05.0.
const A: u16 = 0x100;
const B: u16 = 0x200;
/// Bytes of each transfer.
const BYTES: u64 = 64;
/// A place in a guest's RAM that nobody uses, and where images are loaded (`docs/guest-abi.md`).
const UNUSED: u64 = 0xa_0000;
const IMAGE: u64 = 0x10_0000;

struct Scene {
    qtest: Qtest,
    a: Edu,
    b: Edu,
}

/// Both guests run, watching their handlers.
fn scene(test: impl FnOnce(&mut Machine, &mut Scene) -> Outcome) -> Outcome {
    let system = build::system("two-edu")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        machine.expect_anywhere("[a] edu: watching")?;
        machine.expect_anywhere("[b] edu: watching")?;
        let (a, b) = (Edu::at(&mut qtest, A)?, Edu::at(&mut qtest, B)?);
        test(machine, &mut Scene { qtest, a, b })
    })
}

/// The leaves of a requester's tables: the RAM of its VM.
fn ram(machine: &mut Machine, requester: u16) -> Result<Vec<vtd::Leaf>, String> {
    let monitor = machine.monitor()?;
    let contexts = vtd::contexts(monitor)?;
    let context = contexts.iter().find(|context| context.requester == requester);
    vtd::leaves(monitor, context.ok_or_else(|| format!("requester {requester:#x} has no tables"))?)
}

fn translate(ram: &[vtd::Leaf], iova: u64) -> Option<u64> {
    ram.iter()
        .find(|leaf| (leaf.iova..leaf.iova + leaf.size).contains(&iova))
        .map(|leaf| leaf.hpa + iova - leaf.iova)
}

/// A guest address with the guest's program: bytes that nobody else has, none of the words zero.
fn program(machine: &mut Machine, ram: &[vtd::Leaf]) -> Result<u64, String> {
    for iova in (IMAGE..IMAGE + (1 << 20)).step_by(4096) {
        let hpa = translate(ram, iova).ok_or("its RAM has a hole")?;
        if bytes_at(machine, hpa)?.iter().all(|word| *word != 0) {
            return Ok(iova);
        }
    }
    Err("the guest has no program".into())
}

fn bytes_at(machine: &mut Machine, hpa: u64) -> Result<Vec<u64>, String> {
    machine.monitor()?.words(hpa, BYTES as usize / 8)
}

/// Device A writes to and reads from `hpa`, where it has no business.
fn attack(machine: &mut Machine, scene: &mut Scene, hpa: u64) -> Outcome {
    let own = ram(machine, A)?;
    if translate(&own, hpa).is_some() {
        return Err(format!("{hpa:#x} is an address of its own RAM for the device, so this judges nothing"));
    }
    // The device's buffer gets the guest's program.
    let program = program(machine, &own)?;
    scene.a.dma_read(&mut scene.qtest, program, BYTES)?;

    // The control: the same transfer to its own RAM arrives.
    let place = translate(&own, UNUSED).ok_or("its RAM has a hole")?;
    let program = translate(&own, program).ok_or("its RAM has a hole")?;
    scene.a.dma_write(&mut scene.qtest, UNUSED, BYTES)?;
    let sent = bytes_at(machine, program)?;
    if bytes_at(machine, place)? != sent || sent.iter().all(|word| *word == 0) {
        return Err(format!("DMA to its own RAM doesn't arrive: {sent:x?}"));
    }
    machine.refute("dma fault")?;

    let canary = bytes_at(machine, hpa)?;
    if canary == sent {
        return Err("the canary looks like what is sent".into());
    }
    scene.a.dma_write(&mut scene.qtest, hpa, BYTES)?;
    let page = hpa & !0xfff;
    machine.expect_all(&[
        "[iommu-server] dma fault: device 01:00.0",
        &format!("write of IOVA {page:#x}"),
        "reason ",
    ])?;
    let after = bytes_at(machine, hpa)?;
    if after != canary {
        return Err(format!("the canary was {canary:x?} and is {after:x?}"));
    }

    scene.a.dma_read(&mut scene.qtest, hpa, BYTES)?;
    machine.expect_all(&[
        "[iommu-server] dma fault: device 01:00.0",
        &format!("read of IOVA {page:#x}"),
        "reason ",
    ])?;
    // What it read instead goes back to its own RAM, where it can be seen.
    scene.a.dma_write(&mut scene.qtest, UNUSED, BYTES)?;
    let read = bytes_at(machine, place)?;
    if read == canary && canary.iter().any(|word| *word != 0) {
        return Err(format!("the device read the canary: {read:x?}"));
    }
    Ok(())
}

fn dma_to_other_vm() -> Outcome {
    scene(|machine, scene| {
        let (own, other) = (ram(machine, A)?, ram(machine, B)?);
        if own.iter().any(|leaf| other.iter().any(|theirs| theirs.hpa == leaf.hpa)) {
            return Err(format!("the VMs share RAM: {own:x?} {other:x?}"));
        }
        // Somewhere else in the other guest's program than where what is sent comes from: the images are the same.
        let place = program(machine, &other)? + 2048;
        let place = translate(&other, place).ok_or("its RAM has a hole")?;
        attack(machine, scene, place)
    })
}

fn dma_to_server() -> Outcome {
    scene(|machine, scene| {
        let page = start_page(machine, "iommu-server")?;
        attack(machine, scene, page)
    })
}

/// The frame of a part's start page: its magic at the start of a page, with its name soon after.
fn start_page(machine: &mut Machine, name: &str) -> Result<u64, String> {
    const RAM: u64 = 512 << 20;
    let memory = machine.monitor()?.memory(0, RAM)?;
    let found: Vec<_> = (memory.chunks(4096).enumerate())
        .filter(|(_, page)| {
            page.starts_with(b"PSTNPART")
                && page[..256].windows(name.len()).any(|window| window == name.as_bytes())
        })
        .map(|(index, _)| index as u64 * 4096)
        .collect();
    // The root task may have written it elsewhere first; each copy is as good a target.
    found.last().copied().ok_or_else(|| format!("no start page of {name} in memory"))
}

fn dma_to_kernel() -> Outcome {
    scene(|machine, scene| {
        // The table from which every device's rights hang, written by the kernel alone.
        let root = vtd::root_table(machine.monitor()?)?;
        attack(machine, scene, root)
    })
}

/// What a device would write into the other's registers would have the other compute: its inverter keeps what was put there.
fn dma_to_registers() -> Outcome {
    const INVERTER: u64 = 4;
    scene(|machine, scene| {
        let registers = scene.b.function.bar(&mut scene.qtest, 0)?;
        scene.qtest.write32(registers + INVERTER, 0x1234_5678)?;
        scene.a.dma_write(&mut scene.qtest, registers, BYTES)?;
        let fault = format!("write of IOVA {registers:#x}");
        machine.expect_all(&["[iommu-server] dma fault: device 01:00.0", &fault, "reason "])?;
        let found = scene.qtest.read32(registers + INVERTER)?;
        if found == !0x1234_5678 { Ok(()) } else { Err(format!("the other's register holds {found:#x}")) }
    })
}

fn dma_by_guest() -> Outcome {
    let system = build::system("edu-dma-outside")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect("[edu] edu: dma-to 0x8000000")?;
        machine.expect_all(&[
            "[iommu-server] dma fault: device 01:00.0",
            "write of IOVA 0x8000000",
            "reason ",
        ])?;
        machine.expect_all(&[
            "[iommu-server] dma fault: device 01:00.0",
            "read of IOVA 0x9000000",
            "reason ",
        ])?;
        let line = machine.expect_anywhere("[edu] edu: dma-from 0x9000000, 64 bytes: ")?;
        if line.contains("foreign") {
            return Err(line);
        }
        // The guest is told, and lives on to its own end.
        machine.expect_anywhere("[edu] vmm: DMA of a device was blocked")?;
        machine.expect_anywhere("[edu] tests: ").map(drop)
    })
}

/// Lets a device send its own message and waits for its guest's word.
fn ring(machine: &Machine, scene: &mut Scene, device: Edu, guest: &str, runs: u32) -> Outcome {
    device.ring(&mut scene.qtest)?;
    machine.expect_anywhere(&format!("[{guest}] edu: {runs} runs of the handler")).map(drop)
}

fn foreign_handle() -> Outcome {
    scene(|machine, scene| {
        let (a, b) = (scene.a, scene.b);
        ring(machine, scene, a, "a", 1)?;
        ring(machine, scene, b, "b", 1)?;
        let (of_a, of_b) = (a.message(&mut scene.qtest)?, b.message(&mut scene.qtest)?);
        if of_a == of_b {
            return Err(format!("both devices have the message {of_a:x?}"));
        }
        b.program(&mut scene.qtest, of_a)?;
        b.ring(&mut scene.qtest)?;
        let seen = machine.stderr.wait(0, crate::machine::LIMIT, |line| line.contains("SID"));
        seen.map_err(|why| format!("the unit refused nothing: {why}"))?;
        // Had A's guest run its handler, its next run would be the third.
        b.program(&mut scene.qtest, of_b)?;
        ring(machine, scene, b, "b", 2)?;
        ring(machine, scene, a, "a", 2)?;
        machine.refute("edu: 3 runs of the handler")
    })
}

/// What leads to no entry, to an absent one, to another's by its subhandle; and messages that are writes to memory.
fn malformed() -> Outcome {
    const REMAPPABLE: u32 = 0xfee0_0010;
    const SUBHANDLE: u32 = 1 << 3;
    let remappable = |handle: u32| REMAPPABLE | (handle & 0x7fff) << 5 | handle >> 15 << 2;
    scene(|machine, scene| {
        let (a, b) = (scene.a, scene.b);
        ring(machine, scene, a, "a", 1)?;
        ring(machine, scene, b, "b", 1)?;
        let entries = vtd::remapping_table(machine.monitor()?)?;
        let (index_of_a, _) = entry_of(a.message(&mut scene.qtest)?, &entries)?;
        let own = b.message(&mut scene.qtest)?;
        let (index_of_b, _) = entry_of(own, &entries)?;
        let (of_a, of_b, end) = (index_of_a as u32, index_of_b as u32, entries.len() as u32);
        let mut messages = vec![
            (remappable(of_b) | SUBHANDLE, u32::from(u16::MAX)),
            (remappable(0) | SUBHANDLE, of_a),
            (remappable(end - 1), 0),
            (remappable(end - 1) | SUBHANDLE, 1),
            (remappable(of_a | 1 << 15), 0),
            (remappable(of_b | 1 << 15), 0),
        ];
        messages
            .extend((0..16).map(|bit| (remappable(1 << bit), 0)).filter(|(address, _)| *address != own.0));
        for (address, data) in messages {
            b.program(&mut scene.qtest, (address, data))?;
            b.ring(&mut scene.qtest)?;
        }
        // Writes to the other's RAM and beyond 4 GiB: no messages, but DMA that faults.
        let place = translate(&ram(machine, A)?, IMAGE).ok_or("its RAM has a hole")?;
        for address in [place, 1 << 32 | u64::from(own.0)] {
            b.program_wide(&mut scene.qtest, address, 0x666)?;
            b.ring(&mut scene.qtest)?;
            let fault = format!("write of IOVA {:#x}", address & !0xfff);
            machine.expect_all(&["[iommu-server] dma fault: device 02:00.0", &fault, "reason "])?;
        }
        // Had a handler run for one of these, the next run would be the third.
        b.program(&mut scene.qtest, own)?;
        ring(machine, scene, b, "b", 2)?;
        ring(machine, scene, a, "a", 2)?;
        machine.refute("edu: 3 runs of the handler")
    })
}

/// B sends A's vector in the format of machines without remapping.
fn old_format() -> Outcome {
    scene(|machine, scene| {
        let (a, b) = (scene.a, scene.b);
        ring(machine, scene, a, "a", 1)?;
        let entries = vtd::remapping_table(machine.monitor()?)?;
        let (_, entry) = entry_of(a.message(&mut scene.qtest)?, &entries)?;
        let own = b.message(&mut scene.qtest)?;
        b.program(&mut scene.qtest, (0xfee0_0000, entry.vector().into()))?;
        b.ring(&mut scene.qtest)?;
        b.program(&mut scene.qtest, own)?;
        // As below: when B's guest has had its turns, A's has had its own.
        for runs in 1..=3 {
            ring(machine, scene, b, "b", runs).unwrap_or_else(|why| panic!("{why}"));
        }
        machine.refute("[a] edu: 2 runs")?;
        ring(machine, scene, a, "a", 2)
    })
}

fn forged_message() -> Outcome {
    scene(|machine, scene| {
        let (a, b) = (scene.a, scene.b);
        ring(machine, scene, a, "a", 1)?;
        let (address, data) = a.message(&mut scene.qtest)?;
        if data != 0 {
            // Expected failures must fail for their reason only.
            panic!("the message has the data {data:#x}, and the device's buffer holds zeros");
        }
        // B writes A's message as memory.
        b.dma_write(&mut scene.qtest, address.into(), 4)?;
        // What B sends afterwards arrives afterwards, and the guest that is woken first runs first: when B's guest has had its turns,
        // A's has had its own. Whatever fails here is not the failure that is expected.
        for runs in 1..=3 {
            ring(machine, scene, b, "b", runs).unwrap_or_else(|why| panic!("{why}"));
        }
        machine.refute("[a] edu: 2 runs")?;
        // The control: A's next message is its second.
        ring(machine, scene, a, "a", 2)
    })
}

fn dma_after_the_end() -> Outcome {
    let system = build::system("edu-ends")?;
    let (machine, mut qtest) = Machine::start_with_qtest(&system.arguments())?;
    with(machine, |machine| {
        machine.expect("[root-task] vm edu: ended")?;
        // The other VM is there to keep the machine on.
        machine.expect_anywhere("[other] hostile: interrupts off, looping")?;
        // The signal that quiets the device and its end cross on the way.
        machine.expect_anywhere("[root-task] vm edu: its memory is taken back")?;
        machine.expect_anywhere("[pci-server] 0000:01:00.0: reset, quiet")?;
        let edu = Edu::at(&mut qtest, A)?;
        if edu.is_bus_master(&mut qtest)? {
            return Err("bus mastering is still on".into());
        }
        // Even with bus mastering forced on there is nothing that it reaches.
        edu.force_bus_master(&mut qtest)?;
        edu.dma_write(&mut qtest, UNUSED, BYTES)?;
        machine.expect_all(&[
            "[iommu-server] dma fault: device 01:00.0",
            "write of IOVA 0xa0000",
            "reason ",
        ])?;
        let monitor = machine.monitor()?;
        let contexts = vtd::contexts(monitor)?;
        let messages = vtd::remapping_table(monitor)?;
        let messages: Vec<_> =
            messages.iter().filter(|entry| entry.present() && entry.source() != vtd::IO_APIC).collect();
        if contexts.is_empty() && messages.is_empty() {
            Ok(())
        } else {
            Err(format!("context entries {contexts:x?}, remapping entries {messages:x?}"))
        }
    })
}
