// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest RAM, as the models see it: a checked range of guest-physical addresses from 0.

/// Guest RAM from guest-physical address 0. Every access is checked; one that doesn't fit wholly does nothing and gives `None`.
///
/// The guest and its devices write at the same time: what was read twice may differ.
pub trait GuestMemory {
    /// Bytes of RAM.
    fn size(&self) -> u64;
    /// Copies RAM at `gpa` to `to`.
    #[must_use]
    fn read(&self, gpa: u64, to: &mut [u8]) -> Option<()>;
    /// Copies `from` to RAM at `gpa`.
    #[must_use]
    fn write(&mut self, gpa: u64, from: &[u8]) -> Option<()>;
    /// Copies `bytes` bytes within RAM; the ranges don't overlap.
    #[must_use]
    fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()>;
    /// Writes zeros.
    #[must_use]
    fn zero(&mut self, gpa: u64, bytes: u64) -> Option<()>;
    /// Reads a little-endian 32-bit word; any alignment.
    #[must_use]
    fn read_u32(&self, gpa: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(gpa, &mut bytes)?;
        Some(u32::from_le_bytes(bytes))
    }
    /// Reads a little-endian 64-bit word; any alignment.
    #[must_use]
    fn read_u64(&self, gpa: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(gpa, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
pub mod tests {
    //! RAM for host tests.
    use super::GuestMemory;
    use std::vec::Vec;

    /// Guest RAM as a vector.
    pub struct Ram(pub Vec<u8>);

    impl Ram {
        /// `bytes` bytes of zeros.
        pub fn new(bytes: usize) -> Self {
            Self(std::vec![0; bytes])
        }
        fn range(&self, gpa: u64, bytes: u64) -> Option<core::ops::Range<usize>> {
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
            let from = self.range(from, bytes)?;
            let to = self.range(to, bytes)?;
            self.0.copy_within(from, to.start);
            Some(())
        }
        fn zero(&mut self, gpa: u64, bytes: u64) -> Option<()> {
            let range = self.range(gpa, bytes)?;
            self.0[range].fill(0);
            Some(())
        }
    }

    #[test]
    fn accesses_outside_do_nothing() {
        let mut ram = Ram::new(16);
        assert_eq!(ram.write(12, &[1; 5]), None);
        assert_eq!(ram.write(u64::MAX, &[1; 2]), None);
        assert_eq!(ram.read_u64(9), None);
        assert_eq!(ram.read_u32(12), Some(0));
    }
}
