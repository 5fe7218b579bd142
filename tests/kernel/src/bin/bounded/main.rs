// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long interrupts wait at most: the longest stretch from a kernel entry to the way out, over the longest operations that a program can
//! construct, and over all checks of the kernel. Wants a kernel that measures this (its feature `pretend-interrupted`): it takes an interrupt for
//! pending at each preemption point, so that all that can be interrupted is. Under QEMU's `-icount shift=0` a tick is an instruction.
//!
//! Prints `stretch <check> <ticks>` of each operation, and at the end `bench longest-stretch <ticks>`. Of the kernel's other checks those
//! above 5,000 are told.
#![no_std]
#![no_main]

// Those of domains want a boot argument.
#[allow(dead_code)]
#[path = "../../checks/mod.rs"]
mod checks;
// Of the guests there is one.
#[allow(dead_code)]
#[path = "../vcpu/code.rs"]
mod code;
mod crowd;
mod deep;
mod deletions;
mod guests;
mod io;
mod pools;
mod queues;
mod retypes;
mod sporadic;
mod turns;
#[allow(dead_code)]
#[path = "../vcpu/vm.rs"]
mod vm;

use core::cell::Cell;

use kernel_tests::env::has_domains;
use kernel_tests::run::{Check, run_and_see};
use sel4::BootInfoPtr;
use sel4_root_task::println;

sel4_root_task::declare!(main);

/// The operations of this program.
const OWN: &[&[Check]] = &[
    retypes::CHECKS,
    deletions::CHECKS,
    pools::CHECKS,
    queues::CHECKS,
    sporadic::CHECKS,
    io::CHECKS,
    deep::CHECKS,
    guests::CHECKS,
];

/// These, and every check of the kernel.
static ALL: &[&[Check]] = &{
    let mut all = [OWN[0]; OWN.len() + checks::ALL.len()];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < OWN.len() { OWN[i] } else { checks::ALL[i - OWN.len()] };
        i += 1;
    }
    all
};

/// Of the other checks stretches of more ticks are told.
const TOLD: u64 = 5000;

fn main(bootinfo: &BootInfoPtr) -> ! {
    let longest = Cell::new(0);
    sel4::benchmark_finalize_log();
    run_and_see(
        bootinfo,
        |_| if has_domains() { &[turns::CHECKS] } else { ALL },
        |name| {
            let ticks = sel4::benchmark_finalize_log();
            longest.set(ticks.max(longest.get()));
            let mut own = OWN.iter().chain([&turns::CHECKS]).flat_map(|list| *list);
            if ticks > TOLD || own.any(|(own, _)| *own == name) {
                println!("stretch {name} {ticks}");
            }
        },
        || println!("bench longest-stretch {}", longest.get()),
    )
}
