// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways by which a guest reaches its device's configuration space and BARs.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] =
    &[Case::new("config::ports_and_memory_show_the_same_configuration_space", doors)];

fn doors() -> Outcome {
    let system = build::system("config-doors")?;
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("[doors] doors: device 00:08.3")?;
        let line = machine.expect_anywhere("[doors] tests: ")?;
        machine.expect_anywhere("[doors] vmm: the guest has ended with exit code 0")?;
        if line.ends_with("tests: 6 passed, 0 failed") { Ok(()) } else { Err(line) }
    })
}
