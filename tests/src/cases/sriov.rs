// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual functions: enabled by the description, each a device of its own, in VMs of their own beside that of their physical function.

use super::nvme::{Disk, arguments, before, compare_after};
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[Case::new(
    "sriov::two_virtual_functions_serve_two_vms_and_their_disks_are_as_they_should_be",
    contents,
)];

fn contents() -> Outcome {
    let disks = [Disk::new("sriov-0", &before())?, Disk::new("sriov-1", &before())?];
    with(Machine::start(&arguments("sriov", &[&disks[0], &disks[1]])?)?, |machine| {
        machine.expect("[pci-server] /00:04.0/00.0: 2 virtual functions")?;
        // IDs of the physical function's capability, a BAR in the port's window, a group and a reset of its own.
        for (function, owner) in [(1, "one"), (2, "two")] {
            machine.expect_all(&[
                &format!("[pci-server] 0000:01:00.{function} /00:04.0/00.{function} 1b36:0010 class 010802"),
                "BAR 0 mem64 16 KiB at 0x",
                "MSI-X 1, reset FLR",
                &format!(": vm {owner}"),
            ])?;
        }
        machine.expect_anywhere("[owner] nvme: virtual function 2 is online with namespace 2")?;
        for vm in ["one", "two"] {
            machine.expect_anywhere(&format!("[{vm}] nvme: namespace "))?;
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
