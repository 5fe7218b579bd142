// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's logic on the host: random sequences with the invariants checked after each step, and sequences that once
//! broke it.

mod derivation;
mod halves;
mod invariants;
mod machine;
mod random;
mod scheduling;
mod sequences;
mod snapshot;
mod world;

/// xorshift64*: the same sequence on every machine.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
}
