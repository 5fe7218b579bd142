// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which identifier a guest runs under, and when its translations are dropped (APM 15.16).
//!
//! Nothing is flushed when a nested table changes. The change is only counted, per root; a VCPU that finds the count of
//! its root moved takes a fresh identifier at its next entry, under which nothing is cached. Memory can be reused at once,
//! because a stale translation is only reachable by an entry under the old identifier, and there is none any more.
//!
//! The emulator models none of this, so a mistake here does not show there.

use svm::asid::{Allocator, Assignment};
use svm::vmcb::tlb_control;

/// Roots share counters; sharing only costs a needless fresh identifier.
const COUNTERS: usize = 64;

/// The identifiers, and the changes to nested tables.
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
