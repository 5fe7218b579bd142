// SPDX-License-Identifier: MIT OR Apache-2.0
//! A machine that can't confine a device: its VM is refused with the reason, and the other VM runs.

use std::fs;

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("refusals::without_interrupt_remapping", without_interrupt_remapping),
    Case::new("refusals::without_an_iommu", without_iommu),
    Case::new("refusals::with_a_truncated_dmar", truncated_dmar),
    Case::new("refusals::for_a_device_that_no_unit_covers", uncovered),
    Case::new("refusals::for_a_device_that_is_not_there", absent),
    Case::new("refusals::for_a_device_that_no_match_names", unmatched),
    Case::new("refusals::a_machine_without_svm_says_so", without_svm),
];

/// Boots and waits for the refusal of the VM `gated`, and for the VM `hello` to run to its end.
fn refused(name: &str, more: &[String], reason: &str) -> Outcome {
    let system = build::system(name)?;
    let mut arguments = system.arguments();
    arguments.extend_from_slice(more);
    with(Machine::start(&arguments)?, |machine| {
        machine.expect_all(&["[root-task] vm gated: refused: ", reason])?;
        machine.expect_anywhere("[hello] hello: second 1 of 10")?;
        machine.refute("[gated] ")
    })
}

fn without_interrupt_remapping() -> Outcome {
    refused("gated-no-intremap", &[], "no interrupt remapping")
}

fn without_iommu() -> Outcome {
    refused("gated-no-iommu", &[], "no IOMMU")
}

fn truncated_dmar() -> Outcome {
    // After the table's header: host address width 48, flags 0, 10 reserved bytes; then a remapping unit's structure that
    // claims 64 bytes and has 16.
    let mut table = vec![0_u8; 12];
    table[0] = 47;
    table.extend_from_slice(&[0, 0, 64, 0, 1, 0, 0, 0]);
    table.extend_from_slice(&0xfed9_0000_u64.to_le_bytes());
    let file = std::env::temp_dir().join(format!("postern-{}-dmar.bin", std::process::id()));
    fs::write(&file, table).map_err(|error| error.to_string())?;
    let option = format!("sig=DMAR,rev=1,oem_id=POSTRN,oem_table_id=CUTSHORT,data={}", file.display());
    let outcome = refused("gated-no-iommu", &["-acpitable".into(), option], "no IOMMU");
    let _ = fs::remove_file(&file);
    outcome
}

fn uncovered() -> Outcome {
    refused("gated-bypass", &[], "no DMA remapping unit covers the device")
}

fn absent() -> Outcome {
    refused("gated-absent", &[], "no such device")
}

fn unmatched() -> Outcome {
    refused("gated-unmatched", &[], "no entry of `pci.matches` names its identity")
}

fn without_svm() -> Outcome {
    let mut system = build::system("systems/hello.toml")?;
    system.machine.cpu = "EPYC,-svm".into();
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_all(&["[root-task] vm hello: refused: ", "AMD SVM"])?;
        machine.refute("[hello] ")
    })
}
