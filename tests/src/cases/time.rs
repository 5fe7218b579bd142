// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPU time is shared out as the description says.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[Case::new("time::a_budget_leaves_time_to_lower_priorities", budget)];

/// Without the budget the loop would have all the time there is.
fn budget() -> Outcome {
    let system = build::system("budget")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[greedy] hostile: interrupts off, looping")?;
        machine.expect_anywhere("[patient] hello: second 3 of 10")?;
        machine.refute("vm greedy: ended")
    })
}
