// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways by which a guest reaches its device's configuration space and BARs.

use std::fs;
use std::path::PathBuf;

use crate::build;
use crate::cases::gate::demand;
use crate::machine::{LIMIT, Machine};
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("config::ports_and_memory_show_the_same_configuration_space", doors),
    Case::new("config::ports_of_a_device_are_its_guests_wherever_it_puts_them", io),
    Case::new("config::wide_bars_lie_above_4_gib_if_they_are_put_there", wide),
    Case::new("config::known_capabilities_are_shown_and_nothing_else", capabilities),
    Case::new("config::an_expansion_rom_is_its_guests_on_request", rom),
];

fn doors() -> Outcome {
    passes("config-doors", &[("doors", 6)]).map(drop)
}

fn wide() -> Outcome {
    passes("config-wide", &[("doors", 16), ("large", 3)]).map(drop)
}

/// Both devices have more than is shown: the card a door to its BARs, the other one MSI beside MSI-X, and error reporting.
fn capabilities() -> Outcome {
    passes_with("config-capabilities", &[("card", 6), ("nic", 6)], &[], |machine| {
        let shown = |guest: &str| -> Result<Vec<String>, String> {
            machine.expect_anywhere(&format!("[{guest}] tests: "))?;
            let start = format!("[{guest}] doors: ");
            let lines = machine.serial.lines();
            let shown = lines.iter().filter_map(|line| line.split_once(&start)).map(|(_, rest)| rest.into());
            Ok(shown.filter(|rest: &String| rest.contains("capability")).collect())
        };
        let nic = shown("nic")?;
        let wanted = [
            "capability 01 at c8",
            "capability 10 at e0",
            "capability 11 at a0",
            "extended capability 0000 at 100",
            "extended capability 0003 at 140",
        ];
        demand(nic == wanted, || format!("the e1000e shows {nic:?}"))?;
        let card = shown("card")?;
        let places = card.iter().filter(|line| line.starts_with("capability 09")).count();
        demand(places == 4, || format!("the card shows {card:?}, its registers are at four places"))
    })
    .map(drop)
}

/// A file that is gone with its test.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn rom() -> Outcome {
    /// As `images/doors/src/rom.rs` has it. The firmware of the machine must not take it for a program.
    const FACTOR: u32 = 0x9e37_79b9;
    let file = File(std::env::temp_dir().join(format!("postern-{}-rom.bin", std::process::id())));
    let contents: Vec<u8> = (0..0x4000u32).flat_map(|n| n.wrapping_mul(FACTOR).to_le_bytes()).collect();
    fs::write(&file.0, contents).map_err(|error| format!("{}: {error}", file.0.display()))?;
    let device = format!("pci-testdev,bus=rp1,romfile={}", file.0.display());
    passes_with("config-rom", &[("doors", 9)], &["-device".into(), device], |machine| {
        machine
            .expect_anywhere("[root-task] vm none: refused: device /00:05.0/00.0: it has no expansion ROM")?;
        machine.expect_anywhere("[doors] vmm: device 0: expansion ROM of 0x10000 bytes at ")?;
        Ok(())
    })
    .map(drop)
}

/// Each of these guests passes so many tests; the counts of port accesses' exits of `doors` when it asked for them, and at its end.
fn passes(name: &str, guests: &[(&str, usize)]) -> Result<Vec<u64>, String> {
    passes_with(name, guests, &[], |_| Ok(()))
}

/// The same on a machine with `more` arguments, whose log `has` what it is to have.
fn passes_with(
    name: &str,
    guests: &[(&str, usize)],
    more: &[String],
    has: impl FnOnce(&mut Machine) -> Outcome,
) -> Result<Vec<u64>, String> {
    let mut arguments = build::system(name)?.arguments();
    arguments.extend_from_slice(more);
    let mut counts = Vec::new();
    with(Machine::start(&arguments)?, |machine| {
        has(machine)?;
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
