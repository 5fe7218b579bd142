// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which identifier a guest runs under, and when its translations are dropped (APM 15.16).
//!
//! Nothing is flushed when a nested table changes. The change is only counted, per root; a VCPU that finds the count of
//! its root moved takes a fresh identifier at its next entry, under which nothing is cached. Memory can be reused at once,
//! because a stale translation is only reachable by an entry under the old identifier, and there is none any more.
//!
//! The emulator models none of this, so a mistake here does not show there.

use crate::asid::{Allocator, Assignment};
use crate::vmcb::tlb_control;

/// Roots share counters; sharing only costs a needless fresh identifier.
const COUNTERS: usize = 64;

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
    seen: u64,
}

fn counter(root: u64) -> usize {
    (root >> 12) as usize % COUNTERS
}

impl Tlb {
    /// With `asids` identifiers, the host's included.
    pub fn new(asids: u32) -> Self {
        Self { allocator: Allocator::new(asids), changes: [0; COUNTERS] }
    }

    /// The tables under `root` lost or changed an entry.
    pub fn changed(&mut self, root: u64) {
        self.changes[counter(root)] += 1;
    }

    /// True if a VCPU can run on `root` under what it holds.
    #[inline]
    pub fn is_current(&self, tag: &Tag, root: u64) -> bool {
        tag.root == root && tag.seen == self.changes[counter(root)] && self.allocator.is_current(&tag.held)
    }

    /// Gives a VCPU a fresh identifier for `root`: the identifier and what VMRUN has to flush.
    #[cold]
    pub fn renew(&mut self, tag: &mut Tag, root: u64) -> (u32, u32) {
        let (held, flush) = self.allocator.allocate();
        *tag = Tag { held, root, seen: self.changes[counter(root)] };
        (held.asid, if flush { tlb_control::ALL } else { tlb_control::NOTHING })
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
        let (mut tlb, mut tag) = (Tlb::new(16), Tag::default());
        assert_eq!(run(&mut tlb, &mut tag, ROOT), Some((1, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut tag, ROOT), None);
        tlb.changed(0x2000);
        assert_eq!(run(&mut tlb, &mut tag, ROOT), None, "another root's change");
        tlb.changed(ROOT);
        assert_eq!(run(&mut tlb, &mut tag, ROOT), Some((2, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut tag, ROOT), None);
    }

    #[test]
    fn another_root_is_another_identifier() {
        let (mut tlb, mut tag) = (Tlb::new(16), Tag::default());
        run(&mut tlb, &mut tag, ROOT);
        assert_eq!(run(&mut tlb, &mut tag, 0x2000), Some((2, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut tag, ROOT), Some((3, tlb_control::NOTHING)));
    }

    #[test]
    fn two_processors_of_one_root_see_the_change() {
        let (mut tlb, mut a, mut b) = (Tlb::new(16), Tag::default(), Tag::default());
        run(&mut tlb, &mut a, ROOT);
        run(&mut tlb, &mut b, ROOT);
        tlb.changed(ROOT);
        assert!(run(&mut tlb, &mut a, ROOT).is_some());
        assert!(run(&mut tlb, &mut b, ROOT).is_some());
        assert!(run(&mut tlb, &mut a, ROOT).is_none());
    }

    #[test]
    fn the_flush_comes_with_the_first_of_a_generation_and_all_others_renew() {
        let (mut tlb, mut a, mut b) = (Tlb::new(3), Tag::default(), Tag::default());
        run(&mut tlb, &mut a, ROOT);
        run(&mut tlb, &mut b, ROOT);
        tlb.changed(ROOT);
        assert_eq!(run(&mut tlb, &mut a, ROOT), Some((1, tlb_control::ALL)));
        assert_eq!(run(&mut tlb, &mut b, ROOT), Some((2, tlb_control::NOTHING)));
        assert_eq!(run(&mut tlb, &mut a, ROOT), None);
    }
}
