// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices with several messages: a guest rings each and looks at what comes.

use crate::build::{self, System};
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("messages::sixteen_of_msi_come_each_as_its_own", msi),
    Case::new("messages::sixteen_of_msix_come_each_as_its_own", msix),
    Case::new("messages::registers_beside_an_msix_table_are_trapped_and_work", beside_the_table),
];

/// Reads of one register between the two lines of counters that the guest asks for.
const READS: u64 = 1000;

const OF_MSIX: [&str; 6] = [
    "bar-moved-in-halves",
    "registers-by-width",
    "msix-each-its-own",
    "msix-a-masked-vector-is-pending",
    "msix-all-masked",
    "msix-a-message-can-change-while-masked",
];

fn msi() -> Outcome {
    let checks =
        ["msi-each-its-own", "msi-written-in-halves", "msi-fewer-fold", "msi-low-bits-are-the-devices"];
    works(&build::system("xhci-msi")?, &checks, Registers::Mapped)
}

fn msix() -> Outcome {
    works(&build::system("xhci-msix")?, &OF_MSIX, Registers::Mapped)
}

/// In pieces of 16 KiB the whole BAR is in one with the table: no access of the driver goes to the device directly.
fn beside_the_table() -> Outcome {
    let system = build::system_with_features("xhci-coarse", &["pci-server/coarse-granule"])?;
    works(&system, &OF_MSIX, Registers::Trapped)
}

/// How the guest reaches the registers that aren't the table.
#[derive(PartialEq)]
enum Registers {
    Mapped,
    Trapped,
}

fn works(system: &System, checks: &[&str], registers: Registers) -> Outcome {
    with(Machine::start(&system.arguments())?, |machine| {
        machine.expect_anywhere("16 interrupt vector(s)")?;
        let before = trapped(&machine.expect("vmm: exits: ")?)?;
        let exits = trapped(&machine.expect("vmm: exits: ")?)? - before;
        // Text that the guest writes in between exits by its port.
        let reads = if registers == Registers::Trapped { READS..READS + 10 } else { 0..10 };
        if !reads.contains(&exits) {
            return Err(format!("{READS} reads of a register made {exits} exits"));
        }
        let summary = machine.expect("[xhci] tests: ")?;
        machine.refute("FAILED")?;
        for check in checks {
            machine.expect_anywhere(&format!("[xhci] test {check} ... ok"))?;
        }
        if !summary.contains(" 0 failed") {
            return Err(summary);
        }
        machine.expect("the guest has ended with exit code 0")?;
        machine.refute("dma fault")
    })
}

/// The nested page faults that a line of counters tells.
fn trapped(line: &str) -> Result<u64, String> {
    let count = line.split([' ', ';']).find_map(|pair| pair.strip_prefix("npf=")?.parse().ok());
    count.ok_or_else(|| format!("no number of nested page faults in `{line}`"))
}
