// SPDX-License-Identifier: MIT OR Apache-2.0
//! Empty slots of the root task's CNode.

use alloc::vec::Vec;
use core::ops::Range;

/// Who has which slot is the taker's business; here is only what is free.
#[derive(Debug)]
pub struct Slots {
    /// Never taken so far.
    fresh: Range<usize>,
    /// Given back.
    free: Vec<usize>,
}

impl Slots {
    /// All of `empty`.
    pub const fn new(empty: Range<usize>) -> Self {
        Self { fresh: empty, free: Vec::new() }
    }

    /// Takes one.
    pub fn take(&mut self) -> Option<usize> {
        self.free.pop().or_else(|| self.fresh.next())
    }

    /// Takes `n` that follow each other; the first.
    pub fn take_run(&mut self, n: usize) -> Option<usize> {
        let first = self.fresh.start;
        if n > self.fresh.len() {
            return None;
        }
        self.fresh.start += n;
        Some(first)
    }

    /// Gives an empty one back.
    pub fn give_back(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// How many are free.
    pub fn left(&self) -> usize {
        self.fresh.len() + self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_had_once() {
        let mut slots = Slots::new(10..14);
        assert_eq!(slots.take(), Some(10));
        assert_eq!(slots.take_run(2), Some(11));
        assert_eq!(slots.take_run(2), None);
        slots.give_back(11);
        assert_eq!(slots.left(), 2);
        assert_eq!((slots.take(), slots.take(), slots.take()), (Some(11), Some(13), None));
    }
}
