// SPDX-License-Identifier: MIT OR Apache-2.0
//! Isolation groups: a group goes to one VM or to none.

use crate::build;
use crate::machine::Machine;
use crate::qtest::Function;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("groups::ports_of_a_switch_without_access_control_are_one", switch),
    Case::new("groups::functions_of_one_device_are_one", functions),
    Case::new("groups::root_ports_of_one_device_are_one_without_access_control", ports),
    Case::new("groups::root_ports_of_one_device_are_two_with_access_control", ports_apart),
    Case::new("groups::a_device_that_a_bridge_to_pci_speaks_for_is_refused", bridge),
    Case::new("groups::two_functions_in_one_slot_of_a_guest", one_slot),
    Case::new("groups::a_path_names_its_device_on_whatever_bus_and_others_are_nobodys", renumbered),
];

/// Boots `name`: the VM `gated` is refused with `evidence`, the table shows `row`, and the VM `hello` runs.
fn refused(name: &str, evidence: &[&str], row: &[&str]) -> Outcome {
    let system = build::system(name)?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_all(row)?;
        let line: Vec<&str> =
            ["[root-task] vm gated: refused: "].into_iter().chain(evidence.iter().copied()).collect();
        machine.expect_all(&line)?;
        machine.expect_anywhere("[hello] hello: second 1 of 10")?;
        machine.refute("[gated] ")
    })
}

/// A device of the same kind behind a port that comes first: it takes the bus number, and is not the one that is reserved.
fn renumbered() -> Outcome {
    let system = build::system("systems/edu.toml")?;
    let path = "/00:04.0/00.0 1234:11e8 ";
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_all(&["0000:01:00.0 ", path, ": vm edu"]).map(drop)
    })?;
    let before = ["pcie-root-port,id=before,bus=pcie.0,chassis=9,slot=9,addr=3.0", "edu,bus=before"];
    let mut arguments = system.arguments();
    arguments.extend(before.iter().flat_map(|device| ["-device".into(), (*device).into()]));
    let (machine, mut qtest) = Machine::start_with_qtest(&arguments)?;
    with(machine, |machine| {
        machine.expect_all(&["0000:02:00.0 ", path, ": vm edu"])?;
        let row = machine.expect_all(&["0000:01:00.0 /00:03.0/00.0 1234:11e8 "])?;
        if !row.ends_with(": not passed through: it isn't reserved. Add its path to `pci.reserve`") {
            return Err(row);
        }
        let summary = machine.expect_anywhere("[edu] tests: ")?;
        if !summary.ends_with(" 0 failed") {
            return Err(summary);
        }
        let command = Function(0x100).read(&mut qtest, 4)? & 0xffff;
        if command & 4 != 0 { Err(format!("nobody's device is bus master: {command:#x}")) } else { Ok(()) }
    })
}

fn switch() -> Outcome {
    let evidence =
        ["its isolation group holds 0000:03:00.0 of vm hello, since 0000:02:00.0 has no access control"];
    refused(
        "gated-switch",
        &evidence,
        &["0000:03:00.0 ", "grouped with 0000:02:00.0 0000:02:01.0 0000:04:00.0"],
    )
}

fn functions() -> Outcome {
    let evidence =
        ["its isolation group holds 0000:00:05.0 of vm hello, since 0000:00:05.0 has no access control"];
    refused("gated-functions", &evidence, &["0000:00:05.0 ", "grouped with 0000:00:05.1"])
}

fn ports() -> Outcome {
    let evidence =
        ["its isolation group holds 0000:01:00.0 of vm hello, since 0000:00:04.1 has no access control"];
    refused(
        "gated-ports",
        &evidence,
        &["0000:01:00.0 ", "grouped with 0000:00:04.0 0000:00:04.1 0000:02:00.0"],
    )
}

fn ports_apart() -> Outcome {
    let system = build::system("ports")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[gated] edu: device ")?;
        machine.expect_anywhere("[hello] hello: second 1 of 10")?;
        machine.refute("grouped with 0000:00:04.0")
    })
}

fn bridge() -> Outcome {
    let evidence = ["0000:02:02.0 bears the same requester ID"];
    refused("gated-pci-bridge", &evidence, &["0000:02:01.0 ", "bus reset takes along 0000:02:02.0"])
}

/// The guest finds the second function because the first says that there are several; the other guest, because something stands in
/// for the first.
fn one_slot() -> Outcome {
    let system = build::system("functions")?;
    with(Machine::start(&system.arguments())?, |machine| {
        for guest in ["both", "alone"] {
            machine.expect_anywhere(&format!("[{guest}] edu: device 00:08.1 "))?;
            machine.expect_anywhere(&format!("[{guest}] vmm: the guest has ended with exit code 0"))?;
        }
        Ok(())
    })
}
