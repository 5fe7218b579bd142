// SPDX-License-Identifier: MIT OR Apache-2.0
//! Static state of a kernel that runs one at a time.

use core::cell::UnsafeCell;

/// A static that only the running kernel touches.
pub struct KernelCell<T>(UnsafeCell<T>);

// SAFETY: the kernel runs on one CPU with interrupts off, so there is never a second user of the cell.
unsafe impl<T> Sync for KernelCell<T> {}

impl<T> KernelCell<T> {
    /// A cell holding `value`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The contents.
    ///
    /// # Safety
    /// The caller makes sure that no other reference to the contents is live: kernel entry points take one each, and do not nest.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get(&self) -> &mut T {
        // SAFETY: exclusive by the caller's promise.
        unsafe { &mut *self.0.get() }
    }

    /// Address of the contents.
    pub const fn as_ptr(&self) -> *mut T {
        self.0.get()
    }
}
