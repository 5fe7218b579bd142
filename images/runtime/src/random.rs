// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers at random, the same ones in each run.

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    /// The sequence of this number.
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1 << 63)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.word() >> 16) as usize % limit
    }

    /// A value that means something to registers often.
    pub fn value(&mut self) -> u32 {
        match self.below(4) {
            0 => {
                [0, 1, 0xfee0_0000, 0xfee0_0010, 0xc000_0000, u32::MAX, 0x10_0000, 0x8000_0000][self.below(8)]
            }
            1 => 1 << self.below(32),
            _ => self.word() as u32,
        }
    }
}
