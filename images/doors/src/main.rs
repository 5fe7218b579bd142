// SPDX-License-Identifier: MIT OR Apache-2.0
//! Goes through every door that leads to a passed-through device, and looks whether all show the same. Words of the command line choose:
//! `ports`, `io`, `wide`, `large`, `rom`, `capabilities`.
#![no_std]
#![no_main]

mod capabilities;
mod io;
mod ports;
mod rom;
mod wide;

use guest_runtime::checks::Checks;
use guest_runtime::pci::{self, Function};
use guest_runtime::{boot, cmdline, println};

guest_runtime::entry!(main);

/// The exit code where there is no device, or a word isn't understood.
const UNUSABLE: u32 = 2;
/// Vendor of the functions that the VMM makes up.
const MADE_UP: u16 = 0x1234;

fn main() -> u32 {
    let mut found = None;
    pci::for_each(|function| {
        if function.ids().vendor != MADE_UP {
            found = found.or(Some(function));
        }
    });
    let Some(function) = found else {
        println!("doors: there is no device");
        return UNUSABLE;
    };
    println!("doors: device {}", function.address());
    let mut checks = Checks::new();
    for word in cmdline::words(boot::command_line()) {
        if !command(word, &function, &mut checks) {
            println!("doors: \"{word}\" is no command");
            return UNUSABLE;
        }
    }
    checks.finish()
}

/// Does what the word says; `false` if it says nothing.
fn command(word: &str, function: &Function, checks: &mut Checks) -> bool {
    match word {
        "ports" => ports::run(function, checks),
        "capabilities" => capabilities::run(function, checks),
        "io" => io::run(function, checks),
        "rom" => rom::run(function, checks),
        "wide" => wide::run(function, checks),
        "large" => wide::large(function, checks),
        _ => return false,
    }
    true
}
