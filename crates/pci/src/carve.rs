// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cutting BARs into frames, and frames out of device untypeds, whose watermark only moves forward.

use core::ops::Range;
use serde::{Deserialize, Serialize};

use heapless::Vec;

use crate::bar::Bar;

/// Bits of a small page.
pub const SMALL: u8 = 12;
/// Bits of a large page.
pub const LARGE: u8 = 21;
/// Runs that a BAR can come in: a part before what is withheld, that, and one after, large and small pages each.
pub const MAX_RUNS: usize = 6;

/// Frames of one size, contiguous in a BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Byte offset of the first in the BAR.
    pub offset: u64,
    /// Number of frames.
    pub count: u64,
    /// Frame size: [`SMALL`] or [`LARGE`].
    pub size_bits: u8,
    /// They may be mapped into the guest; otherwise accesses are forwarded.
    pub open: bool,
}

/// Bits of the pieces in which registers are kept from guests: pages. No device of the emulator has its MSI-X table in a
/// page with other registers; in larger pieces some have.
const GRANULE: u8 = if cfg!(feature = "coarse-granule") { 14 } else { SMALL };

/// Cuts a memory BAR into frames, the largest that fit. Pages that `withheld` (a byte range of the BAR) touches are kept
/// from the guest; so is a BAR smaller than a page, which may have neighbours there.
pub fn cut(bar: &Bar, withheld: Option<Range<u64>>) -> Vec<Run, MAX_RUNS> {
    cut_by(bar, withheld, GRANULE)
}

fn cut_by(bar: &Bar, withheld: Option<Range<u64>>, granule: u8) -> Vec<Run, MAX_RUNS> {
    let mut runs = Vec::new();
    let (small, granule) = (1u64 << SMALL, 1u64 << granule);
    if bar.size < small {
        // Room for one is always there.
        let _ = runs.push(Run { offset: 0, count: 1, size_bits: SMALL, open: false });
        return runs;
    }
    let withheld = withheld.unwrap_or(0..0);
    let first = (withheld.start & !(granule - 1)).min(bar.size);
    let last = if withheld.is_empty() { first } else { withheld.end.next_multiple_of(granule).min(bar.size) };
    for (start, end, open) in [(0, first, true), (first, last, false), (last, bar.size, true)] {
        let middle = start.next_multiple_of(1 << LARGE).min(end);
        // Large pages only where guests map: what is withheld is forwarded page by page.
        let high = if open { (end & !((1 << LARGE) - 1)).max(middle) } else { middle };
        let pieces = [(start, middle, SMALL), (middle, high, LARGE), (high, end, SMALL)];
        for (from, to, size_bits) in pieces {
            if to > from {
                let _ = runs.push(Run { offset: from, count: (to - from) >> size_bits, size_bits, open });
            }
        }
    }
    runs
}

/// A device untyped from which objects have been made up to `next`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    next: u64,
    end: u64,
}

impl Window {
    /// An untouched one; `None` if it wraps around.
    pub const fn new(address: u64, size_bits: u8) -> Option<Self> {
        if size_bits >= 63 {
            return None;
        }
        match address.checked_add(1 << size_bits) {
            Some(end) => Some(Self { next: address, end }),
            None => None,
        }
    }

    /// Whether an object at this place could still be made.
    pub const fn reaches(&self, address: u64, bytes: u64) -> bool {
        match address.checked_add(bytes) {
            Some(end) => address >= self.next && end <= self.end,
            None => false,
        }
    }

    /// Size bits of the object to be made next, so that after some of them one can be made at `target`. `None` if the
    /// watermark is there. The kernel aligns each object to its size, so none may be larger than its place is aligned.
    pub const fn filler(&self, target: u64) -> Option<u8> {
        if target <= self.next {
            return None;
        }
        let room = (target - self.next).ilog2();
        let aligned = self.next.trailing_zeros();
        Some(if room < aligned { room as u8 } else { aligned as u8 })
    }

    /// An object of this size was made.
    pub fn advance(&mut self, size_bits: u8) {
        self.next = self.next.saturating_add(1 << size_bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bar::Kind;
    use crate::testing::Random;

    fn bar(size: u64) -> Bar {
        Bar { index: 0, kind: Kind::Memory64, prefetchable: false, base: 1 << 40, size }
    }

    fn shape(bar: &Bar, withheld: Option<Range<u64>>) -> std::vec::Vec<(u64, u64, u8, bool)> {
        cut_by(bar, withheld, SMALL).iter().map(|r| (r.offset, r.count, r.size_bits, r.open)).collect()
    }

    #[test]
    fn coarse_pieces_take_their_neighbours_along() {
        let coarse = |bar: &Bar, withheld| {
            cut_by(bar, Some(withheld), 14)
                .iter()
                .map(|r| (r.offset, r.count, r.open))
                .collect::<std::vec::Vec<_>>()
        };
        assert_eq!(coarse(&bar(0x4000), 0x3000..0x3100), [(0, 4, false)], "all of qemu-xhci");
        assert_eq!(coarse(&bar(0x2000), 0x1000..0x1010), [(0, 2, false)], "the piece ends with the BAR");
        assert_eq!(
            coarse(&bar(0x1_0000), 0x5000..0x5040),
            [(0, 4, true), (0x4000, 4, false), (0x8000, 8, true)]
        );
    }

    #[test]
    fn the_table_s_page_is_withheld() {
        assert_eq!(shape(&bar(0x1000), Some(0..64)), [(0, 1, 12, false)]);
        assert_eq!(
            shape(&bar(0x4000), Some(0x2000..0x2410)),
            [(0, 2, 12, true), (0x2000, 1, 12, false), (0x3000, 1, 12, true)]
        );
        assert_eq!(shape(&bar(0x4000), Some(0xff0..0x1010)), [(0, 2, 12, false), (0x2000, 2, 12, true)]);
        assert_eq!(shape(&bar(0x10_0000), None), [(0, 256, 12, true)]);
        assert_eq!(shape(&bar(256), None), [(0, 1, 12, false)]);
        assert_eq!(
            shape(&bar(0x80_0000), Some(0x30_0000..0x30_0040)),
            [
                (0, 1, 21, true),
                (0x20_0000, 256, 12, true),
                (0x30_0000, 1, 12, false),
                (0x30_1000, 255, 12, true),
                (0x40_0000, 2, 21, true)
            ]
        );
    }

    #[test]
    fn every_byte_is_in_one_run_and_the_table_in_closed_ones() {
        let mut random = Random(5);
        for _ in 0..5000 {
            let bar = bar(1 << (random.next() % 28 + 4));
            let start = (random.next() % bar.size) & !7;
            let end = (start + random.next() % 0x8000).min(bar.size);
            let runs = cut_by(&bar, Some(start..end), SMALL);
            let mut at = 0;
            for run in &runs {
                assert_eq!(run.offset, at);
                assert!(run.count > 0 && run.offset % (1 << run.size_bits) == 0);
                at += run.count << run.size_bits;
                assert!(!run.open || run.offset >= end || at <= start || start == end);
                if !run.open && bar.size >= 4096 {
                    assert!(run.offset + 4096 > start && at - 4096 < end, "no more is withheld than must be");
                }
            }
            assert_eq!(at, bar.size.max(4096));
        }
    }

    #[test]
    fn fillers_lead_to_the_target_and_are_aligned() {
        let mut random = Random(9);
        for _ in 0..2000 {
            let size_bits = (random.next() % 18 + 13) as u8;
            let address = (random.next() % 64) << size_bits;
            let mut window = Window::new(address, size_bits).unwrap();
            let mut at = address;
            let mut targets: std::vec::Vec<u64> =
                (0..5).map(|_| address + ((random.next() % (1 << size_bits)) & !0xfff)).collect();
            targets.sort();
            targets.dedup();
            for target in targets {
                assert!(window.reaches(target, 4096));
                let mut steps = 0;
                while let Some(bits) = window.filler(target) {
                    assert!(bits >= SMALL && at.is_multiple_of(1 << bits));
                    at += 1 << bits;
                    window.advance(bits);
                    steps += 1;
                }
                assert!(at == target && steps <= 2 * 36);
                window.advance(SMALL);
                at += 4096;
                assert!(!window.reaches(target, 4096), "the watermark only moves forward");
            }
            assert!(!window.reaches(address + (1 << size_bits), 1));
        }
    }

    #[test]
    fn windows_that_wrap_are_none() {
        assert_eq!(Window::new(!0xfff, 12), None);
        assert_eq!(Window::new(0, 64), None);
        assert!(!Window::new(0, 12).unwrap().reaches(u64::MAX, 2));
    }
}
