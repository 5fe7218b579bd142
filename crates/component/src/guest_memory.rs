// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest RAM in its VMM's address space, by guest-physical address.

use core::arch::asm;

/// Guest RAM, mapped contiguously. Every access is checked; one that isn't wholly inside does nothing and gives `None`.
///
/// The guest and its devices write at the same time: what was read twice may differ.
#[derive(Debug)]
pub struct GuestMemory {
    base: usize,
    bytes: u64,
}

impl GuestMemory {
    /// `bytes` of guest RAM at virtual address `base`.
    ///
    /// # Safety
    /// They are mapped read-write as long as the part lives, and belong to no Rust object.
    pub(crate) unsafe fn new(base: usize, bytes: u64) -> Self {
        Self { base, bytes }
    }

    /// Bytes of RAM.
    pub fn size(&self) -> u64 {
        self.bytes
    }

    /// Copies RAM at `gpa` to `to`.
    #[must_use]
    pub fn read(&self, gpa: u64, to: &mut [u8]) -> Option<()> {
        let from = self.place(gpa, to.len() as u64)?;
        // SAFETY: `place` checked the source; the destination is a slice; RAM is no Rust object, so they are apart.
        unsafe { copy(from, to.as_mut_ptr() as usize, to.len()) };
        Some(())
    }

    /// The little-endian 64-bit word at `gpa`, whatever its alignment.
    #[inline]
    #[must_use]
    pub fn read_u64(&self, gpa: u64) -> Option<u64> {
        let from = self.place(gpa, 8)?;
        let value: u64;
        // SAFETY: `place` checked the source. In assembly, as in `copy`.
        unsafe {
            asm!("mov {}, [{}]", out(reg) value, in(reg) from, options(nostack, readonly, preserves_flags))
        };
        Some(value)
    }

    /// Copies `from` to RAM at `gpa`.
    #[must_use]
    pub fn write(&mut self, gpa: u64, from: &[u8]) -> Option<()> {
        let to = self.place(gpa, from.len() as u64)?;
        // SAFETY: `place` checked the destination; the source is a slice; RAM is no Rust object, so they are apart.
        unsafe { copy(from.as_ptr() as usize, to, from.len()) };
        Some(())
    }

    /// Copies `bytes` bytes within RAM, upwards: the ranges must not overlap, or the destination lies below the source.
    #[must_use]
    pub fn copy(&mut self, from: u64, to: u64, bytes: u64) -> Option<()> {
        let (from, to) = (self.place(from, bytes)?, self.place(to, bytes)?);
        // SAFETY: `place` checked both; an overlap gives other bytes, not an access elsewhere.
        unsafe { copy(from, to, bytes as usize) };
        Some(())
    }

    /// Writes zeros.
    #[must_use]
    pub fn zero(&mut self, gpa: u64, bytes: u64) -> Option<()> {
        let at = self.place(gpa, bytes)?;
        // SAFETY: `place` checked the range, and the flag is clear at every function's entry (System V ABI).
        unsafe {
            asm!(
                "rep stosq", "mov ecx, edx", "rep stosb",
                inout("rcx") bytes / 8 => _, inout("rdi") at => _, in("rax") 0u64, in("edx") (bytes % 8) as u32,
                options(nostack, preserves_flags),
            );
        }
        Some(())
    }

    fn place(&self, gpa: u64, bytes: u64) -> Option<usize> {
        let end = gpa.checked_add(bytes)?;
        (end <= self.bytes).then(|| self.base + gpa as usize)
    }
}

/// Copies upwards. In assembly, since others may write the memory meanwhile: the compiler must make nothing of it.
///
/// # Safety
/// `bytes` bytes can be read at `from` and written at `to`.
unsafe fn copy(from: usize, to: usize, bytes: usize) {
    // SAFETY: the caller's promise; the direction flag is clear at every function's entry (System V ABI).
    unsafe {
        asm!(
            "rep movsq", "mov ecx, edx", "rep movsb",
            inout("rcx") bytes / 8 => _, inout("rsi") from => _, inout("rdi") to => _, in("edx") (bytes % 8) as u32,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_checked_and_exact() {
        let mut backing = vec![0xaau8; 64];
        // SAFETY: the vector outlives the memory and isn't used while it lives.
        let mut memory = unsafe { GuestMemory::new(backing.as_mut_ptr() as usize, 48) };
        assert_eq!(memory.write(3, b"thirteen byte"), Some(()));
        let mut back = [0; 13];
        assert_eq!(memory.read(3, &mut back), Some(()));
        assert_eq!(&back, b"thirteen byte");
        assert_eq!(memory.read_u64(3), Some(u64::from_le_bytes(*b"thirteen")));
        assert_eq!((memory.read_u64(41), memory.read_u64(u64::MAX)), (None, None));
        assert_eq!(memory.copy(3, 30, 13), Some(()));
        assert_eq!(memory.zero(3, 11), Some(()));
        assert_eq!(memory.write(48, &[1]), None);
        assert_eq!(memory.zero(40, 9), None);
        assert_eq!(memory.copy(0, 40, 9), None);
        assert_eq!(memory.read(u64::MAX, &mut back), None);
        assert_eq!(memory.write(48, &[]), Some(()));
        assert_eq!(&backing[..3], [0xaa; 3]);
        assert_eq!(&backing[3..14], [0; 11]);
        assert_eq!(&backing[14..16], b"te");
        assert_eq!(&backing[30..43], b"thirteen byte");
        assert_eq!(&backing[43..], [0xaa; 21]);
    }
}
