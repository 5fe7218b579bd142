// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that a device reads and writes.

use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::ptr::NonNull;

/// Whole pages of RAM for a device, zero at first. The address is the same for CPU and device. What lies in it may change at any time, so it is
/// reached by copies only.
pub struct Buffer {
    start: NonNull<u8>,
    layout: Layout,
}

impl Buffer {
    /// Room for `bytes`, rounded up to whole 4 KiB pages, at least one.
    pub fn new(bytes: usize) -> Self {
        let pages = bytes.div_ceil(4096).max(1);
        let layout =
            Layout::from_size_align(pages * 4096, 4096).expect("a size below half the address space");
        // SAFETY: the layout has at least a page.
        let start = unsafe { alloc_zeroed(layout) };
        Self { start: NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    /// Gives the memory up to a driver that manages it by itself: its address for the device and for the CPU.
    pub fn into_raw(self) -> (u64, NonNull<u8>) {
        let start = self.start;
        core::mem::forget(self);
        (start.as_ptr() as u64, start)
    }

    /// Takes back what [`Self::into_raw`] gave.
    ///
    /// # Safety
    /// `start` comes from `into_raw` of a buffer of this length in bytes, and isn't used any more.
    pub unsafe fn from_raw(start: NonNull<u8>, bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, 4096).expect("the length of a buffer that existed");
        Self { start, layout }
    }

    /// The address, for CPU and device alike.
    pub fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.layout.size()
    }

    /// Copies `data` to `offset`.
    ///
    /// # Panics
    /// If it doesn't fit.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        assert!(offset <= self.bytes() && data.len() <= self.bytes() - offset, "write beyond a DMA buffer");
        for (index, byte) in data.iter().enumerate() {
            // SAFETY: inside the allocation; volatile, because a device reads it.
            unsafe { self.start.as_ptr().add(offset + index).write_volatile(*byte) };
        }
    }

    /// Copies what lies at `offset` to `data`.
    ///
    /// # Panics
    /// If the buffer ends before.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        assert!(offset <= self.bytes() && data.len() <= self.bytes() - offset, "read beyond a DMA buffer");
        for (index, byte) in data.iter_mut().enumerate() {
            // SAFETY: inside the allocation; volatile, because a device writes it.
            *byte = unsafe { self.start.as_ptr().add(offset + index).read_volatile() };
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout. A device that is still told to use it is its driver's mistake.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_copies() {
        let mut buffer = Buffer::new(5000);
        assert_eq!((buffer.bytes(), buffer.address() % 4096), (8192, 0));
        buffer.write(8190, &[1, 2]);
        let mut back = [9; 3];
        buffer.read(8189, &mut back);
        assert_eq!(back, [0, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn end_is_checked() {
        Buffer::new(1).write(4095, &[1, 2]);
    }
}
