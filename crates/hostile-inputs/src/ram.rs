// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's RAM as a vector.

use core::ops::Range;
use vmm_devices::memory::GuestMemory;

/// From guest-physical address 0.
pub struct Ram(pub Vec<u8>);

impl Ram {
    fn range(&self, gpa: u64, bytes: u64) -> Option<Range<usize>> {
        let end = gpa.checked_add(bytes)?;
        (end <= self.0.len() as u64).then_some(gpa as usize..end as usize)
    }
}

impl GuestMemory for Ram {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, gpa: u64, to: &mut [u8]) -> Option<()> {
        to.copy_from_slice(&self.0[self.range(gpa, to.len() as u64)?]);
        Some(())
    }

    fn write(&mut self, gpa: u64, from: &[u8]) -> Option<()> {
        let range = self.range(gpa, from.len() as u64)?;
        self.0[range].copy_from_slice(from);
        Some(())
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()> {
        let (from, to) = (self.range(from, bytes)?, self.range(to, bytes)?);
        self.0.copy_within(from, to.start);
        Some(())
    }

    fn zero(&mut self, gpa: u64, bytes: u64) -> Option<()> {
        let range = self.range(gpa, bytes)?;
        self.0[range].fill(0);
        Some(())
    }
}
