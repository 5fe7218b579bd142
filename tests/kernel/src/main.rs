// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of the kernel from inside an initial thread. Each has the name of the rule that it holds, memory and slots of its
//! own, and prints one line: `test <name> ... ok`, `FAILED: <why>` or `skipped: <why>`. At the end stands
//! `<n> passed, <n> failed`, and the machine is switched off.
#![no_std]
#![no_main]

mod checks;

use kernel_tests::env::has_domains;
use kernel_tests::run::run;
use sel4::BootInfoPtr;

sel4_root_task::declare!(main);

fn main(bootinfo: &BootInfoPtr) -> ! {
    run(bootinfo, |_| if has_domains() { checks::WITH_DOMAINS } else { checks::ALL }, || ())
}
