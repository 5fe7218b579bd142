// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings the interrupters of a passed-through USB controller and looks at which vector comes: MSI with several messages, or MSI-X. The word
//! `attack` has it abuse what it has of the controller instead: BARs, MSI-X table, and all of that at random.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod attack_bars;
mod attack_random;
mod attack_table;
mod bar;
mod device;
mod msi;
mod msix;
mod registers;
mod vectors;

use device::Xhci;
use guest_runtime::checks::Checks;
use guest_runtime::{boot, cmdline, irq, println};

guest_runtime::entry!(main);

/// The exit code where there is no device.
const UNUSABLE: u32 = 2;

fn main() -> u32 {
    let mut xhci = match Xhci::find() {
        Ok(xhci) => xhci,
        Err(why) => {
            println!("xhci: {why}");
            return UNUSABLE;
        }
    };
    let mut checks = Checks::new();
    let line = boot::command_line();
    if cmdline::words(line).any(|word| word == "attack") {
        let rounds = cmdline::value(line, "rounds").and_then(cmdline::number).unwrap_or(500);
        if let Err(why) = attack(&xhci, rounds, &mut checks) {
            println!("xhci: {why}");
            return UNUSABLE;
        }
        let code = checks.finish();
        if cmdline::words(line).any(|word| word == "stay") {
            println!("xhci: staying");
            loop {
                irq::wait();
            }
        }
        return code;
    }
    checks.report("bar-moved-in-halves", bar::moved(xhci.function()));
    checks.report("registers-by-width", registers::read(xhci.function()));
    let ran = match (msix::Table::of(xhci.function()), msi::Capability::of(xhci.function())) {
        (Some(table), _) => msix::run(&mut xhci, &table, &mut checks),
        (None, Some(msi)) => msi::run(&mut xhci, &msi, &mut checks),
        (None, None) => Err("there are no messages"),
    };
    if let Err(why) = ran {
        println!("xhci: {why}");
        return UNUSABLE;
    }
    checks.equal("no-unexpected-interrupt", irq::unexpected(), 0);
    checks.finish()
}

/// Abuses what a guest has of a device; afterwards the device must work as before.
fn attack(xhci: &Xhci, rounds: u64, checks: &mut Checks) -> Result<(), &'static str> {
    let table = msix::Table::of(xhci.function()).ok_or("there is no MSI-X table")?;
    attack_bars::run(xhci, checks);
    attack_table::run(xhci, &table, checks)?;
    attack_random::run(xhci, &table, rounds, checks)?;
    checks.equal("no-unexpected-interrupt", irq::unexpected(), 0);
    Ok(())
}
