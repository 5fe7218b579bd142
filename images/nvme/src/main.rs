// SPDX-License-Identifier: MIT OR Apache-2.0
//! Drives an NVMe controller: a passed-through disk, read and written from inside the guest and compared. It takes no words.
#![cfg_attr(not(test), no_std, no_main)]
#![deny(unsafe_code)]
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod command;
mod identify;
mod layout;
mod prp;

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
    use guest_runtime::println;
    let mut controller = match controller::Controller::find() {
        Ok(controller) => controller,
        Err(why) => {
            println!("nvme: {why}");
            return UNUSABLE;
        }
    };
    println!("nvme: controller {} is {}", controller.address(), controller.identity());
    println!("nvme: namespace 1 has {} blocks of {} bytes", controller.blocks(), controller.block_bytes());
    let mut checks = guest_runtime::checks::Checks::new();
    selftest::run(&mut controller, &mut checks);
    checks.finish()
}
