// SPDX-License-Identifier: MIT OR Apache-2.0
//! Isolation groups: a group goes to one VM or to none.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("groups::ports_of_a_switch_without_access_control_are_one", switch),
    Case::new("groups::functions_of_one_device_are_one", functions),
    Case::new("groups::root_ports_of_one_device_are_one_without_access_control", ports),
    Case::new("groups::root_ports_of_one_device_are_two_with_access_control", ports_apart),
    Case::new("groups::a_device_that_a_bridge_to_pci_speaks_for_is_refused", bridge),
    Case::new("groups::two_functions_in_one_slot_of_a_guest", one_slot),
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
