// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initial thread's stack. The kernel gives it none: RSP is 0 at entry.

use core::cell::UnsafeCell;

/// Bytes of the page beneath the stack.
pub const GUARD: usize = 4096;

#[repr(C, align(4096))]
struct Memory<const N: usize> {
    guard: [u8; GUARD],
    stack: [u8; N],
}

/// A stack of `N` bytes above a page that the entry code unmaps, so that an overflow is a fault.
pub struct Stack<const N: usize>(UnsafeCell<Memory<N>>);

// SAFETY: nothing but the entry code and the processor uses the memory.
unsafe impl<const N: usize> Sync for Stack<N> {}

impl<const N: usize> Stack<N> {
    /// A stack.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        const { assert!(N.is_multiple_of(4096) && N > 0) };
        Self(UnsafeCell::new(Memory { guard: [0; GUARD], stack: [0; N] }))
    }

    /// Address behind its last byte.
    pub const fn top(&'static self) -> StackTop {
        // SAFETY: one past the end of the very allocation.
        StackTop(unsafe { self.0.get().cast::<u8>().add(GUARD + N) })
    }

    /// Address of the page beneath.
    pub fn guard(&'static self) -> usize {
        self.0.get() as usize
    }
}

/// What RSP becomes at entry.
#[repr(transparent)]
pub struct StackTop(*mut u8);

// SAFETY: an address, which only the entry code turns into a stack.
unsafe impl Sync for StackTop {}
