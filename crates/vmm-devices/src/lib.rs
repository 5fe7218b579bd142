// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual machine's models, without anything that touches hardware or the kernel: what a guest's CPUID, MSR, port and
//! memory accesses mean, the local APIC, the UART, the loader of the guest's image and the firmware tables it finds.
//!
//! `docs/guest-abi.md` is the contract that these models keep. Principles:
//! - Whatever a guest does ends in a value: a result, an exception for the guest, or an end of the guest. Nothing here panics.
//! - Guest memory is reached only through [`memory::GuestMemory`], which checks every address.
//! - Time is a parameter: guest TSC ticks, never read here.
#![no_std]
#![forbid(unsafe_code)]
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod apic;
pub mod bars;
pub mod boot;
pub mod config_ports;
pub mod cpuid;
pub mod decode;
pub mod ecam;
pub mod elf;
pub mod exits;
pub mod fetch;
#[cfg(test)]
mod hostile_tests;
pub mod inject;
pub mod ioapic;
pub mod layout;
pub mod map;
pub mod memory;
pub mod msi;
pub mod msr;
pub mod nested;
pub mod ports;
#[cfg(test)]
mod random;
pub mod trapped;
pub mod uart;
pub mod vmcb;
pub mod walk;
