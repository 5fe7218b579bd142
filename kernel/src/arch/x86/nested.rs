// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of nested tables, in the format of the virtualization backend; without one nobody ever walks them.

use sel4_abi::message::CapRights;

use crate::virt::{self, NestedSize};

/// An entry that points at a table.
pub fn entry_table(paddr: u64) -> u64 {
    virt::backend().map_or(paddr | 7, |b| b.table_entry(paddr))
}

/// An entry that maps a frame of 2^size_bits bytes.
pub fn entry_frame(paddr: u64, size_bits: u8, rights: CapRights, attributes: u64) -> u64 {
    let size = match size_bits {
        12 => NestedSize::Small,
        21 => NestedSize::Large,
        _ => NestedSize::Huge,
    };
    let large = if size_bits == 12 { 0 } else { 1 << 7 };
    virt::backend()
        .map_or(paddr | 7 | large, |b| b.leaf_entry(paddr, size, rights.read(), rights.write(), attributes))
}

/// Forgets every translation under the nested root.
pub fn flush(root: u64) {
    if let Some(b) = virt::backend() {
        b.flush_nested(root);
    }
}
