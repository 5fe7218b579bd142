// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions: enabled by the description, each a device of its own, in VMs of their own beside that of their physical function.

use super::nvme::{BLOCK, Disk, arguments, before, compare_after, judge_theft, pattern};
use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("sriov::two_virtual_functions_serve_two_vms_and_their_disks_are_as_they_should_be", contents),
    Case::new("sriov::a_reset_of_the_physical_function_cuts_the_virtual_ones_off_and_they_come_back", reset),
    Case::new("sriov::a_virtual_function_does_not_reach_what_is_not_its_vms", outside),
    Case::new("sriov::virtual_functions_that_cannot_be_had_are_refused_with_the_reason", refused),
];

/// Two disks as the host lays them.
pub(super) fn disks() -> Result<[Disk; 2], String> {
    Ok([Disk::new("sriov-0", &before())?, Disk::new("sriov-1", &before())?])
}

/// Waits until a VM has compared what it has read with what it has written.
pub(super) fn expect_good(machine: &mut Machine, vm: &str) -> Outcome {
    let summary = machine.expect(&format!("[{vm}] tests: "))?;
    let good = !summary.contains(" 0 passed") && summary.contains(" 0 failed");
    if good { Ok(()) } else { Err(summary) }
}

fn contents() -> Outcome {
    let disks = disks()?;
    with(Machine::start(&arguments("sriov", &[&disks[0], &disks[1]])?)?, |machine| {
        machine.expect("[pci-server] /00:04.0/00.0: 2 virtual functions")?;
        // IDs of the physical function's capability, a BAR in the port's window, a group and a reset of its own.
        for (function, owner) in [(1, "one"), (2, "two")] {
            let row = machine.expect_all(&[
                &format!("[pci-server] 0000:01:00.{function} /00:04.0/00.{function} 1b36:0010 class 010802"),
                "BAR 0 mem64 16 KiB at 0x",
                "MSI-X 1, reset FLR",
                &format!(": vm {owner}"),
            ])?;
            if row.contains("grouped with") || row.contains("FLR+") {
                return Err(row);
            }
        }
        machine.expect_anywhere("[owner] nvme: virtual function 2 is online with namespace 2")?;
        for vm in ["one", "two"] {
            let summary = machine.expect_anywhere(&format!("[{vm}] tests: "))?;
            if summary.contains(" 0 passed") || !summary.contains(" 0 failed") {
                return Err(summary);
            }
            machine.expect_anywhere(&format!("[root-task] vm {vm}: its memory is taken back"))?;
        }
        machine.refute("FAILED")?;
        machine.refute("dma fault")
    })?;
    disks.iter().try_for_each(compare_after)
}

/// A VMM attaches its devices before the next VM starts, so the physical function's owner is the last one, and resets it then.
fn reset() -> Outcome {
    const LIVES: usize = 3;
    let disks = disks()?;
    with(Machine::start(&arguments("sriov-reset", &[&disks[0], &disks[1]])?)?, |machine| {
        for (function, vm) in [(1, "one"), (2, "two")] {
            machine.expect(&format!("[pci-server] 0000:01:00.{function}: attached to vm {vm}"))?;
        }
        machine.expect("[pci-server] 0000:01:00.0: attached to vm owner")?;
        machine.expect("[owner] nvme: resetting the physical function")?;
        for (function, vm) in [(1, "one"), (2, "two")] {
            machine.expect_anywhere(&format!(
                "[pci-server] 0000:01:00.{function} of vm {vm}: cut off, since its physical function is reset"
            ))?;
            machine.expect_anywhere(&format!("[{vm}] nvme: the function is gone: resetting it"))?;
        }
        machine.expect("[pci-server] 0000:01:00.0: reset, quiet")?;
        machine.expect_anywhere("[owner] nvme: virtual function 2 is online with namespace 2")?;
        // Resets of a virtual function are its own: the others never notice, and it stays online.
        for _ in 0..LIVES {
            expect_good(machine, "two")?;
        }
        let summary = machine.expect_anywhere("[one] tests: ")?;
        if summary.contains(" 0 passed") || !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.refute("FAILED")?;
        machine.refute("dma fault")
    })?;
    compare_after(&disks[0])
}

/// The memory that `sriov-outside` aims at, and a marker that lies there.
const TARGET: u64 = 0x3000_0000;
const MARKER: u32 = 78;

fn outside() -> Outcome {
    let before = before();
    let disk = Disk::new("sriov-outside", &before)?;
    let marker = pattern(MARKER, BLOCK);
    let (machine, mut qtest) = Machine::start_with_qtest(&arguments("sriov-outside", &[&disk])?)?;
    with(machine, |machine| {
        // Long before the guest runs.
        for (address, word) in (TARGET..).step_by(8).zip(marker.chunks_exact(8)) {
            let word = word.try_into().map(u64::from_le_bytes).map_err(|_| "a word of another length")?;
            qtest.write64(address, word)?;
        }
        machine.expect("[thief] nvme: Write of block 300, RAM at 0x30000000")?;
        machine.expect_all(&["[iommu-server] dma fault: device 01:00.1, read of IOVA 0x30000000"])?;
        machine.expect_all(&["[iommu-server] dma fault: device 01:00.1, write of IOVA 0x30000000"])?;
        machine.expect_anywhere("[thief] tests: 2 passed, 0 failed")?;
        machine.refute("dma fault: device 01:00.0")?;
        if machine.monitor()?.memory(TARGET, BLOCK as u64)? == marker {
            Ok(())
        } else {
            Err("the virtual function has written to memory that isn't its VM's".into())
        }
    })?;
    judge_theft(&before, &disk.contents()?, &marker)
}

fn refused() -> Outcome {
    let system = build::system("sriov-refused")?;
    with(Machine::start(&system.arguments())?, |machine| {
        let why = "its physical function has no virtual ones: ";
        machine.expect(&format!(
            "[root-task] vm more: refused: device /00:04.0/00.1: {why}5 are wanted, and it has 4"
        ))?;
        machine.expect(&format!(
            "[root-task] vm beyond: refused: device /00:05.0/00.1: {why}they lie beyond its bus, or need Alternative Routing-ID \
             (ARI), which stays off (offset 0x1, stride 0x1). Ask for fewer"
        ))?;
        machine.expect("[root-task] vm beside: ended: power-off, code 0")?;
        Ok(())
    })
}
