// SPDX-License-Identifier: MIT OR Apache-2.0
//! CNodes: arrays of slots.

use crate::cap::Slot;
use crate::cdt::SlotRef;
use crate::ptr::Ptr;

/// What a CNode capability says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CNode {
    /// The first slot.
    pub slots: Ptr<Slot>,
    /// Log2 of the number of slots.
    pub radix: u8,
    /// Bits of the guard.
    pub guard_bits: u8,
    /// The guard's value.
    pub guard: u64,
}

impl CNode {
    /// Number of slots.
    pub const fn len(&self) -> u64 {
        1 << self.radix
    }

    /// Never: a CNode has slots. (For the lint that wants it beside `len`.)
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Slot number `index`, taken modulo the size.
    #[inline]
    pub fn slot(&self, index: u64) -> SlotRef {
        // SAFETY: the CNode's memory holds 2^radix slots.
        unsafe { slot_at(self.slots, index & (self.len() - 1)) }
    }

    /// The same CNode with another guard, as cap data gives it: size in bits 0..6, value above.
    /// `None` when guard and index together exceed an address.
    pub fn with_guard(self, data: u64) -> Option<Self> {
        let bits = (data & 63) as u8;
        let guard = if bits == 0 { 0 } else { (data >> 6) & ((1 << bits) - 1) };
        (u32::from(bits) + u32::from(self.radix) <= 64).then_some(Self { guard_bits: bits, guard, ..self })
    }
}

/// Slot `index` of the array that begins at `first`.
///
/// # Safety
/// The array has more than `index` slots.
pub unsafe fn slot_at(first: Ptr<Slot>, index: u64) -> SlotRef {
    // SAFETY: within the array by the caller's promise.
    unsafe { first.add(index) }
}
