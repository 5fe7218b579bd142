// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capability addresses: from a root CNode, bit by bit, to a slot.

use sel4_abi::LookupFailure;

use crate::cap::{Cap, Slot};
use crate::cdt::SlotRef;
use crate::error::{Preempted, SysError, SysResult};
use crate::kernel::Kernel;
use crate::object::cnode::{CNode, slot_at};
use crate::object::tcb::{Tcb, slot};
use crate::ptr::Ptr;

/// Bits of a capability address.
pub const WORD_BITS: u32 = 64;

/// Where an address led: a slot, and how many of its bits were left when a capability that is not a CNode stopped it.
#[derive(Clone, Copy)]
pub struct Resolved {
    /// The slot.
    pub slot: SlotRef,
    /// Address bits not used.
    pub bits_left: u32,
}

/// CNodes that one address may lead through before interrupts are looked for.
const SHALLOW: u32 = 4;

/// What came of a walk, unless it was a long one and an interrupt is pending. Then whoever asked has to ask again, and may not have changed
/// anything since the system call, or this half of it, began.
pub type Found<T> = Result<Result<T, LookupFailure>, Preempted>;

/// Resolves the low `bits` bits of `address`, starting at `root`.
///
/// # Errors
/// As the ABI names them; bits are counted as they were when the failing level was looked at.
#[inline]
pub fn resolve(k: &mut Kernel, root: Option<CNode>, address: u64, bits: u32) -> Found<Resolved> {
    let mut levels = 0;
    let found = walk(root, address, bits, &mut levels);
    if levels > SHALLOW {
        k.look()?;
    }
    Ok(found)
}

/// The walk of [`resolve`], with the number of CNodes that it led through.
#[inline(always)]
fn walk(root: Option<CNode>, address: u64, bits: u32, levels: &mut u32) -> Result<Resolved, LookupFailure> {
    let Some(mut node) = root else { return Err(LookupFailure::InvalidRoot) };
    let mut left = bits;
    loop {
        *levels += 1;
        let Some(slot) = step(node, address, &mut left) else { return Err(mismatch(node, address, left)) };
        let slot = descend(slot, address, &mut left, levels);
        match slot.raw().cnode() {
            Some(next) if left != 0 => node = next,
            _ => return Ok(Resolved { slot, bits_left: left }),
        }
    }
}

/// One level: the slot to which the next of the `left` bits of the address lead, if there are as many as guard and index have and the guard is among
/// them. What is left then is behind them.
#[inline(always)]
fn step(node: CNode, address: u64, left: &mut u32) -> Option<SlotRef> {
    let radix = u32::from(node.radix);
    let behind = left.checked_sub(u32::from(node.guard_bits) + radix)?;
    // A CNode has at least two slots, so that this is less than 64.
    let rest = address >> (behind & 63);
    if (rest >> radix) & mask(node.guard_bits.into()) != node.guard {
        return None;
    }
    *left = behind;
    // SAFETY: the CNode has 2^radix slots.
    Some(unsafe { slot_at(node.slots, rest & mask(radix)) })
}

/// Why there is no [`step`].
#[cold]
fn mismatch(node: CNode, address: u64, left: u32) -> LookupFailure {
    let (guard_bits, level) = (u32::from(node.guard_bits), u32::from(node.guard_bits + node.radix));
    let guarded = guard_bits == 0
        || guard_bits <= left && (address >> (left - guard_bits)) & mask(guard_bits) == node.guard;
    if guarded {
        LookupFailure::DepthMismatch { bits_left: u64::from(left), bits_found: u64::from(level) }
    } else {
        LookupFailure::GuardMismatch {
            bits_left: u64::from(left),
            guard: node.guard,
            guard_bits: u64::from(guard_bits),
        }
    }
}

/// From a slot through CNodes without guards, as far as they and the `left` bits of the address lead: in few instructions for each, of which there
/// may be sixty.
#[inline(always)]
fn descend(mut slot: SlotRef, address: u64, left: &mut u32, levels: &mut u32) -> SlotRef {
    // The bits that are left, at the top.
    let mut rest = if *left == 0 { return slot } else { address << (WORD_BITS - *left) };
    while let Some((slots, radix)) = slot.raw().plain_cnode()
        && radix <= *left
    {
        let bits = u128::from(rest) << (radix & 63);
        rest = bits as u64;
        // SAFETY: the CNode has 2^radix slots.
        slot = unsafe { slot_at(slots, (bits >> WORD_BITS) as u64) };
        *left -= radix;
        *levels += 1;
        if *left == 0 {
            break;
        }
    }
    slot
}

/// So many ones; a guard or an index has less than 64.
const fn mask(bits: u32) -> u64 {
    !(u64::MAX << (bits & 63))
}

/// The slot in a thread's capability space whose capability is invoked by `address`: all bits count, and a capability met earlier ends the walk.
///
/// # Errors
/// As [`resolve`].
#[inline(always)]
pub fn lookup_slot(k: &mut Kernel, tcb: &Tcb, address: u64) -> Found<SlotRef> {
    match FlatRoot::of(tcb).and_then(|root| root.lookup(address)) {
        Some(slot) => Ok(Ok(slot)),
        None => lookup_in_levels(k, tcb, address),
    }
}

/// The same through a few levels, without the reason of a failure.
#[inline(always)]
fn lookup_shallow(tcb: &Tcb, address: u64) -> Option<SlotRef> {
    let mut node = root_of(tcb)?;
    let mut left = WORD_BITS;
    for _ in 0..SHALLOW {
        let slot = step(node, address, &mut left)?;
        match slot.raw().cnode() {
            Some(next) if left != 0 => node = next,
            _ => return Some(slot),
        }
    }
    None
}

fn root_of(tcb: &Tcb) -> Option<CNode> {
    tcb.slots[slot::CSPACE].raw().cnode()
}

#[inline(never)]
fn lookup_in_levels(k: &mut Kernel, tcb: &Tcb, address: u64) -> Found<SlotRef> {
    match lookup_shallow(tcb, address) {
        Some(slot) => Ok(Ok(slot)),
        None => Ok(resolve(k, root_of(tcb), address, WORD_BITS)?.map(|found| found.slot)),
    }
}

/// As [`lookup_slot`], however long it takes.
#[cfg(feature = "debug-syscalls")]
pub fn lookup_at_once(tcb: &Tcb, address: u64) -> Result<SlotRef, LookupFailure> {
    walk(root_of(tcb), address, WORD_BITS, &mut 0).map(|found| found.slot)
}

/// A root CNode whose guard and index are a whole capability address together, so that it leads from an address to a slot in one step.
#[derive(Clone, Copy)]
pub struct FlatRoot {
    slots: Ptr<Slot>,
    radix: u64,
    guard: u64,
}

impl FlatRoot {
    /// The thread's root, if it is one.
    #[inline(always)]
    pub fn of(tcb: &Tcb) -> Option<Self> {
        let (slots, radix, guard) = tcb.slots[slot::CSPACE].raw().flat_cnode()?;
        // SAFETY: the capability's CNode has its slots there.
        Some(Self { slots: unsafe { Ptr::from_paddr(slots) }, radix, guard })
    }

    /// As [`lookup_slot`], without the reason of a failure, and without a second CNode.
    #[inline(always)]
    pub fn lookup(self, address: u64) -> Option<SlotRef> {
        // What is left of an address that has the guard on top, without it, is the index.
        let index = address ^ (self.guard << (self.radix & 63));
        // SAFETY: the CNode has 2^radix slots.
        (address >> (self.radix & 63) == self.guard).then(|| unsafe { slot_at(self.slots, index) })
    }
}

/// The slot for an operation on slots: exactly `depth` bits of `index`, from the CNode `root`. `source` says for which lookup an error is
/// reported.
///
/// # Errors
/// FailedLookup when the root is not a CNode or the address does not resolve; RangeError(1, 64) for a depth out of range. Preempted as [`resolve`].
pub fn target_slot(k: &mut Kernel, root: Cap, index: u64, depth: u64, source: bool) -> SysResult<SlotRef> {
    let Cap::CNode(root) = root else {
        return Err(SysError::Lookup(source, LookupFailure::InvalidRoot));
    };
    if !(1..=u64::from(WORD_BITS)).contains(&depth) {
        return Err(SysError::Range(1, u64::from(WORD_BITS)));
    }
    let found = resolve(k, Some(root), index, depth as u32)?.map_err(|f| SysError::Lookup(source, f))?;
    if found.bits_left != 0 {
        let failure = LookupFailure::DepthMismatch { bits_left: u64::from(found.bits_left), bits_found: 0 };
        return Err(SysError::Lookup(source, failure));
    }
    Ok(found.slot)
}

/// The CNode at `index`/`depth` below `root`; depth 0 is `root` itself (`Untyped_Retype`).
///
/// # Errors
/// As [`target_slot`]; not a CNode is FailedLookup, MissingCapability with the depth as bits left.
pub fn target_cnode(k: &mut Kernel, root: Cap, index: u64, depth: u64) -> SysResult<CNode> {
    let cap = if depth == 0 { root } else { target_slot(k, root, index, depth, false)?.cap() };
    match cap {
        Cap::CNode(c) => Ok(c),
        _ => Err(SysError::Lookup(false, LookupFailure::MissingCapability { bits_left: depth })),
    }
}
