// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical memory and registers below 4 GiB, which are mapped where they are, and I/O ports.

use core::arch::asm;

/// Reads at a physical address.
pub fn read<T: Copy>(address: u64) -> T {
    assert!(address < 1 << 32);
    // SAFETY: the low 4 GiB are mapped; `T` is made of integers; nobody else runs.
    unsafe { (address as *const T).read_unaligned() }
}

/// Writes at a physical address.
pub fn write<T: Copy>(address: u64, value: T) {
    assert!(address < 1 << 32);
    // SAFETY: as in `read`; what is written is this program's own, a table, or a device's register.
    unsafe { (address as *mut T).write_unaligned(value) }
}

/// Reads a register.
pub fn register(address: u64) -> u32 {
    assert!(address < 1 << 32 && address.is_multiple_of(4));
    // SAFETY: as in `read`.
    unsafe { (address as *const u32).read_volatile() }
}

/// Writes a register.
pub fn set_register(address: u64, value: u32) {
    assert!(address < 1 << 32 && address.is_multiple_of(4));
    // SAFETY: as in `write`.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// Writes a register of 64 bits.
pub fn set_wide_register(address: u64, value: u64) {
    assert!(address < 1 << 32 && address.is_multiple_of(8));
    // SAFETY: as in `write`.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// The bytes at a physical address, which stay as they are.
pub fn bytes(address: u64, length: usize) -> &'static [u8] {
    assert!(address != 0 && address + length as u64 <= 1 << 32);
    // SAFETY: as in `read`; what is read this way isn't written afterwards.
    unsafe { core::slice::from_raw_parts(address as *const u8, length) }
}

/// Fills memory.
pub fn fill(address: u64, value: u8, length: usize) {
    for at in address..address + length as u64 {
        write(at, value);
    }
}

/// Copies memory that doesn't overlap.
pub fn copy(from: u64, to: u64, length: u64) {
    for at in 0..length {
        write::<u8>(to + at, read(from + at));
    }
}

/// Writes a byte to a port.
pub fn port_write8(port: u16, value: u8) {
    // SAFETY: COM1 or configuration space.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) }
}

/// Writes 32 bits to a port.
pub fn port_write32(port: u16, value: u32) {
    // SAFETY: as in `port_write8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) }
}

/// Reads 32 bits from a port.
pub fn port_read32(port: u16) -> u32 {
    let value;
    // SAFETY: as in `port_write8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) }
    value
}
