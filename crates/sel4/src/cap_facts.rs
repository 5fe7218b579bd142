// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a capability is, as the kernel describes it (extension X5).

use sel4_abi::describe as word;

use crate::{CapRights, Word};

/// Where a capability is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CapMapping {
    /// Nowhere.
    #[default]
    None,
    /// In the CPU address space with this identifier, at this address.
    VSpace(u16, Word),
    /// In the nested tables with this identifier, at this guest-physical address.
    Ept(u16, Word),
    /// In the I/O space of this requester, at this I/O virtual address.
    Io(u16, Word),
}

/// A capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapFacts {
    /// Its kind (`abi::object::tag`), 0 for an empty slot.
    pub tag: u8,
    /// Rights, where it has such.
    pub rights: u8,
    /// Log2 of the bytes (frames, untyped memory, scheduling contexts) or slots (CNodes).
    pub size_bits: u8,
    /// Device memory.
    pub device: bool,
    /// Physical address of the object.
    pub address: Word,
    /// A badge, a CNode's guard, an interrupt's number, ports (first, last << 16), an I/O space's domain.
    pub word: Word,
    /// Where it is mapped. Of top-level tables and I/O spaces: which space they are, at address 0.
    pub mapping: CapMapping,
}

impl CapFacts {
    pub(crate) fn from_words([first, address, data, mapped]: [Word; word::WORDS]) -> Self {
        let space = (first >> word::SPACE_SHIFT) as u16;
        let mapping = match (first >> word::MAPPING_SHIFT) as u8 & 3 {
            word::MAPPED_VSPACE => CapMapping::VSpace(space, mapped),
            word::MAPPED_EPT => CapMapping::Ept(space, mapped),
            word::MAPPED_IO => CapMapping::Io(space, mapped),
            _ => CapMapping::None,
        };
        let tag = first as u8;
        Self {
            tag,
            rights: (first >> word::RIGHTS_SHIFT) as u8,
            size_bits: (first >> word::SIZE_SHIFT) as u8,
            device: tag != sel4_abi::object::tag::CNODE && (first >> word::EXTRA_SHIFT) as u8 & 1 != 0,
            address,
            word: data,
            mapping,
        }
    }

    /// Whether it can be written through.
    pub fn is_writable(&self) -> bool {
        self.rights & CapRights::write_only().into_word() as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sel4_abi::object::tag;

    #[test]
    fn words_are_taken_apart() {
        let first = Word::from(tag::FRAME) | 3 << 8 | 21 << 16 | 1 << 24 | 2 << 32 | 7 << 48;
        let facts = CapFacts::from_words([first, 0x20_0000, 5, 0x1000]);
        let expected = CapFacts {
            tag: tag::FRAME,
            rights: 3,
            size_bits: 21,
            device: true,
            address: 0x20_0000,
            word: 5,
            mapping: CapMapping::Ept(7, 0x1000),
        };
        assert_eq!(facts, expected);
        assert!(facts.is_writable());
        assert!(!CapFacts { rights: 2, ..facts }.is_writable());
        assert_eq!(CapFacts::from_words([0; 4]), CapFacts::default());
    }
}
