// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device registers in memory.
//!
//! Every access is one plain MOV of the register's width, written as assembly: a compiler may fold a volatile load into an arithmetic
//! instruction, which the hypervisor doesn't emulate in trapped windows.

use core::arch::asm;

/// A range of device registers at a guest-physical address (mapped one to one).
#[derive(Clone, Copy, Debug)]
pub struct Mmio {
    base: usize,
    bytes: usize,
}

macro_rules! accessors {
    ($read:ident, $write:ident, $int:ty, $load:literal, $store:literal, $class:ident, $name:literal) => {
        #[doc = concat!("Reads ", $name, " at a byte offset, which must be aligned.")]
        ///
        /// # Panics
        /// If the offset lies outside of the range or isn't aligned.
        #[inline(always)]
        pub fn $read(&self, offset: usize) -> $int {
            let address = self.check(offset, size_of::<$int>());
            let value: $int;
            // SAFETY: inside a range of device registers (`new`'s promise), which no Rust value overlaps.
            unsafe { asm!($load, out($class) value, in(reg) address, options(nostack, preserves_flags)) };
            value
        }

        #[doc = concat!("Writes ", $name, " at a byte offset, which must be aligned.")]
        ///
        /// # Panics
        /// If the offset lies outside of the range or isn't aligned.
        #[inline(always)]
        pub fn $write(&self, offset: usize, value: $int) {
            let address = self.check(offset, size_of::<$int>());
            // SAFETY: as for reading.
            unsafe { asm!($store, in(reg) address, in($class) value, options(nostack, preserves_flags)) };
        }
    };
}

impl Mmio {
    /// Registers at `base`, `bytes` long.
    ///
    /// # Safety
    /// The range must be device registers, and none through which a device could be made to break memory safety by an access alone.
    pub const unsafe fn new(base: u64, bytes: usize) -> Self {
        Self { base: base as usize, bytes }
    }

    /// The part from `offset` on, `bytes` long; `None` where it doesn't fit.
    pub fn part(&self, offset: usize, bytes: usize) -> Option<Self> {
        (offset.checked_add(bytes)? <= self.bytes).then_some(Self { base: self.base + offset, bytes })
    }

    /// The first guest-physical address.
    pub fn base(&self) -> u64 {
        self.base as u64
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline(always)]
    fn check(&self, offset: usize, width: usize) -> usize {
        assert!(offset < self.bytes && self.bytes - offset >= width, "register beyond its range");
        let address = self.base + offset;
        assert!(address.is_multiple_of(width), "register not aligned");
        address
    }

    accessors!(read8, write8, u8, "mov {0}, byte ptr [{1}]", "mov byte ptr [{0}], {1}", reg_byte, "a byte");
    accessors!(
        read16,
        write16,
        u16,
        "mov {0:x}, word ptr [{1}]",
        "mov word ptr [{0}], {1:x}",
        reg,
        "two bytes"
    );
    accessors!(
        read32,
        write32,
        u32,
        "mov {0:e}, dword ptr [{1}]",
        "mov dword ptr [{0}], {1:e}",
        reg,
        "four bytes"
    );
    accessors!(
        read64,
        write64,
        u64,
        "mov {0}, qword ptr [{1}]",
        "mov qword ptr [{0}], {1}",
        reg,
        "eight bytes"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_at_every_width() {
        let mut memory = [0u64; 4];
        // SAFETY: an array of this test, long enough, borrowed for as long.
        let registers = unsafe { Mmio::new(memory.as_mut_ptr() as u64, 32) };
        registers.write64(8, 0x1122_3344_5566_7788);
        assert_eq!(registers.read8(8), 0x88);
        assert_eq!(registers.read16(10), 0x5566);
        assert_eq!(registers.read32(12), 0x1122_3344);
        registers.write8(8, 1);
        registers.write16(10, 2);
        registers.write32(12, 3);
        assert_eq!(registers.part(8, 8).unwrap().read64(0), 0x0000_0003_0002_7701);
        assert!(registers.part(25, 8).is_none());
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn range_is_checked() {
        // SAFETY: nothing is accessed: the check comes first.
        unsafe { Mmio::new(0x1000, 8) }.read32(6);
    }
}
