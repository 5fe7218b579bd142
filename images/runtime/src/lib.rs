// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runtime of Postern's own guests: everything between the first instruction of a PVH virtual machine and `main`.
//!
//! It keeps to `docs/guest-abi.md`, and where that promises less than a PC has it also runs on plain QEMU (`-machine q35 -kernel`), so that
//! a guest can be tried without the hypervisor. One CPU, one stack, no processes: `main` runs with interrupts off and
//! handlers run only inside [`irq::wait`] and [`irq::with_enabled`].
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! use guest_runtime::println;
//!
//! guest_runtime::entry!(main);
//!
//! fn main() -> u32 {
//!     println!("started with {:?}", guest_runtime::boot::command_line());
//!     0 // the exit code; 0 powers off
//! }
//! ```
#![cfg_attr(not(test), no_std)]
// On the host, where only the pure parts are tested, the hardware's callers are missing.
#![cfg_attr(not(target_os = "none"), allow(dead_code))]

extern crate alloc;

pub mod acpi;
pub mod apic;
pub mod boot;
pub mod cell;
pub mod checks;
pub mod cmdline;
pub mod cpu;
pub mod cpuid;
pub mod dma;
#[cfg(target_os = "none")]
mod entry;
pub mod exit;
#[cfg(target_os = "none")]
mod heap;
pub mod ioapic;
pub mod irq;
pub mod memory;
pub mod mmio;
mod paging;
pub mod pci;
pub mod random;
#[cfg(target_os = "none")]
mod segments;
pub mod serial;
pub mod time;
#[cfg(target_os = "none")]
mod traps;

#[cfg(target_os = "none")]
pub use heap::usage as heap_usage;

/// Names the function that the runtime calls once the machine is set up: `fn() -> u32`, whose result is the guest's exit code.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // The allowance lets an image deny unsafe code for all it writes itself.
        #[allow(unsafe_code)]
        #[unsafe(no_mangle)]
        extern "C" fn guest_main() -> u32 {
            let main: fn() -> u32 = $main;
            main()
        }
    };
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    cpu::interrupts_off();
    println!("guest panic: {info}");
    exit::exit(exit::PANIC)
}
