// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts that aren't what they should be: a VMM that its guest has taken over, a server that fails.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("vmm::a_vmm_that_was_taken_over_harms_nobody", taken_over),
    Case::new("vmm::a_server_that_fails_stops_the_machine_visibly", failed_server),
];

fn taken_over() -> Outcome {
    let system = build::system_with("hostile-vmm", Some(("vmm-server", "hostile-vmm")))?;
    with(Machine::start(&system.arguments())?, |machine| {
        for step in [
            "malformed messages are sent",
            "huge lengths are sent",
            "capabilities are sent",
            "sends without callers are sent",
            "others' words are said",
            "wrong requests are made",
            "strange capabilities are placed",
            "its own memory is gone",
            "floods are over",
            "it has a thread without time",
            "nobody fetches what was asked for",
        ] {
            machine.expect_anywhere(&format!("[attacker] attack: {step}"))?;
        }
        // It ended by a fault of its own making; its device was quieted and its memory taken back as everybody's.
        machine.expect_anywhere("[root-task] vm attacker: ended: page fault at ")?;
        machine.expect_anywhere("[root-task] vm attacker: its devices are quiet")?;
        machine.expect_anywhere("[root-task] vm attacker: its memory is taken back")?;
        // Those whose faults went to a server stand still, and have harmed nobody either.
        for vm in ["faulty", "late"] {
            machine.expect_anywhere(&format!("[{vm}] attack: its fault goes to a server"))?;
        }
        // All servers serve the other one, from its start to its end, meanwhile and afterwards.
        const WHOLE: &str = "[root-task] vm honest: its memory is taken back";
        let lines = machine.lines();
        let over = lines.iter().position(|line| line.contains("[attacker] attack: over"));
        let meanwhile = lines[..over.unwrap_or(0)].iter().filter(|line| line.contains(WHOLE)).count();
        if meanwhile == 0 {
            return Err("the honest one hasn't lived once during the attack".into());
        }
        machine.expect("[root-task] vm attacker: its memory is taken back")?;
        for _ in 0..3 {
            machine.expect("[honest] check: the servers serve")?;
            machine.expect(WHOLE)?;
        }
        machine.refute("check: FAILED")?;
        machine.refute("vm faulty: ended")?;
        machine.refute("vm late: ended")?;
        machine.refute("BROKEN")?;
        machine.refute("has failed")
    })
}

/// The program that stands in for the server can't read a server's configuration, and panics.
fn failed_server() -> Outcome {
    let system = build::system_with("part-fails", Some(("iommu-server", "hostile-vmm")))?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[iommu-server] panic: ")?;
        machine.expect_anywhere("[root-task] iommu-server has failed: failure: panic: ")?;
        machine.expect_anywhere("[root-task] halted")?;
        machine.refute("[hello] ")?;
        machine.refute("vm hello: started")
    })
}
