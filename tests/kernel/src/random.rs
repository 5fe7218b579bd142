// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers that look random, the same ones for the same seed.

/// xorshift64, from a seed that isn't 0.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    /// One of `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.number() >> 11) % end
    }
    /// The same of an index.
    pub fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }
    /// One of the choices.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }
}
