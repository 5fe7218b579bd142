// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways by which a guest reaches its device's configuration space and BARs.

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("config::ports_and_memory_show_the_same_configuration_space", doors),
    Case::new("config::ports_of_a_device_are_its_guests_wherever_it_puts_them", io),
];

fn doors() -> Outcome {
    passes("config-doors", 6).map(drop)
}

/// The guest `doors` of a system passes so many tests; the counts of its port accesses' exits that it asked for, and of the last ones.
fn passes(name: &str, tests: usize) -> Result<Vec<u64>, String> {
    let system = build::system(name)?;
    let mut counts = Vec::new();
    with(Machine::start(&system.arguments())?, |machine| {
        let line = machine.expect_anywhere("[doors] tests: ")?;
        if !line.ends_with(&format!("tests: {tests} passed, 0 failed")) {
            return Err(line);
        }
        machine.expect_anywhere("[doors] vmm: the guest has ended with exit code 0")?;
        machine.wait_end(LIMIT)?;
        let exits =
            machine.serial.lines().into_iter().filter(|line| line.starts_with("[doors] vmm: exits: "));
        let count = |line: String| line.split_once(" io=")?.1.split(' ').next()?.parse().ok();
        counts = exits.filter_map(count).collect();
        Ok(())
    })?;
    Ok(counts)
}

/// A hundred accesses exit where the guest has the ports elsewhere than the device, and none where they are the same.
fn io() -> Outcome {
    let counts = passes("config-io", 11)?;
    let [before, after, before_elsewhere, after_elsewhere, _] = counts[..] else {
        return Err(format!("the log has these counts: {counts:?}"));
    };
    // The second request to count is an exit itself.
    match (after - before, after_elsewhere - before_elsewhere) {
        (1, 101) => Ok(()),
        (own, elsewhere) => Err(format!("{own} exits with the device's own ports, {elsewhere} with others")),
    }
}
