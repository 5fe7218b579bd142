// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of `CNode_Describe` (extension X5).

/// Words of the reply: kind and the like, physical address, data, address at which it is mapped.
pub const WORDS: usize = 4;

/// Word 0: bits 0 to 8 are the type tag (`object::tag`); the rights from this bit on, eight bits.
pub const RIGHTS_SHIFT: u32 = 8;
/// Log2 of the bytes of frames, untyped memory and scheduling contexts, of the slots of CNodes. Eight bits.
pub const SIZE_SHIFT: u32 = 16;
/// 1 for device memory; of a CNode the bits of its guard. Eight bits.
pub const EXTRA_SHIFT: u32 = 24;
/// Where it is mapped, one of `MAPPED_*`. Two bits.
pub const MAPPING_SHIFT: u32 = 32;
/// The identifier of the address space, or the requester ID. Sixteen bits.
pub const SPACE_SHIFT: u32 = 48;

/// Not mapped.
pub const MAPPED_NOWHERE: u8 = 0;
/// In a CPU address space; of its top-level table: it has an identifier.
pub const MAPPED_VSPACE: u8 = 1;
/// In nested tables.
pub const MAPPED_EPT: u8 = 2;
/// In the I/O space of a requester.
pub const MAPPED_IO: u8 = 3;
