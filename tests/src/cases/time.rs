// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPU time is shared out as the description says.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("time::a_budget_leaves_time_to_lower_priorities", budget),
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
