// SPDX-License-Identifier: MIT OR Apache-2.0
//! Untyped memory and the making of objects from it.

use sel4_abi::message::CapRights;
use sel4_abi::object::{self as abi, ObjectType};

use super::cnode::CNode;
use super::tcb::Tcb;
use crate::arch;
use crate::cap::{Cap, Frame, FrameSize, IoTable, Made, Mapping, Root, Table, Untyped};
use crate::cdt::{self, SlotRef};
use crate::cspace;
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;
use crate::processors::Place;
use crate::ptr::Ptr;

/// Arguments of `Untyped_Retype`.
pub struct Retype {
    /// Object type, not checked.
    pub object: u64,
    /// Size argument, not checked.
    pub size_bits: u64,
    /// Address of the destination CNode below the root.
    pub node_index: u64,
    /// Depth of that address, 0 for the root itself.
    pub node_depth: u64,
    /// First destination slot.
    pub node_offset: u64,
    /// Number of objects.
    pub count: u64,
}

/// Bytes cleared between two preemption points.
const CHUNK: u64 = 4096;
/// What that is worth, with a virtual CPU that is made there.
const STEPS_OF_CHUNK: u32 = 3;

/// Objects whose capabilities are put into their slots in one step.
const OBJECTS_PER_STEP: u64 = 64;

/// `Untyped_Retype`. Memory is cleared here, in chunks, so that a huge object does not hold the processor.
///
/// # Errors
/// In the order of the ABI; Preempted after a chunk, with the progress noted in the capability.
pub fn retype(k: &mut Kernel, slot: SlotRef, u: Untyped, root: Cap, a: &Retype) -> SysResult {
    let ty = ObjectType::from_number(a.object).filter(|&t| arch::object_supported(t));
    let ty = ty.ok_or(SysError::InvalidArgument(0))?;
    if a.size_bits >= 64 || ty.size_bits(a.size_bits as usize) > abi::MAX_UNTYPED_BITS {
        return Err(SysError::Range(0, abi::MAX_UNTYPED_BITS as u64));
    }
    let size = a.size_bits as usize;
    // A zombie's count of slots has 30 bits.
    let bad_size = match ty {
        ObjectType::CNode => size == 0 || size > 29,
        ObjectType::Untyped => size < abi::MIN_UNTYPED_BITS,
        ObjectType::SchedContext => size < abi::MIN_SCHED_CONTEXT_BITS,
        _ => false,
    };
    if bad_size {
        return Err(SysError::InvalidArgument(1));
    }
    let node = cspace::target_cnode(k, root, a.node_index, a.node_depth)?;
    if a.node_offset >= node.len() {
        return Err(SysError::Range(0, node.len() - 1));
    }
    if a.count == 0 || a.count > abi::RETYPE_FAN_OUT_LIMIT {
        return Err(SysError::Range(1, abi::RETYPE_FAN_OUT_LIMIT));
    }
    if a.count > node.len() - a.node_offset {
        return Err(SysError::Range(1, node.len() - a.node_offset));
    }
    if (0..a.count).any(|i| !node.slot(a.node_offset + i).is_empty()) {
        return Err(SysError::DeleteFirst);
    }
    let total = 1u64 << u.size_bits;
    let mut used = u.watermark;
    let mut cleared = u.cleared;
    if used != 0 && !cdt::has_children(slot) {
        (used, cleared) = (0, 0);
    }
    let bits = ty.size_bits(size);
    let start = plan(total, used, bits, a.count).ok_or(SysError::NotEnoughMemory(total - used))?;
    let frame = matches!(ty, ObjectType::Page4K | ObjectType::LargePage | ObjectType::HugePage);
    if u.device && !frame && ty != ObjectType::Untyped {
        return Err(SysError::InvalidArgument(1));
    }
    let bytes = a.count << bits;
    if !u.device && ty != ObjectType::Untyped {
        // A preempted retype left `cleared` chunks behind its watermark: zeros, or objects of the kind `made`.
        let kind = Made::of(ty);
        let done = if u.made == kind { (used + u64::from(cleared) * CHUNK).saturating_sub(start) } else { 0 };
        clear(k, slot, Untyped { watermark: start, made: kind, ..u }, Row { bits, bytes }, done)?;
    }
    slot.set(Cap::Untyped(Untyped { watermark: start + bytes, cleared: 0, made: Made::Zeros, ..u }));
    let first = capability(ty, size, u.paddr + start, u.device);
    cdt::insert_row(node.slot(a.node_offset), a.count, first.encode(), 1 << bits, slot);
    k.took((a.count / OBJECTS_PER_STEP) as u32);
    Ok(())
}

/// Offset of the first of `count` objects of 2^bits bytes in an untyped of `total` bytes of which `used` are taken.
fn plan(total: u64, used: u64, bits: usize, count: u64) -> Option<u64> {
    let size = 1u64 << bits;
    let start = used.checked_add(size - 1)? & !(size - 1);
    let end = start.checked_add(count.checked_mul(size)?)?;
    (end <= total).then_some(start)
}

/// Objects in a row.
#[derive(Clone, Copy)]
struct Row {
    /// Log2 of the bytes of each.
    bits: usize,
    /// Bytes of all.
    bytes: u64,
}

/// Clears the memory of new objects, from the watermark of `u` on, and makes them what `u.made` says. The first `done` bytes are so already.
fn clear(k: &mut Kernel, slot: SlotRef, u: Untyped, row: Row, mut done: u64) -> SysResult {
    let start = u.paddr + u.watermark;
    while done < row.bytes {
        let n = CHUNK.min(row.bytes - done);
        arch::clear_memory(start + done, n);
        let complete = (done >> row.bits)..((done + n) >> row.bits);
        done += n;
        match u.made {
            Made::Zeros => {}
            Made::Threads => complete.for_each(|i| {
                let t = fresh::<Tcb>(start + (i << row.bits));
                t.init();
                // It is of the domain in which it is made.
                t.place.set(Place::new(0, k.sched.place.domain()));
            }),
            Made::VirtualCpus => complete.for_each(|i| arch::init_vcpu(start + (i << row.bits))),
        }
        if done < row.bytes
            && let Err(e) = k.preempt_after(STEPS_OF_CHUNK)
        {
            let chunks = (done / CHUNK).min((1 << 26) - 1);
            slot.set(Cap::Untyped(Untyped { cleared: chunks as u32, ..u }));
            return Err(e);
        }
    }
    Ok(())
}

/// A new object. Only `clear` and `capability` call this.
fn fresh<T>(paddr: u64) -> Ptr<T> {
    // SAFETY: the memory was cleared by this retype and nobody else has it; zero is the initial state of every object, or it becomes that
    // before there is a capability.
    unsafe { Ptr::from_paddr(paddr) }
}

/// The capability of a new object.
fn capability(ty: ObjectType, size: usize, paddr: u64, device: bool) -> Cap {
    let table = |level| Table { paddr, level, mapping: Mapping::None };
    let frame = |size| {
        Cap::Frame(Frame { paddr, size, device, rights: CapRights::READ_WRITE, mapping: Mapping::None })
    };
    match ty {
        ObjectType::Untyped => {
            let made = Made::Zeros;
            Cap::Untyped(Untyped { paddr, size_bits: size as u8, device, watermark: 0, cleared: 0, made })
        }
        ObjectType::Tcb => Cap::Thread(fresh(paddr)),
        ObjectType::Endpoint => Cap::Endpoint { object: fresh(paddr), badge: 0, rights: CapRights::ALL },
        ObjectType::Notification => {
            Cap::Notification { object: fresh(paddr), badge: 0, rights: CapRights::READ_WRITE }
        }
        ObjectType::CNode => {
            Cap::CNode(CNode { slots: fresh(paddr), radix: size as u8, guard_bits: 0, guard: 0 })
        }
        ObjectType::SchedContext => Cap::SchedContext { object: fresh(paddr), size_bits: size as u8 },
        ObjectType::Reply => Cap::Reply { object: fresh(paddr), grant: true },
        ObjectType::Page4K => frame(FrameSize::Small),
        ObjectType::LargePage => frame(FrameSize::Large),
        ObjectType::HugePage => frame(FrameSize::Huge),
        ObjectType::PageTable => Cap::Table(table(1)),
        ObjectType::PageDirectory => Cap::Table(table(2)),
        ObjectType::Pdpt => Cap::Table(table(3)),
        ObjectType::Pml4 => Cap::Pml4(Root { paddr, asid: 0 }),
        ObjectType::EptPt => Cap::EptTable(table(1)),
        ObjectType::EptPd => Cap::EptTable(table(2)),
        ObjectType::EptPdpt => Cap::EptTable(table(3)),
        ObjectType::EptPml4 => Cap::EptPml4(Root { paddr, asid: 0 }),
        ObjectType::IoPageTable => Cap::IoPageTable(IoTable { paddr, level: 0, place: None, parked: false }),
        ObjectType::Vcpu => Cap::Vcpu(paddr),
        ObjectType::IoPermissionMap => Cap::IoPermissionMap(paddr),
    }
}

/// `ASIDControl_MakePool`.
///
/// # Errors
/// In this order: DeleteFirst (no more pools), InvalidCapability 1, RevokeFirst, lookup errors, DeleteFirst.
pub fn make_pool(k: &mut Kernel, untyped: SlotRef, root: Cap, index: u64, depth: u64) -> SysResult {
    let number = k.asids.free_pool().ok_or(SysError::DeleteFirst)?;
    let Cap::Untyped(u) = untyped.cap() else { return Err(SysError::InvalidCapability(1)) };
    if u.size_bits != 12 || u.device {
        return Err(SysError::InvalidCapability(1));
    }
    if cdt::has_children(untyped) {
        return Err(SysError::RevokeFirst);
    }
    let dest = cspace::target_slot(k, root, index, depth, false)?;
    if !dest.is_empty() {
        return Err(SysError::DeleteFirst);
    }
    arch::clear_memory(u.paddr, 4096);
    untyped.set(Cap::Untyped(Untyped { watermark: 4096, cleared: 0, made: Made::Zeros, ..u }));
    cdt::insert(dest, Cap::AsidPool { paddr: u.paddr, index: number }, untyped, true);
    k.asids.set_pool(number, u.paddr);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::plan;

    #[test]
    fn objects_are_aligned_and_fit() {
        assert_eq!(plan(1 << 20, 0, 12, 256), Some(0));
        assert_eq!(plan(1 << 20, 0, 12, 257), None);
        assert_eq!(plan(1 << 20, 16, 12, 1), Some(4096));
        assert_eq!(plan(1 << 12, 4080, 4, 1), Some(4080));
        assert_eq!(plan(1 << 12, 4096, 4, 1), None);
        assert_eq!(plan(1 << 47, 0, 47, 256), None);
    }
}
