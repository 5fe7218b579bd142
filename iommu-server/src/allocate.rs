// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs of numbers: remapping entries and user interrupt numbers.

/// Most numbers that are managed.
pub const MAX: usize = 1024;

/// Numbers from `first` on, free or taken.
#[derive(Debug, Clone)]
pub struct Numbers {
    first: u16,
    count: u16,
    taken: [u64; MAX / 64],
}

impl Numbers {
    /// `count` numbers from `first` on, at most [`MAX`], all free.
    pub const fn new(first: u16, count: u16) -> Self {
        let count = if count as usize > MAX { MAX as u16 } else { count };
        Self { first, count, taken: [0; MAX / 64] }
    }

    /// Takes `n` that follow each other; the first plus `offset` is a multiple of the next power of two of `n`.
    pub fn take(&mut self, n: u16, offset: u16) -> Option<u16> {
        let align = n.checked_next_power_of_two().filter(|_| n > 0)?;
        let mut start = 0;
        while start + n <= self.count {
            let aligned = (self.first + start).wrapping_add(offset).is_multiple_of(align);
            if aligned && (start..start + n).all(|at| !self.is_taken(at)) {
                (start..start + n).for_each(|at| self.set(at, true));
                return Some(self.first + start);
            }
            start += 1;
        }
        None
    }

    /// Takes these `n` from `number` on. False, and nothing is taken, if one of them isn't there or is taken.
    pub fn take_these(&mut self, number: u16, n: u16) -> bool {
        let Some(start) = self.index(number).filter(|start| n <= self.count - start) else { return false };
        let free = (start..start + n).all(|at| !self.is_taken(at));
        if free {
            (start..start + n).for_each(|at| self.set(at, true));
        }
        free
    }

    /// Marks a number as taken, for good or until it is given back.
    pub fn mark(&mut self, number: u16) {
        if let Some(at) = self.index(number) {
            self.set(at, true);
        }
    }

    /// Gives `n` back from `number` on.
    pub fn give_back(&mut self, number: u16, n: u16) {
        for number in number..number.saturating_add(n) {
            if let Some(at) = self.index(number) {
                self.set(at, false);
            }
        }
    }

    /// How many are free.
    pub fn left(&self) -> u16 {
        self.count - self.taken.iter().map(|word| word.count_ones() as u16).sum::<u16>()
    }

    fn index(&self, number: u16) -> Option<u16> {
        number.checked_sub(self.first).filter(|at| *at < self.count)
    }

    fn is_taken(&self, at: u16) -> bool {
        self.taken[usize::from(at) / 64] & 1 << (at % 64) != 0
    }

    fn set(&mut self, at: u16, taken: bool) {
        let bit = 1 << (at % 64);
        let word = &mut self.taken[usize::from(at) / 64];
        *word = if taken { *word | bit } else { *word & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_aligned_and_disjoint() {
        let mut numbers = Numbers::new(16, 92);
        assert_eq!(numbers.take(1, 0), Some(16));
        assert_eq!(numbers.take(4, 0), Some(20));
        assert_eq!(numbers.take(3, 0), Some(24));
        assert_eq!(numbers.take(1, 0), Some(17));
        assert_eq!(numbers.take(64, 0), None);
        assert_eq!(numbers.take(32, 0), Some(32));
        assert_eq!(numbers.left(), 92 - 41);
        numbers.give_back(20, 4);
        assert_eq!(numbers.left(), 92 - 37);
        assert_eq!(numbers.take(4, 0), Some(20));
        assert_eq!(numbers.take(0, 0), None);
        assert_eq!(numbers.take(u16::MAX, 0), None);
    }

    #[test]
    fn the_offset_moves_the_alignment() {
        // CPU vector = number + 0x30; aligned are the vectors.
        let mut numbers = Numbers::new(16, 92);
        assert_eq!(numbers.take(8, 0x30), Some(16));
        assert_eq!(numbers.take(32, 0x30), Some(48));
        assert_eq!(Numbers::new(16, 92).take(4, 3), Some(17));
    }

    #[test]
    fn certain_numbers_are_had_once() {
        let mut numbers = Numbers::new(16, 92);
        assert!(numbers.take_these(106, 2) && numbers.take_these(16, 1));
        for (number, n) in [(107, 1), (15, 1), (105, 2), (100, 9), (u16::MAX, 1), (16, u16::MAX)] {
            assert!(!numbers.take_these(number, n), "{number} {n}");
        }
        assert_eq!(numbers.left(), 89);
    }

    #[test]
    fn marks_stay() {
        let mut numbers = Numbers::new(0, 8);
        numbers.mark(0);
        numbers.mark(5);
        numbers.mark(800);
        assert_eq!(numbers.take(4, 0), None);
        assert_eq!(numbers.take(2, 0), Some(2));
        assert_eq!(numbers.take(2, 0), Some(6));
        assert_eq!(Numbers::new(0, u16::MAX).take(1024, 0), Some(0));
    }
}
