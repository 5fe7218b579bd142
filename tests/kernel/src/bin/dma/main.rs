// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks of DMA and interrupt remapping (extensions X2 to X4) with real devices: QEMU's `edu` at 01:00.0 and 02:00.0, each
//! behind a root port, beside a VT-d unit. Prints the same lines as `kernel-tests`.
#![no_std]
#![no_main]

mod faults;
mod lab;
mod mapping;
mod messages;
mod race;
mod race_messages;
mod spaces;

use kernel_tests::run::{Check, run};
use sel4::BootInfoPtr;

sel4_root_task::declare!(main);

const ALL: &[&[Check]] =
    &[spaces::CHECKS, mapping::CHECKS, faults::CHECKS, messages::CHECKS, race::CHECKS, race_messages::CHECKS];

fn main(bootinfo: &BootInfoPtr) -> ! {
    run(bootinfo, |_| ALL, || ())
}
