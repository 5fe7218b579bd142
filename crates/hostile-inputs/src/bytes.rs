// SPDX-License-Identifier: MIT OR Apache-2.0
//! An input, taken piece by piece.

/// What is left of an input. At its end everything is zero.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// There is something left.
    pub fn more(&self) -> bool {
        !self.0.is_empty()
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next 16 bits.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next 32 bits.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A number whose width the next byte says: most that mean something are small.
    pub fn number(&mut self) -> u64 {
        match self.u8() % 4 {
            0 => self.u8().into(),
            1 => self.u16().into(),
            2 => self.u32().into(),
            _ => u64::from_le_bytes(self.array()),
        }
    }

    /// A width of an access, mostly one that there is.
    pub fn width(&mut self) -> u8 {
        [1, 2, 4, 8, 4, 2, 0, 255][usize::from(self.u8() % 8)]
    }

    /// The next `count` bytes, or those that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }
}
