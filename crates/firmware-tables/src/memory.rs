// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a reader gets at physical memory.

/// Physical memory as a reader of firmware tables sees it.
pub trait PhysicalMemory {
    /// The `length` bytes at the physical address `address`, or `None` if not all of them can be read.
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]>;
}

/// Memory that begins at physical address 0: an image of low memory, as tests use it.
impl PhysicalMemory for [u8] {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(address).ok()?;
        self.get(start..start.checked_add(length)?)
    }
}
