// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drives an NVMe controller: a passed-through disk, read and written from inside the guest and compared. Words of the command line choose
//! what to do: `self` (the default), `steal=ADDRESS`, `spoil=ADDRESS`; `share=COUNT` for the owner of a physical function.
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
mod primary;
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
    use guest_runtime::{boot, println};
    let line = boot::command_line();
    let outcome = match number(line, "share") {
        Some(count) => share(count),
        None => drive(line),
    };
    outcome.unwrap_or_else(|why| {
        println!("nvme: {why}");
        UNUSABLE
    })
}

#[cfg(target_os = "none")]
fn number(line: &str, key: &str) -> Option<u64> {
    use guest_runtime::cmdline;
    cmdline::value(line, key).and_then(cmdline::number)
}

/// Brings the virtual functions' controllers online, and stays: they end with it.
#[cfg(target_os = "none")]
fn share(count: u64) -> Result<u32, alloc::string::String> {
    use guest_runtime::{println, time};
    let count = u16::try_from(count).map_err(|_| "so many virtual functions there aren't")?;
    let _primary = primary::share(count)?;
    println!("nvme: all virtual functions are online");
    time::sleep_until(u64::MAX);
    Ok(0)
}

/// Drives a disk as the words of the command line say.
#[cfg(target_os = "none")]
fn drive(line: &str) -> Result<u32, alloc::string::String> {
    use guest_runtime::{checks::Checks, println};
    let is_setting = |word: &&str| *word == "virtual" || word.starts_with("namespace=");
    let is_virtual = line.split_ascii_whitespace().any(|word| word == "virtual");
    let namespace = number(line, "namespace").unwrap_or(1) as u32;
    let mut controller = controller::Controller::find(namespace, is_virtual)?;
    println!("nvme: controller {} is {}", controller.address(), controller.identity());
    let (blocks, bytes) = (controller.blocks(), controller.block_bytes());
    println!("nvme: namespace {} has {blocks} blocks of {bytes} bytes", controller.namespace());
    let mut checks = Checks::new();
    let mut words = line.split_ascii_whitespace().filter(|word| !is_setting(word)).peekable();
    if words.peek().is_none() {
        selftest::run(&mut controller, &mut checks);
    }
    for word in words {
        if !command(&mut controller, word, &mut checks) {
            return Err(alloc::format!("\"{word}\" is no command"));
        }
    }
    Ok(checks.finish())
}

/// Obeys a word; `false` if it has no meaning.
#[cfg(target_os = "none")]
fn command(
    controller: &mut controller::Controller,
    word: &str,
    checks: &mut guest_runtime::checks::Checks,
) -> bool {
    if word == "self" {
        selftest::run(controller, checks);
    } else if let Some(address) = number(word, "steal") {
        attack::steal(controller, address);
        checks.report("steal-ends", Ok::<(), &str>(()));
    } else if let Some(address) = number(word, "spoil") {
        attack::spoil(controller, address);
        checks.report("spoil-ends", Ok::<(), &str>(()));
    } else {
        return false;
    }
    true
}
