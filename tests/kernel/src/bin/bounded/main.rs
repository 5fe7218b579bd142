// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long interrupts wait at most: the longest stretch from a kernel entry to the way out, over the longest operations that a program can
//! construct. Wants a kernel that measures this (its feature `pretend-interrupted`): it takes an interrupt for
//! pending at each preemption point, so that all that can be interrupted is. Under QEMU's `-icount shift=0` a tick is an instruction.
//!
//! Prints `stretch <check> <ticks>` of each operation, at the end `bench longest-stretch <ticks>`.
#![no_std]
#![no_main]

mod crowd;
mod deletions;
mod queues;
mod retypes;

use core::cell::Cell;

use kernel_tests::run::{Check, run_and_see};
use sel4::BootInfoPtr;
use sel4_root_task::println;

sel4_root_task::declare!(main);

const ALL: &[&[Check]] = &[retypes::CHECKS, deletions::CHECKS, queues::CHECKS];

fn main(bootinfo: &BootInfoPtr) -> ! {
    let longest = Cell::new(0);
    sel4::benchmark_finalize_log();
    run_and_see(
        bootinfo,
        |_| ALL,
        |name| {
            let ticks = sel4::benchmark_finalize_log();
            longest.set(longest.get().max(ticks));
            println!("stretch {name} {ticks}");
        },
        || println!("bench longest-stretch {}", longest.get()),
    )
}
