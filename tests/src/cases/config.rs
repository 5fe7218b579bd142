// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways by which a guest reaches its device's configuration space and BARs.

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("config::ports_and_memory_show_the_same_configuration_space", doors),
    Case::new("config::ports_of_a_device_are_its_guests_wherever_it_puts_them", io),
    Case::new("config::wide_bars_lie_above_4_gib_if_they_are_put_there", wide),
];

fn doors() -> Outcome {
    passes("config-doors", &[("doors", 6)]).map(drop)
}

fn wide() -> Outcome {
    passes("config-wide", &[("doors", 15), ("large", 3)]).map(drop)
}

/// Each of these guests passes so many tests; the counts of port accesses' exits of `doors` when it asked for them, and at its end.
fn passes(name: &str, guests: &[(&str, usize)]) -> Result<Vec<u64>, String> {
    let system = build::system(name)?;
    let mut counts = Vec::new();
    with(Machine::start(&system.arguments())?, |machine| {
        for (guest, tests) in guests {
            let line = machine.expect_anywhere(&format!("[{guest}] tests: "))?;
            if !line.ends_with(&format!("tests: {tests} passed, 0 failed")) {
                return Err(line);
            }
            machine.expect_anywhere(&format!("[{guest}] vmm: the guest has ended with exit code 0"))?;
        }
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
    let counts = passes("config-io", &[("doors", 11)])?;
    let [before, after, before_elsewhere, after_elsewhere, _] = counts[..] else {
        return Err(format!("the log has these counts: {counts:?}"));
    };
    // The second request to count is an exit itself.
    match (after - before, after_elsewhere - before_elsewhere) {
        (1, 101) => Ok(()),
        (own, elsewhere) => Err(format!("{own} exits with the device's own ports, {elsewhere} with others")),
    }
}
