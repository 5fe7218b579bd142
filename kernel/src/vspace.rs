// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces: CPU page tables and nested tables, which share their walk and differ in their entries.
//!
//! Levels: 1 page table, 2 page directory, 3 page-directory-pointer table, 4 root. A frame capability remembers where it is mapped;
//! unmapping clears an entry only if it still points at the capability's own frame or table.

use sel4_abi::message::CapRights;
use sel4_abi::{LookupFailure, USER_TOP};

use crate::arch;
use crate::asid;
use crate::cap::{Cap, Frame, FrameSize, Mapping, Root, Table};
use crate::cdt::SlotRef;
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;

/// Entries of a table.
pub const ENTRIES: u64 = 512;
const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// First index of the kernel's part of a top-level table.
pub const KERNEL_INDEX: u64 = 511;

/// Which kind of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CPU address space (Intel SDM volume 3, section 4.5).
    Cpu,
    /// Nested translation.
    Nested,
}

impl Kind {
    fn table(self, paddr: u64) -> u64 {
        match self {
            Self::Cpu => paddr | PRESENT | WRITE | USER | ACCESSED,
            Self::Nested => arch::nested::entry_table(paddr),
        }
    }

    fn leaf(self, paddr: u64, size: FrameSize, rights: CapRights, attributes: u64) -> u64 {
        match self {
            Self::Cpu => {
                let mut e = paddr | PRESENT | ACCESSED;
                if rights.write() {
                    e |= WRITE;
                }
                if rights.read() {
                    e |= USER;
                }
                // PWT and PCD are bits 3 and 4; PAT is bit 7 of a 4 KiB entry, bit 12 of a larger one.
                e |= (attributes & 3) << 3;
                let pat = attributes >> 2 & 1;
                match size {
                    FrameSize::Small => e | pat << 7,
                    _ => e | LARGE | pat << 12,
                }
            }
            Self::Nested => arch::nested::entry_frame(paddr, size.bits() as u8, rights, attributes),
        }
    }

    /// First address behind what user level or a guest may map.
    fn limit(self) -> u64 {
        match self {
            Self::Cpu => USER_TOP,
            Self::Nested => 1 << 47,
        }
    }
}

/// Bits of address that one entry of a table of `level` spans.
pub const fn span_bits(level: u8) -> u32 {
    12 + 9 * (level as u32 - 1)
}

/// The entry of the table at `table`, of `level`, for `address`.
fn entry(table: u64, level: u8, address: u64) -> *mut u64 {
    let index = address >> span_bits(level) & (ENTRIES - 1);
    arch::phys_to_virt(table + 8 * index).cast()
}

fn read(e: *mut u64) -> u64 {
    // SAFETY: `entry` makes pointers into tables, which lie in the window.
    unsafe { e.read_volatile() }
}

fn write(e: *mut u64, value: u64) {
    // SAFETY: as for `read`.
    unsafe { e.write_volatile(value) }
}

/// The entry in a table of `level` on the way to `address`; the bits below the level that is missing otherwise.
fn walk(root: u64, level: u8, address: u64) -> Result<*mut u64, u64> {
    let (mut table, mut at) = (root, 4);
    while at > level {
        let value = read(entry(table, at, address));
        if value & PRESENT == 0 || value & LARGE != 0 {
            return Err(u64::from(span_bits(at)));
        }
        table = value & ADDRESS;
        at -= 1;
    }
    Ok(entry(table, level, address))
}

/// Checks that `cap`, argument number 1, is an assigned root of `kind`.
fn root_of(k: &Kernel, cap: Cap, kind: Kind) -> SysResult<Root> {
    let root = match (cap, kind) {
        (Cap::Pml4(r), Kind::Cpu) | (Cap::EptPml4(r), Kind::Nested) if r.asid != 0 => r,
        _ => return Err(SysError::InvalidCapability(1)),
    };
    match k.asids.root(root.asid) {
        None => Err(SysError::Lookup(false, LookupFailure::InvalidRoot)),
        Some(paddr) if paddr != root.paddr => Err(SysError::InvalidCapability(1)),
        Some(_) => Ok(root),
    }
}

fn mapping(kind: Kind, asid: u16, address: u64) -> Mapping {
    match kind {
        Kind::Cpu => Mapping::VSpace { asid, vaddr: address },
        Kind::Nested => Mapping::Ept { asid, gpa: address },
    }
}

/// Arguments of `Page_Map` and `Page_MapEPT`.
#[derive(Clone, Copy)]
pub struct MapFrame {
    /// Which kind of tables.
    pub kind: Kind,
    /// Virtual or guest-physical address.
    pub address: u64,
    /// Rights, of which those count that the capability has too.
    pub rights: CapRights,
    /// Memory type, as the ABI numbers it for this kind of tables.
    pub attributes: u64,
}

/// `Page_Map` and `Page_MapEPT`.
///
/// # Errors
/// In this order: InvalidCapability 1 (no root), FailedLookup; mapped elsewhere: InvalidCapability 0 (nested), IllegalOperation (in an I/O space),
/// InvalidCapability 1 (another space), InvalidArgument 0; InvalidArgument 0 (beyond the user's), AlignmentError, FailedLookup (missing level), DeleteFirst.
pub fn map_frame(k: &mut Kernel, slot: SlotRef, f: Frame, root: Cap, m: &MapFrame) -> SysResult {
    let MapFrame { kind, address, rights, attributes } = *m;
    let root = root_of(k, root, kind)?;
    let wanted = mapping(kind, root.asid, address);
    match f.mapping {
        Mapping::None => {}
        m if m == wanted => {}
        _ if kind == Kind::Nested => return Err(SysError::InvalidCapability(0)),
        Mapping::Io { .. } => return Err(SysError::IllegalOperation),
        Mapping::VSpace { asid, .. } | Mapping::Ept { asid, .. } if asid != root.asid => {
            return Err(SysError::InvalidCapability(1));
        }
        _ => return Err(SysError::InvalidArgument(0)),
    }
    if address > kind.limit() || address + f.size.bytes() > kind.limit() {
        return Err(SysError::InvalidArgument(0));
    }
    if address & (f.size.bytes() - 1) != 0 {
        return Err(SysError::Alignment);
    }
    let level = f.size as u8 + 1;
    let e = walk(root.paddr, level, address).map_err(SysError::MissingLevel)?;
    let old = read(e);
    let same = old & ADDRESS & !(1 << 12) == f.paddr & !(1 << 12) && f.mapping == wanted;
    if old & PRESENT != 0 && !same {
        return Err(SysError::DeleteFirst);
    }
    write(e, kind.leaf(f.paddr, f.size, f.rights.intersection(rights), attributes));
    if old & PRESENT != 0 {
        flush(k, kind, root, address);
    }
    slot.set(Cap::Frame(Frame { mapping: wanted, ..f }));
    Ok(())
}

/// Takes a frame capability's mapping back, wherever it is.
pub fn unmap_frame(k: &mut Kernel, f: Frame) {
    let (kind, asid, address) = match f.mapping {
        Mapping::None => return,
        Mapping::VSpace { asid, vaddr } => (Kind::Cpu, asid, vaddr),
        Mapping::Ept { asid, gpa } => (Kind::Nested, asid, gpa),
        Mapping::Io { rid, iova } => {
            #[cfg(target_os = "none")]
            crate::object::iospace::unmap_frame(rid, iova, f);
            let _ = (rid, iova);
            return;
        }
    };
    let Some(paddr) = k.asids.root(asid) else { return };
    let Ok(e) = walk(paddr, f.size as u8 + 1, address) else { return };
    let value = read(e);
    // Bit 12 is PAT in a large entry and address in a small one; frames larger than 4 KiB are aligned beyond it.
    let points_here = match f.size {
        FrameSize::Small => value & ADDRESS == f.paddr,
        _ => value & LARGE != 0 && value & ADDRESS & !(1 << 12) == f.paddr,
    };
    if value & PRESENT != 0 && points_here {
        write(e, 0);
        flush(k, kind, Root { paddr, asid }, address);
    }
}

/// Maps a paging structure.
///
/// # Errors
/// In this order: InvalidCapability 0 (mapped), InvalidCapability 1, FailedLookup, InvalidArgument 0, FailedLookup (missing level), DeleteFirst.
pub fn map_table(k: &mut Kernel, slot: SlotRef, t: Table, root: Cap, address: u64, kind: Kind) -> SysResult {
    if t.mapping != Mapping::None {
        return Err(SysError::InvalidCapability(0));
    }
    let root = root_of(k, root, kind)?;
    if address >= kind.limit() {
        return Err(SysError::InvalidArgument(0));
    }
    let e = walk(root.paddr, t.level + 1, address).map_err(SysError::MissingLevel)?;
    if read(e) & PRESENT != 0 {
        return Err(SysError::DeleteFirst);
    }
    write(e, kind.table(t.paddr));
    let base = address & !((1u64 << span_bits(t.level + 1)) - 1);
    let mapped = Table { mapping: mapping(kind, root.asid, base), ..t };
    slot.set(match kind {
        Kind::Cpu => Cap::Table(mapped),
        Kind::Nested => Cap::EptTable(mapped),
    });
    Ok(())
}

/// Takes a paging structure out of its address space and clears it.
pub fn unmap_table(k: &mut Kernel, t: Table, nested: bool) {
    let (Mapping::VSpace { asid, vaddr: address } | Mapping::Ept { asid, gpa: address }) = t.mapping else {
        return;
    };
    if let Some(root) = k.asids.root(asid)
        && let Ok(e) = walk(root, t.level + 1, address)
        && read(e) & (PRESENT | LARGE) == PRESENT
        && read(e) & ADDRESS == t.paddr
    {
        write(e, 0);
        asid::flush_all(k, Root { paddr: root, asid }, nested);
    }
    arch::clear_memory(t.paddr, 4096);
}

fn flush(k: &mut Kernel, kind: Kind, root: Root, address: u64) {
    match kind {
        Kind::Cpu => arch::flush_page(root, address),
        Kind::Nested => asid::flush_all(k, root, true),
    }
}
