// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rings the interrupters of a passed-through USB controller and looks at which vector comes: MSI with several messages, or MSI-X.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod bar;
mod device;
mod msi;
mod msix;
mod registers;
mod vectors;

use device::Xhci;
use guest_runtime::checks::Checks;
use guest_runtime::{irq, println};

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
