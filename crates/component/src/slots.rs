// SPDX-License-Identifier: MIT OR Apache-2.0
//! Empty slots of the part's own CNode: who takes one, and gives it back.

/// Most slots that are managed; more of a range stay unused.
pub const MAX: usize = 1024;

/// The free ones of a run of slots.
#[derive(Debug)]
pub struct Slots {
    first: u64,
    count: usize,
    used: [u64; MAX / 64],
}

impl Slots {
    /// `count` slots from capability address `first` on, all empty.
    pub const fn new(first: u64, count: usize) -> Self {
        Self { first, count: if count < MAX { count } else { MAX }, used: [0; MAX / 64] }
    }

    /// Takes one; its capability address.
    pub fn take(&mut self) -> Option<u64> {
        self.take_run(1)
    }

    /// Takes `n` that follow each other; the address of the first.
    pub fn take_run(&mut self, n: usize) -> Option<u64> {
        if n == 0 || n > self.count {
            return None;
        }
        let mut free = 0;
        for at in 0..self.count {
            free = if self.is_used(at) { 0 } else { free + 1 };
            if free == n {
                let start = at + 1 - n;
                (start..=at).for_each(|i| self.used[i / 64] |= 1 << (i % 64));
                return Some(self.first + start as u64);
            }
        }
        None
    }

    /// One more than the place of the last that is taken.
    pub fn end(&self) -> usize {
        (0..self.count).rev().find(|at| self.is_used(*at)).map_or(0, |at| at + 1)
    }

    /// Takes the first `n`, which weren't all given back in the life before this one.
    pub fn take_first(&mut self, n: usize) {
        (0..n.min(self.count)).for_each(|at| self.used[at / 64] |= 1 << (at % 64));
    }

    /// Whether an address is one of these, and taken.
    pub fn is_taken(&self, address: u64) -> bool {
        let at = address.checked_sub(self.first).filter(|at| *at < self.count as u64);
        at.is_some_and(|at| self.is_used(at as usize))
    }

    /// Gives one back, which must be empty. An address that is none of these changes nothing.
    pub fn give_back(&mut self, address: u64) {
        let Some(at) = address.checked_sub(self.first).filter(|at| *at < self.count as u64) else { return };
        self.used[at as usize / 64] &= !(1 << (at % 64));
    }

    fn is_used(&self, at: usize) -> bool {
        self.used[at / 64] & 1 << (at % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_had_once_and_again_after_it_was_given_back() {
        let mut slots = Slots::new(100, 70);
        let all: Vec<_> = core::iter::from_fn(|| slots.take()).collect();
        assert_eq!(all, (100..170).collect::<Vec<_>>());
        slots.give_back(163);
        slots.give_back(165);
        slots.give_back(164);
        slots.give_back(99);
        slots.give_back(170);
        assert_eq!(slots.take_run(4), None);
        assert_eq!(slots.take_run(3), Some(163));
        assert_eq!(slots.take(), None);
        assert_eq!(slots.end(), 70);
        slots.give_back(169);
        slots.give_back(168);
        assert_eq!((slots.end(), slots.is_taken(167), slots.is_taken(168)), (68, true, false));
        let mut next = Slots::new(100, 70);
        next.take_first(slots.end());
        assert_eq!((next.take(), next.is_taken(99), next.is_taken(170)), (Some(168), false, false));
        assert_eq!(Slots::new(5, MAX + 9).take_run(MAX + 1), None);
        assert_eq!(Slots::new(5, 0).take(), None);
    }
}
