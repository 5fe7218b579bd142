// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O spaces, I/O page tables and DMA faults as capabilities (`docs/abi.md`, X2 and X4).
//!
//! A mapping remembers the requester and the address. Taking it back clears an entry only if it still leads to the
//! capability's own frame or table, so a capability whose space was cleared meanwhile does no harm.
//!
//! A table that is unmapped is parked: out of reach, with its entries, in its place, which its capability goes on to remember. Mapping it there
//! again brings back what is in it. Mapping it elsewhere and deleting its last capability treat it as if it were mapped there: take it out, empty it.

use ::vtd::pte::{Access, span_bits};
use sel4_abi::label;
use sel4_abi::message::CapRights;

use crate::cap::{Cap, Frame, FrameSize, IoTable, Mapping};
use crate::cdt::{self, SlotRef};
use crate::delete;
use crate::error::{SysError, SysResult};
use crate::invoke::Invocation;
use crate::iommu::{self, MapError};
use crate::ipc;
use crate::kernel::Kernel;
use crate::transfer::insert_derived;

/// What `DMAFault_Read` gives as the requester when there is nothing to read.
const NOBODY: u64 = u64::MAX;

/// The I/O space that minting with `data` makes: only the master can be minted from.
///
/// # Errors
/// In this order: IllegalOperation (not the master, `preserve`, domain 0 or beyond the hardware's), InvalidCapability 1 (no unit
/// translates the requester).
pub fn mint(rid: u16, domain: u16, data: u64, preserve: bool) -> SysResult<Cap> {
    let (new_rid, new_domain) = (data as u16, (data >> 16) as u16);
    let is_master = rid == 0 && domain == 0;
    if preserve || !is_master || new_domain == 0 || u32::from(new_domain) >= iommu::domains() {
        return Err(SysError::IllegalOperation);
    }
    if !iommu::covers(new_rid) {
        return Err(SysError::InvalidCapability(1));
    }
    Ok(Cap::IoSpace { rid: new_rid, domain: new_domain })
}

/// Methods of an I/O space.
///
/// # Errors
/// `IOSpace_MapFrame`, in this order: TruncatedMessage; InvalidCapability 0 (the master, or not translated);
/// InvalidCapability 1 (no frame, a device's, mapped already, or of a size that the units don't have); then as [`map`].
pub fn invoke_space(_: &mut Kernel, i: &Invocation, rid: u16, domain: u16) -> SysResult<usize> {
    match i.label {
        label::IO_SPACE_MAP_FRAME => {
            i.need(2, 1)?;
            usable(rid, domain).ok_or(SysError::InvalidCapability(0))?;
            let slot = i.cap_slot(0)?;
            let Cap::Frame(f) = slot.cap() else { return Err(SysError::InvalidCapability(1)) };
            if !mappable(f) || !iommu::supports_page(f.size.bits() as u8) {
                return Err(SysError::InvalidCapability(1));
            }
            map(slot, f, (rid, domain), CapRights(i.arg(0) & 15), i.arg(1))?;
        }
        label::IO_SPACE_CLEAR => {
            usable(rid, domain).ok_or(SysError::IllegalOperation)?;
            end_space(rid, domain);
        }
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}

/// `Page_MapIO`: as seL4 has it, for 4 KiB frames, with the lowest bits of the address ignored.
///
/// # Errors
/// In this order: TruncatedMessage; InvalidCapability 0 (not 4 KiB, a device's, or mapped already); InvalidCapability 1 (no I/O
/// space, the master, or not translated); then as [`map`].
pub fn page_map_io(_: &mut Kernel, i: &Invocation, f: Frame) -> SysResult<usize> {
    i.need(2, 1)?;
    if f.size != FrameSize::Small || !mappable(f) {
        return Err(SysError::InvalidCapability(0));
    }
    let space = space_of(i.cap(0)?)?;
    map(i.slot, f, space, CapRights(i.arg(0) & 15), i.arg(1) & !0xfff)?;
    Ok(0)
}

/// Methods of an I/O page table.
///
/// # Errors
/// `IOPageTable_Unmap`: RevokeFirst while there are copies. `IOPageTable_Map`, in this order: TruncatedMessage; InvalidCapability
/// 0 (mapped); InvalidCapability 1 (no I/O space, the master, or not translated); InvalidArgument 0 (out of range); DeleteFirst (no table
/// is missing there, or the space's domain is another requester's, or the requester's tables are another domain's).
pub fn invoke_table(_: &mut Kernel, i: &Invocation, t: IoTable) -> SysResult<usize> {
    match i.label {
        label::X86_IO_PAGE_TABLE_MAP => {
            i.need(1, 1)?;
            if t.mapped().is_some() {
                return Err(SysError::InvalidCapability(0));
            }
            let (rid, domain) = space_of(i.cap(0)?)?;
            let iova = i.arg(0) & !0xfff;
            if t.parked && !iommu::comes_back(rid, domain, iova, t.paddr).map_err(|e| refused(e, 0))? {
                end_table(t);
                i.slot.set(Cap::IoPageTable(t.nowhere()));
            }
            let level = iommu::map_table(rid, domain, iova, t.paddr).map_err(|e| refused(e, 0))?;
            let place = Some((rid, iova));
            i.slot.set(Cap::IoPageTable(IoTable { level, place, parked: false, ..t }));
        }
        label::X86_IO_PAGE_TABLE_UNMAP => {
            // A copy would go on saying that the table is mapped.
            if !cdt::is_final(i.slot) {
                return Err(SysError::RevokeFirst);
            }
            if let Some((rid, iova)) = t.mapped() {
                let parked = iommu::park_table(rid, iova, t.level, t.paddr);
                i.slot.set(Cap::IoPageTable(if parked { IoTable { parked, ..t } } else { t.nowhere() }));
            }
        }
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}

/// Methods of the DMA-fault control.
///
/// # Errors
/// `DMAFault_SetNotification`, in this order: TruncatedMessage, InvalidCapability 1 (no notification with write right).
pub fn invoke_fault(k: &mut Kernel, i: &Invocation) -> SysResult<usize> {
    match i.label {
        label::DMA_FAULT_SET_NOTIFICATION => {
            i.need(0, 1)?;
            let source = i.cap_slot(0)?;
            let Cap::Notification { object, badge, rights } = source.cap() else {
                return Err(SysError::InvalidCapability(1));
            };
            if !rights.write() {
                return Err(SysError::InvalidCapability(1));
            }
            let slot = k.dma_fault_slot();
            delete::delete(k, slot)?;
            insert_derived(slot, source.cap(), source);
            // A fault that came before sends no event again.
            if iommu::handle_fault_interrupt() {
                ipc::signal(k, object, badge);
            }
            Ok(0)
        }
        label::DMA_FAULT_READ => {
            let fault = iommu::read_fault();
            let lost = u64::from(iommu::take_overflow());
            Ok(i.reply(&match fault {
                Some(f) => [u64::from(f.rid), f.iova, u64::from(f.read), u64::from(f.reason), lost],
                None => [NOBODY, 0, 0, 0, lost],
            }))
        }
        _ => Err(SysError::IllegalOperation),
    }
}

/// Empties a requester's context entry, if it is this domain's: the space was cleared, or its last capability went.
pub fn end_space(rid: u16, domain: u16) {
    if iommu::context_root(rid).is_some_and(|(of, _)| of == domain) {
        iommu::clear_context(rid);
    }
}

/// Takes an I/O page table out of its place and empties it.
pub fn end_table(t: IoTable) {
    if let Some((rid, iova)) = t.place {
        iommu::unmap_table(rid, iova, t.level, t.paddr);
    }
}

/// Takes a frame out of its I/O space.
pub fn unmap_frame(rid: u16, iova: u64, f: Frame) {
    iommu::unmap_frame(rid, iova, f.paddr, f.size.bits() as u8);
}

/// Maps the frame in `slot`.
///
/// # Errors
/// In this order: InvalidArgument 0 (no right is left); AlignmentError; InvalidArgument 1 (out of range); DeleteFirst (the requester's tables
/// are another domain's); FailedLookup (a table is missing: the bits of address below its entry), DeleteFirst (occupied).
fn map(slot: SlotRef, f: Frame, (rid, domain): (u16, u16), rights: CapRights, iova: u64) -> SysResult {
    let rights = f.rights.intersection(rights);
    let access = Access { read: rights.read(), write: rights.write() };
    if access.is_none() {
        return Err(SysError::InvalidArgument(0));
    }
    if iova & (f.size.bytes() - 1) != 0 {
        return Err(SysError::Alignment);
    }
    iommu::map_frame(rid, domain, iova, f.paddr, f.size.bits() as u8, access).map_err(|e| refused(e, 1))?;
    slot.set(Cap::Frame(Frame { mapping: Mapping::Io { rid, iova }, ..f }));
    Ok(())
}

/// Whether devices may reach a frame at all: not one of another device's registers, since such transfers needn't pass the
/// IOMMU. What firmware reserves for DMA (RMRR) is device memory to the kernel, but memory all the same.
fn mappable(f: Frame) -> bool {
    (!f.device || iommu::is_reserved(f.paddr, f.size.bytes())) && f.mapping == Mapping::None
}

/// Whether an I/O space can hold anything.
fn usable(rid: u16, domain: u16) -> Option<(u16, u16)> {
    (domain != 0 && iommu::covers(rid)).then_some((rid, domain))
}

/// The I/O space that an extra capability names.
fn space_of(cap: Cap) -> SysResult<(u16, u16)> {
    match cap {
        Cap::IoSpace { rid, domain } => usable(rid, domain).ok_or(SysError::InvalidCapability(1)),
        _ => Err(SysError::InvalidCapability(1)),
    }
}

/// The error of a mapping whose address is argument `address`.
fn refused(error: MapError, address: u64) -> SysError {
    match error {
        MapError::NotCovered => SysError::InvalidCapability(0),
        MapError::MissingLevel(level) => SysError::MissingLevel(u64::from(span_bits(level + 1))),
        MapError::Occupied | MapError::DomainInUse => SysError::DeleteFirst,
        MapError::OutOfRange => SysError::InvalidArgument(address),
    }
}
