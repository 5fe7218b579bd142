// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of more than one processor, on a machine with at least two. Prints the same lines as `kernel-tests`. Nothing here has a deadline:
//! what must come from another processor is waited for.
#![no_std]
#![no_main]

mod checks;
mod stress;
mod turns;
mod worker;

use kernel_tests::env::has_domains;
use kernel_tests::run::run;
use sel4::BootInfoPtr;

sel4_root_task::declare!(main);

fn main(bootinfo: &BootInfoPtr) -> ! {
    run(bootinfo, |_| if has_domains() { &[turns::CHECKS] } else { &[checks::CHECKS, stress::CHECKS] }, || ())
}
