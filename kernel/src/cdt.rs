// SPDX-License-Identifier: MIT OR Apache-2.0
//! The derivation tree: which capability was derived from which.
//!
//! All capabilities stand in one doubly linked list in the tree's depth-first order, a parent before its descendants. Who
//! descends from whom is not stored but computed from the capabilities themselves, so that removing one is always O(1):
//! `b`, later in the list than `a`, descends from `a` when `a` is an *original* and covers what `b` names. Originals are
//! capabilities made by retype or by a control capability, and those that were badged when derived; plain copies are not, so copies are
//! siblings of each other.

use sel4_abi::object::tag;

use crate::cap::{Cap, RawCap, Slot};
use crate::ptr::Ptr;

const ORIGINAL: u64 = 1;

/// A reference to a slot.
pub type SlotRef = Ptr<Slot>;

fn link(word: u64) -> Option<SlotRef> {
    // SAFETY: links are addresses of slots in the list; a slot leaves the list before its memory is reused.
    unsafe { Ptr::from_addr(word & !31) }
}

impl Slot {
    /// The next slot in the tree's order.
    pub fn next(&self) -> Option<SlotRef> {
        link(self.next.get())
    }
    /// The previous slot in the tree's order.
    pub fn prev(&self) -> Option<SlotRef> {
        link(self.prev.get())
    }
    /// True when the capability was made by retype, by a control capability or by badging.
    pub fn is_original(&self) -> bool {
        self.prev.get() & ORIGINAL != 0
    }
    fn set_prev(&self, to: Option<SlotRef>) {
        self.prev.set(to.map_or(0, |p| p.addr()) | self.prev.get() & ORIGINAL);
    }
    fn set_next(&self, to: Option<SlotRef>) {
        self.next.set(to.map_or(0, |p| p.addr()));
    }
    /// Sets the mark of [`Slot::is_original`].
    pub fn set_original(&self, original: bool) {
        self.prev.set(self.prev.get() & !ORIGINAL | u64::from(original));
    }
}

/// Bytes of memory that a capability names: first address and last address.
fn memory(cap: Cap) -> Option<(u64, u64)> {
    use sel4_abi::object as o;
    let (base, bytes) = match cap {
        Cap::Untyped(u) => (u.paddr, 1u64 << u.size_bits),
        Cap::Endpoint { object, .. } => (object.paddr(), 1 << o::ENDPOINT_BITS),
        Cap::Notification { object, .. } => (object.paddr(), 1 << o::NOTIFICATION_BITS),
        Cap::Reply { object, .. } => (object.paddr(), 1 << o::REPLY_BITS),
        Cap::CNode(c) => (c.slots.paddr(), 1 << (usize::from(c.radix) + o::SLOT_BITS)),
        Cap::Thread(t) => (t.paddr(), 1 << o::TCB_BITS),
        Cap::SchedContext { object, size_bits } => (object.paddr(), 1 << size_bits),
        Cap::Frame(f) => (f.paddr, f.size.bytes()),
        Cap::Table(t) | Cap::EptTable(t) => (t.paddr, 4096),
        Cap::Pml4(r) | Cap::EptPml4(r) => (r.paddr, 4096),
        Cap::IoPageTable(t) => (t.paddr, 4096),
        Cap::AsidPool { paddr, .. } => (paddr, 4096),
        Cap::Vcpu(p) | Cap::IoPermissionMap(p) => (p, 1 << 14),
        Cap::Zombie(z) => (z.paddr, 1),
        _ => return None,
    };
    Some((base, base + (bytes - 1)))
}

/// True when what `a` names includes what `b` names.
fn covers(a: RawCap, b: RawCap) -> bool {
    match a.tag() {
        tag::UNTYPED => match (memory(a.decode()), memory(b.decode())) {
            (Some((a0, a1)), Some((b0, b1))) => a0 <= b0 && b1 <= a1,
            _ => false,
        },
        tag::IRQ_CONTROL => matches!(b.tag(), tag::IRQ_CONTROL | tag::IRQ_HANDLER),
        tag::IO_PORT_CONTROL => matches!(b.tag(), tag::IO_PORT_CONTROL | tag::IO_PORT),
        tag::IO_SPACE => {
            b.tag() == tag::IO_SPACE
                && (matches!(a.decode(), Cap::IoSpace { rid: 0, domain: 0 }) || a.same_object(b))
        }
        _ => a.same_object(b),
    }
}

fn badge(cap: RawCap) -> Option<u64> {
    match cap.decode() {
        Cap::Endpoint { badge, .. } | Cap::Notification { badge, .. } => Some(badge),
        _ => None,
    }
}

/// True when `b`, which stands after `a` in the list with only descendants of `a` between them, descends from `a`.
pub fn is_parent(a: SlotRef, b: SlotRef) -> bool {
    if !a.is_original() || !covers(a.raw(), b.raw()) {
        return false;
    }
    match badge(a.raw()) {
        None | Some(0) => true,
        some => badge(b.raw()) == some && !b.is_original(),
    }
}

/// The first descendant of `slot`, if it has any.
pub fn first_child(slot: SlotRef) -> Option<SlotRef> {
    slot.next().filter(|&n| is_parent(slot, n))
}

/// Puts `cap` into the empty slot `dest`, right behind `parent` in the tree.
pub fn insert(dest: SlotRef, cap: Cap, parent: SlotRef, original: bool) {
    debug_assert!(dest.is_empty());
    let next = parent.next();
    dest.prev.set(0);
    dest.set_original(original);
    dest.set_prev(Some(parent));
    dest.set_next(next);
    if let Some(n) = next {
        n.set_prev(Some(dest));
    }
    parent.set_next(Some(dest));
    dest.set(cap);
}

/// As [`insert`] of originals one after the other: `count` slots from `dest` on name objects that lie `bytes` apart, of which `first` is the
/// first one's. Few instructions for each, since all of them are one step.
pub fn insert_row(dest: SlotRef, count: u64, first: RawCap, bytes: u64, parent: SlotRef) {
    let (mut cap, mut at, mut next) = (first, dest, parent.next());
    if let Some(n) = next {
        n.set_prev(Some(dest));
    }
    for left in (0..count).rev() {
        debug_assert!(at.is_empty());
        // SAFETY: the caller has as many slots in a row; behind the last one no slot is touched.
        let after = if left == 0 { parent } else { unsafe { at.add(1) } };
        at.set_raw(cap);
        at.next.set(next.map_or(0, |n| n.addr()));
        at.prev.set(after.addr() | ORIGINAL);
        (cap, next, at) = (cap.further(bytes), Some(at), after);
    }
    parent.set_next(next);
}

/// Puts `cap` into the empty slot `dest` at the top of a tree of its own: for what exists from boot on.
pub fn insert_root(dest: SlotRef, cap: Cap) {
    dest.prev.set(0);
    dest.next.set(0);
    dest.set_original(true);
    dest.set(cap);
}

/// Takes the capability out of `slot` and out of the tree.
pub fn remove(slot: SlotRef) {
    let (prev, next) = (slot.prev(), slot.next());
    if let Some(p) = prev {
        p.set_next(next);
    }
    if let Some(n) = next {
        n.set_prev(prev);
    }
    slot.prev.set(0);
    slot.next.set(0);
    slot.set_raw(RawCap::NULL);
}

/// Moves what is in `src` to the empty slot `dest`, as `cap`; the place in the tree goes with it.
pub fn move_to(dest: SlotRef, src: SlotRef, cap: Cap) {
    dest.prev.set(src.prev.get());
    dest.next.set(src.next.get());
    if let Some(p) = dest.prev() {
        p.set_next(Some(dest));
    }
    if let Some(n) = dest.next() {
        n.set_prev(Some(dest));
    }
    dest.set(cap);
    src.prev.set(0);
    src.next.set(0);
    src.set_raw(RawCap::NULL);
}

/// Exchanges the contents of two slots, places in the tree included.
pub fn swap(a: SlotRef, b: SlotRef) {
    if a == b {
        return;
    }
    let (cap_a, cap_b) = (a.cap(), b.cap());
    let (a_word, b_word) = (a.prev.get(), b.prev.get());
    let neighbours = |s: SlotRef| (s.prev(), s.next());
    let ((a_prev, a_next), (b_prev, b_next)) = (neighbours(a), neighbours(b));
    // Where one is the other's neighbour, the link must not come to point at itself.
    let redirect =
        |link: Option<SlotRef>, from: SlotRef, to: SlotRef| if link == Some(from) { Some(to) } else { link };
    a.prev.set(b_word & ORIGINAL);
    b.prev.set(a_word & ORIGINAL);
    a.set_prev(redirect(b_prev, a, b));
    a.set_next(redirect(b_next, a, b));
    b.set_prev(redirect(a_prev, b, a));
    b.set_next(redirect(a_next, b, a));
    for s in [a, b] {
        if let Some(p) = s.prev() {
            p.set_next(Some(s));
        }
        if let Some(n) = s.next() {
            n.set_prev(Some(s));
        }
    }
    a.set(cap_b);
    b.set(cap_a);
}

/// True when no other capability names the object of `slot`.
pub fn is_final(slot: SlotRef) -> bool {
    let raw = slot.raw();
    let same = |s: Option<SlotRef>| s.is_some_and(|s| s.raw().same_object(raw));
    !same(slot.prev()) && !same(slot.next())
}

/// True when a retype or a copy may not go on because something is derived from `slot`.
pub fn has_children(slot: SlotRef) -> bool {
    first_child(slot).is_some()
}
