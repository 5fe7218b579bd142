// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which physical memory is whose at boot: a list of ranges with holes taken out, and pieces cut from it.

use heapless::Vec;

use crate::arch;

/// A range of physical addresses, `end` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte behind.
    pub end: u64,
}

/// Disjoint ranges, ascending.
#[derive(Default)]
pub struct Ranges {
    list: Vec<Range, 96>,
}

impl Ranges {
    /// None.
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds a range behind all others; what it shares with the last one counts once.
    pub fn push(&mut self, start: u64, end: u64) {
        let start = self.list.last().map_or(start, |l| start.max(l.end));
        if start < end {
            match self.list.last_mut() {
                Some(l) if l.end == start => l.end = end,
                // Too many pieces: this memory stays unused.
                _ => drop(self.list.push(Range { start, end })),
            }
        }
    }

    /// Takes a range out.
    pub fn remove(&mut self, start: u64, end: u64) {
        let mut i = 0;
        while i < self.list.len() {
            let r = self.list[i];
            if r.end <= start || r.start >= end {
                i += 1;
                continue;
            }
            self.list.remove(i);
            if end < r.end {
                let _ = self.list.insert(i, Range { start: end, end: r.end });
            }
            if r.start < start {
                let _ = self.list.insert(i, Range { start: r.start, end: start });
                i += 1;
            }
        }
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.list.iter().copied()
    }

    /// Cuts zeroed memory from the highest end below 4 GiB.
    pub fn alloc(&mut self, bytes: u64, align: u64) -> Option<u64> {
        let bytes = bytes.next_multiple_of(16);
        let start = self.list.iter().rev().find_map(|r| {
            let end = r.end.min(1 << 32);
            let start = end.checked_sub(bytes)? & !(align - 1);
            (start >= r.start).then_some(start)
        })?;
        self.remove(start, start + bytes);
        arch::clear_memory(start, bytes);
        Some(start)
    }

    /// The ranges as naturally aligned powers of two of at least 16 bytes, at most 2^47: address, log2 of the size.
    pub fn chunks(&self) -> impl Iterator<Item = (u64, u8)> + '_ {
        self.iter().flat_map(|r| {
            let mut at = r.start.next_multiple_of(16);
            core::iter::from_fn(move || {
                let left = r.end.checked_sub(at).filter(|&l| l >= 16)?;
                let bits = at.trailing_zeros().min(63 - left.leading_zeros()).min(47) as u8;
                let chunk = (at, bits);
                at += 1 << bits;
                Some(chunk)
            })
        })
    }
}
