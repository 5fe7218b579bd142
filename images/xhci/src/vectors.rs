// SPDX-License-Identifier: MIT OR Apache-2.0
//! A block of the CPU's vectors, and which of them came how often since it was looked last.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use guest_runtime::{irq, time};

/// Nanoseconds in which a message that must not come would have come.
const SETTLE: u64 = 5_000_000;

/// Vectors that follow each other.
pub struct Vectors {
    first: u8,
    seen: Vec<u64>,
}

impl Vectors {
    /// Takes `count` vectors; the first is a multiple of `count`, as MSI wants it of a power of two.
    pub fn take(count: usize) -> Result<Self, &'static str> {
        let mut first = irq::register(|_| ()).ok_or("there is no free vector")?;
        while !usize::from(first).is_multiple_of(count) {
            first = irq::register(|_| ()).ok_or("there is no free vector")?;
        }
        for _ in 1..count {
            irq::register(|_| ()).ok_or("there is no free vector")?;
        }
        Ok(Self { first, seen: alloc::vec![0; count] })
    }

    /// The vector with this number.
    pub fn at(&self, number: usize) -> u8 {
        self.first + number as u8
    }

    /// How often vector `number` came since it was looked last.
    fn fresh(&self, number: usize) -> u64 {
        irq::count(self.at(number)) - self.seen[number]
    }

    /// Waits, without a deadline, until each of `numbers` has come; then none of them may have come twice, nor any other.
    pub fn expect(&mut self, numbers: &[usize]) -> Result<(), String> {
        irq::with_enabled(|| while numbers.iter().any(|&number| self.fresh(number) == 0) {});
        self.settle(numbers)
    }

    /// None may come.
    pub fn expect_none(&mut self) -> Result<(), String> {
        let until = time::now() + SETTLE;
        irq::with_enabled(|| while time::now() < until {});
        self.settle(&[])
    }

    /// Lets come what is pending, and counts from there.
    pub fn forget(&mut self) {
        let until = time::now() + SETTLE;
        irq::with_enabled(|| while time::now() < until {});
        (0..self.seen.len()).for_each(|number| self.seen[number] = irq::count(self.at(number)));
    }

    fn settle(&mut self, numbers: &[usize]) -> Result<(), String> {
        for number in 0..self.seen.len() {
            let (fresh, wanted) = (self.fresh(number), u64::from(numbers.contains(&number)));
            if fresh != wanted {
                return Err(format!("vector {number} came {fresh} times, not {wanted}"));
            }
        }
        (0..self.seen.len()).for_each(|number| self.seen[number] = irq::count(self.at(number)));
        Ok(())
    }
}
