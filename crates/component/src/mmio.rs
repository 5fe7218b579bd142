// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device registers: volatile accesses, checked against the region's size.

use core::ptr::NonNull;

/// Device registers that are mapped into this part. Made by the runtime only, from the start page's ranges or from
/// frames that it mapped itself; so the memory is there as long as the part lives.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    bytes: usize,
    physical: u64,
}

/// A width in which registers are accessed.
pub trait Word: Copy + sealed::Sealed {}
mod sealed {
    pub trait Sealed {}
}
macro_rules! words {
    ($($t:ty)*) => { $(impl sealed::Sealed for $t {} impl Word for $t {})* };
}
words!(u8 u16 u32 u64);

impl Region {
    /// `bytes` of registers at virtual address `address`.
    ///
    /// # Safety
    /// They are mapped as long as the part lives, and belong to no Rust object.
    pub(crate) unsafe fn new(address: usize, bytes: usize, physical: u64) -> Option<Self> {
        Some(Self { base: NonNull::new(address as *mut u8)?, bytes, physical })
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Host-physical address of the first byte.
    pub fn physical(&self) -> u64 {
        self.physical
    }

    /// Reads the register at byte `offset`. `None` if it isn't wholly inside or isn't aligned to its size.
    #[inline]
    pub fn read<T: Word>(&self, offset: usize) -> Option<T> {
        // SAFETY: `register` gives an aligned address inside the mapping; any bit pattern is a `T`.
        Some(unsafe { self.register::<T>(offset)?.read_volatile() })
    }

    /// Writes the register at byte `offset`. `None` if it isn't wholly inside or isn't aligned to its size.
    #[inline]
    pub fn write<T: Word>(&self, offset: usize, value: T) -> Option<()> {
        // SAFETY: `register` gives an aligned address inside the mapping, which no Rust object uses.
        unsafe { self.register::<T>(offset)?.write_volatile(value) };
        Some(())
    }

    /// A part of the region, as a region.
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Region> {
        let end = offset.checked_add(bytes)?;
        if end > self.bytes {
            return None;
        }
        // SAFETY: inside this region, which is mapped as long as the part lives.
        unsafe { Region::new(self.base.as_ptr() as usize + offset, bytes, self.physical + offset as u64) }
    }

    fn register<T: Word>(&self, offset: usize) -> Option<*mut T> {
        let size = size_of::<T>();
        if !offset.is_multiple_of(size) || offset.checked_add(size)? > self.bytes {
            return None;
        }
        Some(self.base.as_ptr().wrapping_add(offset).cast())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_checked() {
        let mut memory = [0u64; 2];
        // SAFETY: the array outlives the region and isn't used while it lives.
        let region = unsafe { Region::new(memory.as_mut_ptr() as usize, 16, 0xfed0_0000) }.unwrap();
        assert_eq!(region.write(4, 0x1122_3344u32), Some(()));
        assert_eq!(region.read::<u64>(0), Some(0x1122_3344_0000_0000));
        assert_eq!(region.read::<u8>(7), Some(0x11));
        assert_eq!(region.read::<u32>(2), None, "unaligned");
        assert_eq!(region.read::<u64>(16), None);
        assert_eq!(region.read::<u8>(usize::MAX), None);
        let part = region.part(4, 4).unwrap();
        assert_eq!((part.read::<u32>(0), part.physical()), (Some(0x1122_3344), 0xfed0_0004));
        assert_eq!(part.read::<u64>(0), None);
        assert!(region.part(8, 9).is_none());
    }
}
