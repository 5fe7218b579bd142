// SPDX-License-Identifier: MIT OR Apache-2.0
//! Empty slots of the root task's CNode.

use alloc::vec::Vec;
use core::ops::Range;

/// Who has which slot is the taker's business; here is only what is free.
#[derive(Debug)]
pub struct Slots {
    /// Runs of free slots: in ascending order, none empty, no two of them adjacent.
    free: Vec<Range<usize>>,
}

impl Slots {
    /// All of `empty`.
    pub fn new(empty: Range<usize>) -> Self {
        Self { free: if empty.is_empty() { Vec::new() } else { [empty].into() } }
    }

    /// Takes one.
    pub fn take(&mut self) -> Option<usize> {
        self.take_run(1)
    }

    /// Takes `n` that follow each other, the first where there are so many; the first of them.
    pub fn take_run(&mut self, n: usize) -> Option<usize> {
        let at = self.free.iter().position(|run| run.len() >= n)?;
        let run = &mut self.free[at];
        let first = run.start;
        run.start += n;
        if run.start == run.end {
            self.free.remove(at);
        }
        Some(first)
    }

    /// Gives an empty one back.
    pub fn give_back(&mut self, slot: usize) {
        let at = self.free.partition_point(|run| run.end <= slot);
        let joins_before = at > 0 && self.free[at - 1].end == slot;
        let joins_after = self.free.get(at).is_some_and(|run| run.start == slot + 1);
        match (joins_before, joins_after) {
            (true, true) => {
                let after = self.free.remove(at);
                self.free[at - 1].end = after.end;
            }
            (true, false) => self.free[at - 1].end += 1,
            (false, true) => self.free[at].start = slot,
            (false, false) => self.free.insert(at, slot..slot + 1),
        }
    }

    /// How many are free.
    pub fn left(&self) -> usize {
        self.free.iter().map(Range::len).sum()
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
        assert_eq!(Slots::new(5..5).take(), None);
    }

    #[test]
    fn runs_that_come_back_piece_by_piece_are_runs_again() {
        let mut slots = Slots::new(0..64);
        let (a, b, c) = (slots.take_run(20), slots.take_run(20), slots.take_run(24));
        assert_eq!((a, b, c, slots.left()), (Some(0), Some(20), Some(40), 0));
        // Every second one, then the others: each joins its neighbours on both sides.
        for slot in (0..40).step_by(2).chain((0..40).skip(1).step_by(2)) {
            slots.give_back(slot);
        }
        assert_eq!((slots.free.len(), slots.free[0].clone()), (1, 0..40));
        (40..64).rev().for_each(|slot| slots.give_back(slot));
        assert_eq!((slots.take_run(64), slots.left()), (Some(0), 0));
    }
}
