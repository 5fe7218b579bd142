// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses at which a device's DMA doesn't reach its guest's RAM, whatever the I/O page tables say or because of them.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// What is done with memory that firmware reserves for a device's DMA (RMRR; Intel VT-d, section 8.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// The device is given to nobody.
    #[default]
    Refuse,
    /// The device goes on reaching it, at the same addresses.
    Map,
    /// Nothing: the device loses it.
    Accept,
}

impl Policy {
    /// Its word in a description.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Map => "map",
            Self::Accept => "accept",
        }
    }
}

/// Why a device doesn't reach RAM at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A write there is an interrupt message, which never asks the I/O page tables (Intel VT-d, section 3.14).
    Messages,
    /// Memory of firmware's lies there.
    Firmware,
    /// Registers of a device that it reaches without the remapping unit.
    Registers,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages => "interrupt messages",
            Self::Firmware => "firmware's memory",
            Self::Registers => "registers of a device in its isolation group",
        })
    }
}

/// A range of such addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First byte.
    pub first: u64,
    /// Last byte.
    pub last: u64,
    /// Why.
    pub kind: Kind,
}

/// Where messages go: no page table is asked there.
pub const MESSAGES: Range = Range { first: 0xfee0_0000, last: 0xfeef_ffff, kind: Kind::Messages };

/// Ranges of one device that are told apart.
pub const MAX_RANGES: usize = 8;

/// A device's ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges(Vec<Range, MAX_RANGES>);

impl Default for Ranges {
    /// What every device has.
    fn default() -> Self {
        Self([MESSAGES].into_iter().collect())
    }
}

impl Ranges {
    /// Adds one. Where there is no room it is joined with the last, and so is all that lies between: more is reserved
    /// than need be, never less.
    pub fn add(&mut self, range: Range) {
        if self.0.push(range).is_err()
            && let Some(last) = self.0.last_mut()
        {
            last.first = last.first.min(range.first);
            last.last = last.last.max(range.last);
        }
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Range> {
        self.0.iter()
    }

    /// The first that lies in a guest's RAM, which has `ram` bytes from address 0.
    pub fn conflict(&self, ram: u64) -> Option<Range> {
        self.0.iter().copied().find(|range| range.first < ram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> Range {
        Range { first, last, kind: Kind::Registers }
    }

    #[test]
    fn ram_is_kept_out_of_what_is_reserved() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.conflict(3 << 30), None, "the largest guest lies below the messages");
        assert_eq!(ranges.conflict(1 << 32), Some(MESSAGES));
        ranges.add(range(0x8000_0000, 0x8000_0fff));
        assert_eq!(ranges.conflict(0x8000_0000), None);
        assert_eq!(ranges.conflict(0x8000_0001), Some(range(0x8000_0000, 0x8000_0fff)));
        // One that begins below RAM and one that lies in it.
        assert!(ranges.conflict(0x8000_0800).is_some() && ranges.conflict(3 << 30).is_some());
    }

    #[test]
    fn whatever_is_added_is_reserved() {
        let mut ranges = Ranges::default();
        let all: Vec<_, 40> = (0..40).map(|n| range(n << 24, (n << 24) + 0xfff)).rev().collect();
        all.iter().for_each(|range| ranges.add(*range));
        for wanted in all.iter().chain([&MESSAGES]) {
            let covers = |range: &&Range| range.first <= wanted.first && wanted.last <= range.last;
            assert!(ranges.iter().any(|range| covers(&range)), "{wanted:x?}");
        }
        assert_eq!(ranges.iter().count(), MAX_RANGES);
    }
}
