// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on slots.

use sel4_abi::message::CapRights;
use sel4_abi::{LookupFailure, label};

use super::Invocation;
use crate::cap::{Cap, Frame};
use crate::cdt::{self, SlotRef};
use crate::cspace::target_slot;
use crate::delete;
use crate::describe::describe;
use crate::error::{SysError, SysResult};
use crate::ipc;
use crate::kernel::Kernel;
use crate::transfer::{derive, insert_derived};

/// Methods of a CNode capability.
pub fn cnode(k: &mut Kernel, i: &Invocation) -> SysResult<usize> {
    if !(label::CNODE_REVOKE..=label::CNODE_ROTATE).contains(&i.label) && i.label != label::CNODE_DESCRIBE {
        return Err(SysError::IllegalOperation);
    }
    i.need(2, 0)?;
    let root = i.slot.cap();
    let dest = target_slot(k, root, i.arg(0), i.arg(1) & 0xff, false)?;
    match i.label {
        label::CNODE_DESCRIBE => return Ok(i.reply(&describe(&dest))),
        label::CNODE_REVOKE => delete::revoke(k, dest)?,
        label::CNODE_DELETE => delete::delete(k, dest)?,
        label::CNODE_CANCEL_BADGED_SENDS => match dest.cap() {
            Cap::Endpoint { object, badge, rights } if rights == CapRights::ALL => {
                if badge != 0 {
                    ipc::cancel_badged(k, object, badge)?;
                }
            }
            _ => return Err(SysError::IllegalOperation),
        },
        label::CNODE_ROTATE => rotate(k, i, dest)?,
        _ => transfer(k, i, dest)?,
    }
    Ok(0)
}

/// Copy, mint, move and mutate.
fn transfer(k: &mut Kernel, i: &Invocation, dest: SlotRef) -> SysResult {
    let words = match i.label {
        label::CNODE_MINT => 6,
        label::CNODE_MOVE => 4,
        _ => 5,
    };
    i.need(4, 1)?;
    if !dest.is_empty() {
        return Err(SysError::DeleteFirst);
    }
    let src = source(k, i.cap(0)?, i.arg(2), i.arg(3))?;
    // Rights, badge or guard are looked for when both slots are found.
    i.need(words, 0)?;
    match i.label {
        label::CNODE_COPY => {
            let cap = mask(derive(src)?, i.arg(4));
            copy(dest, cap, src)
        }
        label::CNODE_MINT => {
            let cap = mask(derive(src)?, i.arg(4));
            copy(dest, with_data(cap, i.arg(5), false)?, src)
        }
        label::CNODE_MOVE => {
            movable(src)?;
            cdt::move_to(dest, src, src.cap());
            Ok(())
        }
        _ => {
            movable(src)?;
            cdt::move_to(dest, src, with_data(src.cap(), i.arg(4), true)?);
            Ok(())
        }
    }
}

fn copy(dest: SlotRef, cap: Cap, src: SlotRef) -> SysResult {
    if cap == Cap::Null {
        return Err(SysError::IllegalOperation);
    }
    insert_derived(dest, cap, src);
    Ok(())
}

/// A source slot: it must resolve and hold a capability.
fn source(k: &mut Kernel, root: Cap, index: u64, depth: u64) -> SysResult<SlotRef> {
    let slot = target_slot(k, root, index, depth & 0xff, true)?;
    if slot.is_empty() {
        return Err(SysError::Lookup(true, LookupFailure::MissingCapability { bits_left: depth & 0xff }));
    }
    Ok(slot)
}

/// A zombie stays where the stack of deletions expects it.
fn movable(slot: SlotRef) -> SysResult {
    if matches!(slot.cap(), Cap::Zombie(_)) { Err(SysError::IllegalOperation) } else { Ok(()) }
}

/// The capability with at most the rights in `mask`.
fn mask(cap: Cap, mask: u64) -> Cap {
    let m = CapRights(mask & 15);
    match cap {
        Cap::Endpoint { object, badge, rights } => {
            Cap::Endpoint { object, badge, rights: rights.intersection(m) }
        }
        Cap::Notification { object, badge, rights } => {
            Cap::Notification { object, badge, rights: rights.intersection(m) }
        }
        Cap::Reply { object, grant } => Cap::Reply { object, grant: grant && m.grant() },
        Cap::Frame(f) => Cap::Frame(Frame { rights: f.rights.intersection(m), ..f }),
        other => other,
    }
}

/// The capability with a badge, a guard or an I/O space's identity. `preserve` (mutate) forbids badges.
fn with_data(cap: Cap, data: u64, preserve: bool) -> SysResult<Cap> {
    let cap = match cap {
        Cap::Endpoint { object, badge: 0, rights } if !preserve => {
            Cap::Endpoint { object, badge: data, rights }
        }
        Cap::Notification { object, badge: 0, rights } if !preserve => {
            Cap::Notification { object, badge: data, rights }
        }
        Cap::Endpoint { .. } | Cap::Notification { .. } => Cap::Null,
        Cap::CNode(c) => c.with_guard(data).map_or(Cap::Null, Cap::CNode),
        #[cfg(target_os = "none")]
        Cap::IoSpace { rid, domain } => return crate::object::iospace::mint(rid, domain, data, preserve),
        other => other,
    };
    if cap == Cap::Null { Err(SysError::IllegalOperation) } else { Ok(cap) }
}

/// Moves pivot to dest and source to pivot, each with new data.
fn rotate(k: &mut Kernel, i: &Invocation, dest: SlotRef) -> SysResult {
    i.need(8, 2)?;
    let src = target_slot(k, i.cap(1)?, i.arg(6), i.arg(7) & 0xff, true)?;
    let pivot = target_slot(k, i.cap(0)?, i.arg(3), i.arg(4) & 0xff, true)?;
    if pivot == src || pivot == dest {
        return Err(SysError::IllegalOperation);
    }
    if src != dest && !dest.is_empty() {
        return Err(SysError::DeleteFirst);
    }
    if src.is_empty() {
        return Err(SysError::Lookup(true, LookupFailure::MissingCapability { bits_left: i.arg(7) & 0xff }));
    }
    if pivot.is_empty() {
        return Err(SysError::Lookup(false, LookupFailure::MissingCapability { bits_left: i.arg(4) & 0xff }));
    }
    movable(src)?;
    movable(pivot)?;
    let new_src = with_data(src.cap(), i.arg(5), true)?;
    let new_pivot = with_data(pivot.cap(), i.arg(2), true)?;
    if src == dest {
        cdt::swap(src, pivot);
        src.set(new_pivot);
        pivot.set(new_src);
    } else {
        cdt::move_to(dest, pivot, new_pivot);
        cdt::move_to(pivot, src, new_src);
    }
    Ok(())
}
