// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access to the units' tables through the window on physical memory.
//!
//! The addresses are those of tables that the kernel allocated at boot, of I/O page tables that user level made from
//! untyped memory and can't reach, and of entries in them. User level can't make one up: a table's address comes from
//! a capability or from an entry that this module wrote.

use core::arch::asm;

use ::vtd::PAGE_BYTES;

use crate::arch::phys_to_virt;

/// Bytes of a cache line. All processors with VT-d have this.
const LINE: u64 = 64;

/// Reads 8 bytes.
pub fn load(paddr: u64) -> u64 {
    // SAFETY: a table's memory (see above), 8-aligned since tables and entries are.
    unsafe { phys_to_virt(paddr).cast::<u64>().read_volatile() }
}

/// Writes 8 bytes at once.
pub fn store(paddr: u64, value: u64) {
    // SAFETY: as in `load`; the kernel alone writes tables, one at a time.
    unsafe { phys_to_virt(paddr).cast::<u64>().write_volatile(value) }
}

/// Zeroes a table.
pub fn zero(table: u64) {
    // SAFETY: a whole table's memory, which no unit reads any more.
    unsafe { core::ptr::write_bytes(phys_to_virt(table), 0, PAGE_BYTES as usize) }
}

/// Writes the cache lines of `[paddr, paddr + bytes)` back to memory.
pub fn flush(paddr: u64, bytes: u64) {
    let mut line = paddr & !(LINE - 1);
    while line < paddr + bytes {
        // SAFETY: flushing a line of the window changes no content.
        unsafe { asm!("clflush [{}]", in(reg) phys_to_virt(line), options(nostack, preserves_flags)) };
        line += LINE;
    }
    // SAFETY: a fence; without it the flushes could come after the store that tells the unit to look.
    unsafe { asm!("mfence", options(nostack, preserves_flags)) };
}
