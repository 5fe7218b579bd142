// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of devices, with and without interrupt remapping (extension X3).

use super::{apic, ioapic};
use crate::error::{SysError, SysResult};
use crate::iommu;

/// Lets messages of the requester through. With remapping on, `handle` is the index of the entry to write, which is returned.
///
/// # Errors
/// RangeError past the table, RevokeFirst for an entry in use.
pub fn remap_message(rid: u16, handle: u64, vector: u8) -> SysResult<Option<u16>> {
    let info = iommu::info();
    if !info.interrupt_remapping {
        return Ok(None);
    }
    if handle >= u64::from(info.irte_count) {
        return Err(SysError::Range(0, u64::from(info.irte_count) - 1));
    }
    let index = handle as u16;
    if ioapic::owns_irte(index) || iommu::irte_in_use(index) {
        return Err(SysError::RevokeFirst);
    }
    iommu::set_irte(index, rid, vector, apic::id() as u8, false);
    Ok(Some(index))
}

/// Blocks or unblocks an entry.
pub fn block_message(index: u16, blocked: bool) {
    iommu::block_irte(index, blocked);
}
