// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root task's only `unsafe`: memory that it mapped itself, as Rust sees it.
#![allow(unsafe_code)]

use protocol::ring::Ring;

/// The `length` bytes at `address`.
///
/// # Safety
/// They are mapped, readable, and written by nobody, as long as the result is used.
pub unsafe fn bytes<'a>(address: usize, length: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(address as *const u8, length) }
}

/// Copies `bytes` to `address`.
///
/// # Safety
/// So many bytes are mapped there, writable, and no Rust object.
pub unsafe fn fill(address: usize, bytes: &[u8]) {
    // SAFETY: the caller's promise; the source is a slice and the destination no Rust object, so they are apart.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
}

/// The ring at `address`.
///
/// # Safety
/// 16 pages of the root task's own are mapped there for ever.
pub unsafe fn ring(address: usize) -> &'static Ring {
    // SAFETY: the caller's promise; a ring is all atomics, so others may write it too.
    unsafe { &*(address as *const Ring) }
}

/// Reads a 32-bit device register.
///
/// # Safety
/// Device registers are mapped there, and reading this one changes nothing.
pub unsafe fn register(address: usize) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { (address as *const u32).read_volatile() }
}

/// Ticks of the time-stamp counter.
#[allow(unsafe_code)]
pub fn tsc() -> u64 {
    // SAFETY: every processor that the kernel runs on has it, and user level may read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
