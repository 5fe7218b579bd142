// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drives an NVMe controller: a passed-through disk, read and written from inside the guest and compared. Words of the command line choose
//! what to do: `self` (the default), `steal=ADDRESS`, `spoil=ADDRESS`.
#![cfg_attr(not(test), no_std, no_main)]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod command;
mod identify;
mod layout;
mod prp;

#[cfg(target_os = "none")]
mod attack;
#[cfg(target_os = "none")]
mod controller;
#[cfg(target_os = "none")]
mod queue;
#[cfg(target_os = "none")]
mod selftest;

#[cfg(target_os = "none")]
guest_runtime::entry!(main);

/// The exit code where there is no controller, or none that can be driven.
#[cfg(target_os = "none")]
const UNUSABLE: u32 = 2;

#[cfg(target_os = "none")]
fn main() -> u32 {
    use guest_runtime::{boot, checks::Checks, println};
    let mut controller = match controller::Controller::find() {
        Ok(controller) => controller,
        Err(why) => {
            println!("nvme: {why}");
            return UNUSABLE;
        }
    };
    println!("nvme: controller {} is {}", controller.address(), controller.identity());
    println!("nvme: namespace 1 has {} blocks of {} bytes", controller.blocks(), controller.block_bytes());
    let mut checks = Checks::new();
    let line = boot::command_line();
    let words = if line.trim().is_empty() { "self" } else { line };
    for word in words.split_ascii_whitespace() {
        if !command(&mut controller, word, &mut checks) {
            println!("nvme: \"{word}\" is no command");
            return UNUSABLE;
        }
    }
    checks.finish()
}

/// Obeys a word; `false` if it has no meaning.
#[cfg(target_os = "none")]
fn command(
    controller: &mut controller::Controller,
    word: &str,
    checks: &mut guest_runtime::checks::Checks,
) -> bool {
    use guest_runtime::cmdline;
    let number = |key| cmdline::value(word, key).and_then(cmdline::number);
    if word == "self" {
        selftest::run(controller, checks);
    } else if let Some(address) = number("steal") {
        attack::steal(controller, address);
        checks.report("steal-ends", Ok::<(), &str>(()));
    } else if let Some(address) = number("spoil") {
        attack::spoil(controller, address);
        checks.report("spoil-ends", Ok::<(), &str>(()));
    } else {
        return false;
    }
    true
}
