// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which identifier a guest runs under, and when its translations are dropped (APM 15.16).
//!
//! Nothing is flushed when a nested table changes. The change is only counted, per root; a VCPU that finds the count of
//! its root moved takes an identifier at its next entry under which nothing is cached. Memory can be reused at once,
//! because a stale translation is only reachable by an entry under the old identifier, and there is none any more.
//!
//! The emulator models none of this, so a mistake here does not show there: it shows in `tlb_model_tests`.

use crate::asid::{Allocator, Assignment};
use crate::vmcb::tlb_control;

/// Roots can share a counter; that only costs a needless fresh identifier.
const COUNTERS: usize = 1 << COUNTER_BITS;
const COUNTER_BITS: u32 = 8;

/// The identifiers, and the counted changes to nested tables.
#[derive(Debug)]
pub struct Tlb {
    allocator: Allocator,
    changes: [u64; COUNTERS],
}

/// A VCPU's side of it. Zero-filled memory holds no identifier.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Tag {
    held: Assignment,
    root: u64,
    /// Of the changes under `root`, and how many of them are known.
    counter: usize,
    seen: u64,
}

impl Tag {
    /// No root is here.
    const NO_ROOT: u64 = u64::MAX;

    /// The VMM has changed what the guest's own translations depend on (`Field::is_translation`): they are dropped at the next entry.
    pub const fn drop_translations(&mut self) {
        self.root = Self::NO_ROOT;
    }
}

/// The counter of a root. Roots that are made alike lie at multiples of large powers of two from each other, so all bits count
/// (multiplication by 2^64 / golden ratio).
pub(crate) const fn counter(root: u64) -> usize {
    ((root >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - COUNTER_BITS)) as usize
}

impl Tlb {
    /// With `asids` identifiers, the host's included; `by_asid` says that one can be flushed alone.
    pub const fn new(asids: u32, by_asid: bool) -> Self {
        Self { allocator: Allocator::new(asids, by_asid), changes: [0; COUNTERS] }
    }

    /// The tables under `root` lost or changed an entry.
    pub fn changed(&mut self, root: u64) {
        self.changes[counter(root)] += 1;
    }

    /// True if a VCPU can run on `root` under what it holds.
    #[inline]
    pub fn is_current(&self, tag: &Tag, root: u64) -> bool {
        tag.root == root
            && tag.seen == self.changes[tag.counter % COUNTERS]
            && self.allocator.is_current(&tag.held)
    }

    /// Gives a VCPU an identifier for `root` under which nothing is cached, if VMRUN flushes what TLB_CONTROL says: identifier and
    /// TLB_CONTROL.
    #[cold]
    pub fn renew(&mut self, tag: &mut Tag, root: u64) -> (u32, u32) {
        let (held, flush) = self.allocator.renew(tag.held);
        let counter = counter(root);
        *tag = Tag { held, root, counter, seen: self.changes[counter] };
        (held.asid, flush.tlb_control())
    }

    /// VMRUN refused an entry with this TLB_CONTROL. Its VCPU never runs again, but a flush of everything was for all of them.
    #[cold]
    pub const fn refused(&mut self, tlb_control: u32) {
        if tlb_control == tlb_control::ALL {
            self.allocator.owe();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u64 = 0x1000;

    fn run(tlb: &mut Tlb, tag: &mut Tag, root: u64) -> Option<(u32, u32)> {
        if tlb.is_current(tag, root) { None } else { Some(tlb.renew(tag, root)) }
    }

    #[test]
    fn an_identifier_serves_until_its_tables_change() {
        let (mut tlb, mut tag) = (Tlb::new(16, false), Tag::default());
        assert_eq!(run(&mut tlb, &mut tag, ROOT), Some((1, tlb_control::ALL)), "what firmware left");
        assert_eq!(run(&mut tlb, &mut tag, ROOT), None);
        tlb.changed(0x2000);
        assert_eq!(run(&mut tlb, &mut tag, ROOT), None, "another root's change");
        tlb.changed(ROOT);
        assert_eq!(run(&mut tlb, &mut tag, ROOT), Some((2, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut tag, ROOT), None);
    }

    #[test]
    fn another_root_is_another_identifier() {
        let (mut tlb, mut tag) = (Tlb::new(16, false), Tag::default());
        run(&mut tlb, &mut tag, ROOT);
        assert_eq!(run(&mut tlb, &mut tag, 0x2000), Some((2, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut tag, ROOT), Some((3, tlb_control::NOTHING)));
    }

    #[test]
    fn roots_that_lie_alike_hardly_share_counters() {
        for step in [1 << 12, 1 << 16, 1 << 20, 1 << 21, 1 << 24, 1 << 30, 3 << 21] {
            let counters: std::collections::HashSet<_> =
                (0..16).map(|n| counter(0x1234_5000 + n * step)).collect();
            assert!(counters.len() >= 12, "{step:#x}: {} counters", counters.len());
        }
    }

    #[test]
    fn two_processors_of_one_root_see_the_change() {
        let (mut tlb, mut a, mut b) = (Tlb::new(16, false), Tag::default(), Tag::default());
        run(&mut tlb, &mut a, ROOT);
        run(&mut tlb, &mut b, ROOT);
        tlb.changed(ROOT);
        assert!(run(&mut tlb, &mut a, ROOT).is_some());
        assert!(run(&mut tlb, &mut b, ROOT).is_some());
        assert!(run(&mut tlb, &mut a, ROOT).is_none());
    }

    #[test]
    fn the_flush_comes_with_the_first_of_a_generation_and_all_others_renew() {
        let (mut tlb, mut a, mut b) = (Tlb::new(3, false), Tag::default(), Tag::default());
        run(&mut tlb, &mut a, ROOT);
        run(&mut tlb, &mut b, ROOT);
        tlb.changed(ROOT);
        assert_eq!(run(&mut tlb, &mut a, ROOT), Some((1, tlb_control::ALL)));
        assert_eq!(run(&mut tlb, &mut b, ROOT), Some((2, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut a, ROOT), None);
    }

    #[test]
    fn a_change_by_the_vmm_drops_the_translations_of_its_vcpu_once() {
        let (mut tlb, mut a, mut b) = (Tlb::new(3, true), Tag::default(), Tag::default());
        run(&mut tlb, &mut a, ROOT);
        run(&mut tlb, &mut b, ROOT);
        a.drop_translations();
        assert_eq!(run(&mut tlb, &mut a, ROOT), Some((1, tlb_control::THIS_ASID)));
        assert_eq!(run(&mut tlb, &mut a, ROOT), None);
        assert_eq!(run(&mut tlb, &mut b, ROOT), None);
    }
}
