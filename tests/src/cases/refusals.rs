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
    Case::new("refusals::each_shows_its_evidence_and_what_would_help", each),
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

/// Firmware left BARs without an address, over each other, and over configuration space; and one device as bus master that nobody wants.
const PLAN: &str = "config=0:9.0,10,0 config=0:a.0,10,d0000000 config=0:b.0,10,d0000000 config=0:c.0,10,b0000000 \
     master=0:b.0";

fn each() -> Outcome {
    let path = "Take a path that the log shows";
    let room = "Give devices more room in the firmware's settings, or use another slot";
    let refusals = [
        ("taken", "device 0000:01:00.0: vm first has it already. Name it once".into()),
        (
            "unmatched",
            "device /00:05.0: no entry of `pci.matches` names its identity. Add \"1af4:1005\", with \":1af4:0004\" for this \
             make of it, or \"class:00ff\""
                .into(),
        ),
        (
            "bridge",
            "device /00:06.0: it is a bridge; only endpoints can be passed through. Name a device behind it".into(),
        ),
        ("absent", format!("device /00:07.0: no such device: nothing answers there. {path}")),
        ("far", format!("device /00:06.0/00.0/00.0: path absent: no bridge at element 2 of the path. {path}")),
        ("unassigned", format!("device /00:09.0: firmware left BAR 0 of 0x100000 bytes unassigned. {room}")),
        (
            "overlapped",
            "device /00:0a.0: BAR 0 overlaps BAR 0 of 0000:00:0b.0. Use another slot, or newer firmware".into(),
        ),
        (
            "unreachable",
            format!(
                "device /00:0c.0: BAR 0 at 0xb0000000 lies outside the memory that is left for devices, or a bridge doesn't pass \
                 it on. {room}"
            ),
        ),
        ("without-rom", "device /00:0e.0: it has no expansion ROM. Leave `rom` out".into()),
        (
            "once",
            "device 0: the device can't be reset (no function-level reset, no D3hot that resets it, others on its bus), and was \
             given out once since boot. Use a slot that it has to itself"
                .into(),
        ),
    ];
    let system = build::system("refusals")?;
    with(Machine::start(&system.preloaded_arguments(PLAN)?)?, |machine| {
        for (vm, why) in &refusals {
            let line = machine.expect_anywhere(&format!("[root-task] vm {vm}: refused: "))?;
            if !line.ends_with(&format!("refused: {why}")) {
                return Err(line);
            }
        }
        machine
            .expect_anywhere("[pci-server] 0000:00:0b.0: firmware left bus mastering on; it is off now")?;
        // What can't be reset is seen beforehand; it was given out once.
        machine.expect_all(&["0000:00:0d.0 /00:0d.0 1234:11e8 ", ", no reset: vm once"])?;
        machine.expect_anywhere("[root-task] vm once: ended")?;
        machine.expect_anywhere("[root-task] vm first: started")?;
        machine.expect_anywhere("[hello] hello: second 1 of 10").map(drop)
    })
}

fn without_svm() -> Outcome {
    let mut system = build::system("systems/hello.toml")?;
    system.machine.cpu = "EPYC,-svm".into();
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_all(&["[root-task] vm hello: refused: ", "AMD SVM"])?;
        machine.refute("[hello] ")
    })
}
