// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guests' code, as bytes, and where each routine begins.

use core::arch::global_asm;

global_asm!(include_str!("guest.s"));

macro_rules! routines {
    ($($name:ident),+ $(,)?) => {
        unsafe extern "C" {
            $(static $name: u8;)+
            static guest_begin: u8;
            static guest_end: u8;
        }

        /// Guest-physical addresses of the routines.
        pub mod entry {
            $(
                /// See `guest.s`.
                pub fn $name() -> u64 {
                    super::BASE + (&raw const super::$name as u64 - super::begin() as u64)
                }
            )+
        }
    };
}

routines! {
    guest_irq, guest_db, guest_cpuid, guest_ports, guest_own_port, guest_memory, guest_write, guest_execute, guest_halt, guest_window,
    guest_spin, guest_avx, guest_msrs, guest_debug, guest_soft_interrupt, guest_hard_interrupt, guest_triple_fault,
    guest_timing,
}

/// Guest-physical address of the code.
pub const BASE: u64 = 0x10000;
/// RAX of a VMMCALL at the end of a routine.
pub const DONE: u64 = 99;
/// RAX of a VMMCALL of a routine that found something wrong; RDI says where.
pub const FAILED: u64 = 0xdead;

fn begin() -> *const u8 {
    &raw const guest_begin
}

/// The code.
pub fn bytes() -> &'static [u8] {
    let length = &raw const guest_end as usize - begin() as usize;
    // SAFETY: the assembler put the code between the two, and nobody writes it.
    unsafe { core::slice::from_raw_parts(begin(), length) }
}
