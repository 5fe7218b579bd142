// SPDX-License-Identifier: MIT OR Apache-2.0
//! Untyped memory, frames, paging structures.

use sel4_abi::label;
use sel4_abi::message::CapRights;

use super::Invocation;
use crate::cap::{Cap, Frame, Mapping, Table, Untyped};
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;
use crate::object::untyped::{self, Retype};
use crate::vspace::{self, Kind, MapFrame};

/// Methods of untyped memory.
pub fn untyped(k: &mut Kernel, i: &Invocation, u: Untyped) -> SysResult<usize> {
    if i.label != label::UNTYPED_RETYPE {
        return Err(SysError::IllegalOperation);
    }
    i.need(6, 1)?;
    let args = Retype {
        object: i.arg(0),
        size_bits: i.arg(1),
        node_index: i.arg(2),
        node_depth: i.arg(3),
        node_offset: i.arg(4),
        count: i.arg(5),
    };
    untyped::retype(k, i.slot, u, i.cap(0)?, &args)?;
    Ok(0)
}

/// Methods of a frame.
pub fn frame(k: &mut Kernel, i: &Invocation, f: Frame) -> SysResult<usize> {
    match i.label {
        label::X86_PAGE_MAP | label::X86_PAGE_MAP_EPT => {
            i.need(3, 1)?;
            let kind = if i.label == label::X86_PAGE_MAP { Kind::Cpu } else { Kind::Nested };
            let rights = CapRights(i.arg(1) & 15);
            let m = MapFrame { kind, address: i.arg(0), rights, attributes: i.arg(2) };
            vspace::map_frame(k, i.slot, f, i.cap(0)?, &m)?;
        }
        label::X86_PAGE_UNMAP => {
            vspace::unmap_frame(k, f);
            i.slot.set(Cap::Frame(Frame { mapping: Mapping::None, ..f }));
        }
        #[cfg(target_os = "none")]
        label::X86_PAGE_MAP_IO => return crate::object::iospace::page_map_io(k, i, f),
        label::X86_PAGE_GET_ADDRESS => return Ok(i.reply(&[f.paddr])),
        _ => return Err(SysError::IllegalOperation),
    }
    Ok(0)
}

/// Methods of a paging structure.
pub fn table(k: &mut Kernel, i: &Invocation, t: Table, nested: bool) -> SysResult<usize> {
    let (map, unmap) = match (t.level, nested) {
        (1, false) => (label::X86_PAGE_TABLE_MAP, label::X86_PAGE_TABLE_UNMAP),
        (2, false) => (label::X86_PAGE_DIRECTORY_MAP, label::X86_PAGE_DIRECTORY_UNMAP),
        (_, false) => (label::X86_PDPT_MAP, label::X86_PDPT_UNMAP),
        (1, true) => (label::X86_EPT_PT_MAP, label::X86_EPT_PT_UNMAP),
        (2, true) => (label::X86_EPT_PD_MAP, label::X86_EPT_PD_UNMAP),
        (_, true) => (label::X86_EPT_PDPT_MAP, label::X86_EPT_PDPT_UNMAP),
    };
    let kind = if nested { Kind::Nested } else { Kind::Cpu };
    if i.label == map {
        i.need(2, 1)?;
        vspace::map_table(k, i.slot, t, i.cap(0)?, i.arg(0), kind)?;
    } else if i.label == unmap {
        // With a second capability to it the structure might stay mapped behind this one's back.
        if !crate::cdt::is_final(i.slot) {
            return Err(SysError::RevokeFirst);
        }
        vspace::unmap_table(k, t, nested);
        let unmapped = Table { mapping: Mapping::None, ..t };
        i.slot.set(if nested { Cap::EptTable(unmapped) } else { Cap::Table(unmapped) });
    } else {
        return Err(SysError::IllegalOperation);
    }
    Ok(0)
}
