// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPU time is shared out as the description says.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("time::a_budget_leaves_time_to_lower_priorities", budget),
    Case::new("time::vms_run_side_by_side_on_processors_of_their_own", processors),
    Case::new("time::a_vm_that_gets_no_time_keeps_none_of_higher_priority_from_starting", no_time),
];

/// Without the budget the loop would have all the time there is.
fn budget() -> Outcome {
    let system = build::system("budget")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[greedy] hostile: interrupts off, looping")?;
        machine.expect_anywhere("[patient] hello: second 3 of 10")?;
        machine.refute("vm greedy: ended")
    })
}

/// A loop of the highest priority has one processor; what has others runs on, messages of a device included. A processor that isn't
/// there is said.
fn processors() -> Outcome {
    let system = build::system("processors")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[kernel] processors: 3 used")?;
        machine.expect_anywhere(
            "[root-task] vm beyond: refused: `cpus` says processor 9, and the machine has 0 to 2",
        )?;
        machine.expect_anywhere("[greedy] hostile: interrupts off, looping")?;
        let summary = machine.expect_anywhere("[gate] tests: ")?;
        if !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.expect_anywhere("[patient] hello: second 3 of 10")?;
        machine.refute("vm greedy: ended")
    })
}

/// The second VM can't even start, and the third doesn't wait for it.
fn no_time() -> Outcome {
    let system = build::system("no-time")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[greedy] hostile: interrupts off, looping")?;
        machine.expect_anywhere("[root-task] vm starved: started: ")?;
        machine.expect_anywhere("[above] hello: second 3 of 10")?;
        machine.refute("[starved] ")
    })
}
