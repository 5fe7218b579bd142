// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a capability is, as four words (extension X5, `docs/abi.md`): for programs that look who holds what.

use sel4_abi::describe as word;
use sel4_abi::message::CapRights;

use crate::cap::{Cap, Mapping, Slot};

/// The words that describe the capability in `slot`; all zero for an empty slot.
pub fn describe(slot: &Slot) -> [u64; word::WORDS] {
    let cap = slot.cap();
    let mut facts = Facts { tag: slot.raw().tag(), address: slot.raw().paddr(), ..Facts::default() };
    match cap {
        Cap::Untyped(untyped) => {
            facts.size_bits = untyped.size_bits;
            facts.extra = untyped.device.into();
        }
        Cap::Endpoint { badge, rights, .. } | Cap::Notification { badge, rights, .. } => {
            facts.rights = rights;
            facts.word = badge;
        }
        Cap::Reply { grant, .. } => facts.rights = CapRights(u64::from(grant) << 2),
        Cap::CNode(node) => {
            facts.size_bits = node.radix;
            facts.extra = node.guard_bits;
            facts.word = node.guard;
        }
        Cap::SchedContext { size_bits, .. } => facts.size_bits = size_bits,
        Cap::SchedControl { core } => facts.word = core.into(),
        Cap::Frame(frame) => {
            facts.size_bits = frame.size.bits() as u8;
            facts.extra = frame.device.into();
            facts.rights = frame.rights;
            facts.mapping = frame.mapping;
        }
        Cap::Table(table) | Cap::EptTable(table) => {
            facts.word = table.level.into();
            facts.mapping = table.mapping;
        }
        Cap::Pml4(root) if root.asid != 0 => facts.mapping = Mapping::VSpace { asid: root.asid, vaddr: 0 },
        Cap::EptPml4(root) if root.asid != 0 => facts.mapping = Mapping::Ept { asid: root.asid, gpa: 0 },
        Cap::AsidPool { index, .. } => facts.word = index.into(),
        Cap::IrqHandler(irq) => facts.word = irq.into(),
        Cap::IoPort { first, last, .. } => facts.word = u64::from(first) | u64::from(last) << 16,
        Cap::IoSpace { rid, domain } => {
            facts.word = domain.into();
            facts.mapping = Mapping::Io { rid, iova: 0 };
        }
        Cap::IoPageTable(table) => {
            facts.word = table.level.into();
            facts.mapping = table.mapped().map_or(Mapping::None, |(rid, iova)| Mapping::Io { rid, iova });
        }
        // All is said by tag and address; of what is being deleted nothing more is of use.
        _ => {}
    }
    facts.words()
}

#[derive(Clone, Copy)]
struct Facts {
    tag: u8,
    rights: CapRights,
    size_bits: u8,
    extra: u8,
    address: u64,
    word: u64,
    mapping: Mapping,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            tag: 0,
            rights: CapRights::NONE,
            size_bits: 0,
            extra: 0,
            address: 0,
            word: 0,
            mapping: Mapping::None,
        }
    }
}

impl Facts {
    fn words(self) -> [u64; word::WORDS] {
        let (kind, space, mapped) = match self.mapping {
            Mapping::None => (word::MAPPED_NOWHERE, 0, 0),
            Mapping::VSpace { asid, vaddr } => (word::MAPPED_VSPACE, asid, vaddr),
            Mapping::Ept { asid, gpa } => (word::MAPPED_EPT, asid, gpa),
            Mapping::Io { rid, iova } => (word::MAPPED_IO, rid, iova),
        };
        let first = u64::from(self.tag)
            | (self.rights.0 & 15) << word::RIGHTS_SHIFT
            | u64::from(self.size_bits) << word::SIZE_SHIFT
            | u64::from(self.extra) << word::EXTRA_SHIFT
            | u64::from(kind) << word::MAPPING_SHIFT
            | u64::from(space) << word::SPACE_SHIFT;
        [first, self.address, self.word, mapped]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::{Frame, FrameSize, IoTable, Made, Root, Untyped};
    use sel4_abi::object::tag;

    fn words(cap: Cap) -> [u64; 4] {
        let slot = Slot::empty();
        slot.set(cap);
        describe(&slot)
    }

    #[test]
    fn an_empty_slot_is_all_zero() {
        assert_eq!(words(Cap::Null), [0; 4]);
    }

    #[test]
    fn memory_says_where_how_large_and_whose() {
        let mapping = Mapping::Ept { asid: 7, gpa: 0x1234_5000 };
        let frame =
            Frame { paddr: 0x20_0000, size: FrameSize::Large, device: true, rights: CapRights(3), mapping };
        let first = u64::from(tag::FRAME) | 3 << 8 | 21 << 16 | 1 << 24 | 2 << 32 | 7 << 48;
        assert_eq!(words(Cap::Frame(frame)), [first, 0x20_0000, 0, 0x1234_5000]);
        let untyped = Untyped {
            paddr: 0x40_0000,
            size_bits: 22,
            device: false,
            watermark: 0x1000,
            cleared: 3,
            made: Made::Zeros,
        };
        assert_eq!(words(Cap::Untyped(untyped)), [u64::from(tag::UNTYPED) | 22 << 16, 0x40_0000, 0, 0]);
    }

    #[test]
    fn what_has_no_memory_says_which_it_is() {
        assert_eq!(words(Cap::IrqHandler(77)), [u64::from(tag::IRQ_HANDLER), 0, 77, 0]);
        let ports = words(Cap::IoPort { first: 0x3f8, last: 0x3ff, map: 5 });
        assert_eq!(ports, [u64::from(tag::IO_PORT), 0, 0x3ff_03f8, 0]);
        let space = words(Cap::IoSpace { rid: 0x100, domain: 4 });
        assert_eq!(space, [u64::from(tag::IO_SPACE) | 3 << 32 | 0x100 << 48, 0, 4, 0]);
    }

    #[test]
    fn tables_say_where_they_are_mapped() {
        let root = words(Cap::Pml4(Root { paddr: 0x3000, asid: 9 }));
        assert_eq!(root, [u64::from(tag::PML4) | 1 << 32 | 9 << 48, 0x3000, 0, 0]);
        assert_eq!(words(Cap::EptPml4(Root { paddr: 0x3000, asid: 0 })), [29, 0x3000, 0, 0]);
        let table = IoTable { paddr: 0x6000, level: 2, place: Some((0x100, 0x4000_0000)), parked: false };
        let first = u64::from(tag::IO_PAGE_TABLE) | 3 << 32 | 0x100 << 48;
        assert_eq!(words(Cap::IoPageTable(table)), [first, 0x6000, 2, 0x4000_0000]);
        let parked = IoTable { parked: true, ..table };
        assert_eq!(words(Cap::IoPageTable(parked)), [u64::from(tag::IO_PAGE_TABLE), 0x6000, 2, 0]);
    }
}
