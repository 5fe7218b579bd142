// SPDX-License-Identifier: MIT OR Apache-2.0
//! The smallest useful guest, and the template for another: says who it is and what it sees, counts ten seconds, powers off.
//!
//! To make a guest of your own, copy this folder, give the package another name, add it to the workspace, and name its folder as
//! `vm.image` in a system description. `docs/guest-abi.md` says what a guest finds; `guest_runtime` wraps it.
#![no_std] // There is no operating system below …
#![no_main] // … and none that would call `main` by itself.
#![deny(unsafe_code)]

use guest_runtime::{boot, cpuid, heap_usage, irq, memory, println, time};

// The runtime sets up the CPU (64-bit mode, one-to-one page tables, exceptions, heap, clock, local APIC) and calls this function. Its result
// is the exit code; 0 powers the virtual machine off.
guest_runtime::entry!(main);

/// How long to count.
const SECONDS: u64 = 10;
/// The runtime's clock counts nanoseconds.
const SECOND: u64 = 1_000_000_000;

fn main() -> u32 {
    // `println!` writes to the serial line, which becomes this guest's lines in the system's log.
    println!("hello: a unikernel on {}", hypervisor_name());
    println!("hello: command line \"{}\"", boot::command_line());
    println!("hello: CPU vendor {}, TSC {} kHz", cpuid::vendor(), time::tsc_khz());
    print_memory();

    // Deadlines are absolute, so that the time for printing doesn't add up. `sleep_until` sets the APIC's timer once and
    // halts: a sleeping guest uses no CPU time.
    let start = time::now();
    for second in 1..=SECONDS {
        time::sleep_until(start + second * SECOND);
        println!("hello: second {second} of {SECONDS}");
    }
    println!("hello: {} timer interrupts, goodbye", irq::timer_count());
    0
}

/// The hypervisor's name and, on Postern, the version of its interface.
fn hypervisor_name() -> impl core::fmt::Display {
    core::fmt::from_fn(|f| match (cpuid::postern(), cpuid::hypervisor()) {
        (Some(postern), Some(name)) => write!(f, "{name}, interface {}", postern.version),
        (None, Some(name)) => write!(f, "{name}"),
        (_, None) => write!(f, "no hypervisor"),
    })
}

fn print_memory() {
    for region in boot::memory_map() {
        let kind = if region.usable { "usable" } else { "reserved" };
        println!("hello: memory {:#012x}..{:#012x} {kind}", region.start, region.end());
    }
    // Whatever is usable behind the image is the heap: `alloc` works (`extern crate alloc`).
    let (_, heap) = heap_usage();
    println!(
        "hello: {} KiB usable, {} KiB of it heap",
        memory::usable_bytes(boot::memory_map()) / 1024,
        heap / 1024
    );
}
