// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel with memory and a CNode.

use std::boxed::Box;
use std::vec::Vec;

use sel4_abi::object::ObjectType;

use crate::arch::{ARENA_START, PENDING, clear_memory, now};
use crate::cap::{Cap, Made, Slot, Untyped};
use crate::cdt::{self, SlotRef};
use crate::error::SysError;
use crate::kernel::Kernel;
use crate::object::cnode::CNode;
use crate::object::untyped::{Retype, retype};
use crate::processors::Processors;
use crate::ptr::Ptr;

/// Log2 of the slots of its CNode.
pub const RADIX: u8 = 8;
/// Slots of its CNode.
pub const SLOTS: u64 = 1 << RADIX;
/// Log2 of the bytes of its untyped memory.
pub const UNTYPED_BITS: u8 = 20;

/// A kernel with a CNode outside of any untyped memory, whose slot 0 holds untyped memory.
pub struct World {
    /// The kernel. It stays where it is: its slots are in the tree.
    pub k: Box<Kernel>,
    /// The CNode.
    pub root: CNode,
}

impl World {
    /// Empty but for slot 0.
    pub fn new() -> Self {
        Self::with_domains(1)
    }

    /// The same with so many scheduling domains.
    pub fn with_domains(domains: u16) -> Self {
        PENDING.with(|p| p.set(false));
        clear_memory(ARENA_START, 4 << 20);
        // SAFETY: the arena is clear, and this part of it is the CNode's.
        let slots: Ptr<Slot> = unsafe { Ptr::from_paddr(ARENA_START) };
        let root = CNode { slots, radix: RADIX, guard_bits: 64 - RADIX, guard: 0 };
        let u = Untyped {
            paddr: ARENA_START + (1 << UNTYPED_BITS),
            size_bits: UNTYPED_BITS,
            device: false,
            watermark: 0,
            cleared: 0,
            made: Made::Zeros,
        };
        cdt::insert_root(root.slot(0), Cap::Untyped(u));
        let mut k = Box::new(Kernel::new());
        k.sched = Processors::of_test(domains);
        k.domains.begin(domains, now());
        k.change_domain();
        Self { k, root }
    }

    /// Slot `i` of the CNode.
    pub fn slot(&self, i: u64) -> SlotRef {
        self.root.slot(i)
    }

    /// Retypes what is in slot `from`, into the slots from `to` on.
    pub fn retype(
        &mut self,
        from: u64,
        ty: ObjectType,
        size_bits: u64,
        to: u64,
        count: u64,
    ) -> Result<(), SysError> {
        let slot = self.slot(from);
        let Cap::Untyped(u) = slot.cap() else { panic!("slot {from} holds no untyped memory") };
        let args =
            Retype { object: ty as u64, size_bits, node_index: 0, node_depth: 0, node_offset: to, count };
        retype(&mut self.k, slot, u, Cap::CNode(self.root), &args)
    }

    /// Every capability of the tree that begins in slot 0, in order, with the links checked.
    pub fn order(&self) -> Vec<SlotRef> {
        self.order_from(0)
    }

    /// The same for the tree that begins in slot `root`.
    pub fn order_from(&self, root: u64) -> Vec<SlotRef> {
        let mut all = Vec::new();
        let mut at = Some(self.slot(root));
        let mut before = None;
        while let Some(s) = at {
            assert_eq!(s.prev(), before, "the backward link of a slot");
            assert!(!s.is_empty(), "an empty slot is in the tree");
            all.push(s);
            before = Some(s);
            at = s.next();
            assert!(all.len() < 100_000, "the tree's order is a circle");
        }
        all
    }
}
