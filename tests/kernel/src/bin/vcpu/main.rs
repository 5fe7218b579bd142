// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of virtual CPUs (extension X1): a tiny guest under SVM, with the initial thread as its VMM. Prints the same lines as
//! `kernel-tests`, and how many ticks an exit to the VMM and back takes (instructions, under `-icount shift=0`).
#![no_std]
#![no_main]

mod checks;
mod code;
mod entry;
mod processors;
mod steps;
mod threads;
mod translations;
mod turns;
mod vm;

use core::sync::atomic::Ordering;

use kernel_tests::Env;
use kernel_tests::env::has_domains;
use kernel_tests::run::{Check, run};
use sel4::BootInfoPtr;
use sel4_root_task::println;

sel4_root_task::declare!(main);

const ALL: &[&[Check]] =
    &[checks::CHECKS, entry::CHECKS, threads::CHECKS, steps::CHECKS, translations::CHECKS];

fn main(bootinfo: &BootInfoPtr) -> ! {
    // What the others measure and wait for is that of one processor.
    let choose = |env: &Env| -> &'static [&'static [Check]] {
        match env.bootinfo.num_nodes() {
            1 if has_domains() => &[turns::CHECKS],
            1 => ALL,
            _ => &[processors::CHECKS],
        }
    };
    run(bootinfo, choose, report)
}

fn report() {
    let [cpuid, out] = checks::TICKS.each_ref().map(|ticks| ticks.load(Ordering::Relaxed));
    if cpuid != 0 {
        println!("to the VMM and back: CPUID {cpuid} ticks, OUT {out} ticks");
    }
    if steps::GROWTH.load(Ordering::Relaxed) != 0 {
        println!("a forced flush: {} ticks more", steps::GROWTH.load(Ordering::Relaxed));
    }
}
