// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part's own memory: objects from its untyped, in its empty slots, and what it maps itself.

use protocol::start::Range;
use sel4::{
    AbsoluteCPtr, CPtrWithDepth, Cap, CapRights, CapTypeForFrameObject, CapTypeForFrameObjectOfFixedSize,
    CapTypeForObjectOfFixedSize, Error, ObjectBlueprint, VmAttributes, cap_type,
};

use crate::mmio::Region;
use crate::part::slot;
use crate::slots::Slots;
use crate::vspace::Level;

/// Where a part maps registers itself: above those that the root task mapped.
const DEVICES: usize = 0x3000_0000;
/// End of that.
const DEVICES_END: usize = 0x8000_0000;
/// Bits of an address in a second-level CNode.
const INDEX_BITS: usize = 16;

/// The part's empty slots, its untyped, and addresses for registers. There is one.
#[derive(Debug)]
pub struct Memory {
    /// The empty slots.
    pub slots: Slots,
    next_address: usize,
}

/// The slot at capability address `address`, as a destination or source of CNode operations.
pub fn slot_at(address: u64) -> AbsoluteCPtr {
    slot::CNODE.absolute_cptr(sel4::CPtr::from_bits(address))
}

/// The CNode that capability address `address` leads to, as the destination of a retype, and the slot's index in it.
pub fn node_of(address: u64) -> (AbsoluteCPtr, usize) {
    let node = CPtrWithDepth::from_bits_with_depth(address >> INDEX_BITS, sel4::WORD_SIZE - INDEX_BITS);
    (AbsoluteCPtr::new(slot::CNODE, node), (address & ((1 << INDEX_BITS) - 1)) as usize)
}

impl Memory {
    pub(crate) fn new(empty: Range) -> Self {
        Self { slots: Slots::new(empty.first, empty.count as usize), next_address: DEVICES }
    }

    /// Makes an object of a fixed size from the part's untyped.
    pub fn make<T: CapTypeForObjectOfFixedSize>(&mut self) -> Result<Cap<T>, Error> {
        self.make_from(slot::UNTYPED, &T::BLUEPRINT).map(Cap::from_bits)
    }

    /// Makes an object from `untyped`; its capability address.
    pub fn make_from(
        &mut self,
        untyped: sel4::cap::Untyped,
        blueprint: &ObjectBlueprint,
    ) -> Result<u64, Error> {
        let address = self.slots.take().ok_or(Error::NotEnoughMemory)?;
        let (node, index) = node_of(address);
        untyped.untyped_retype(blueprint, &node, index, 1).inspect_err(|_| self.slots.give_back(address))?;
        Ok(address)
    }

    /// Deletes the capability at `address`, and takes the slot back if it is one of the part's empty ones.
    pub fn delete(&mut self, address: u64) -> Result<(), Error> {
        slot_at(address).delete()?;
        self.slots.give_back(address);
        Ok(())
    }

    /// Maps `frame` at `address` of the part, with the tables that it takes.
    pub fn map<T: CapTypeForFrameObject>(
        &mut self,
        frame: Cap<T>,
        address: usize,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Error> {
        loop {
            match frame.frame_map(slot::VSPACE, address, rights, attributes) {
                Err(Error::FailedLookup) => self.add_table(address)?,
                other => return other,
            }
        }
    }

    /// Maps a device frame, uncacheable, at the next free address; `physical` is where it lies.
    pub fn map_registers<T: CapTypeForFrameObjectOfFixedSize>(
        &mut self,
        frame: Cap<T>,
        physical: u64,
    ) -> Result<Region, Error> {
        let bytes = 1usize << T::SIZE_BITS;
        let address = self.next_address.next_multiple_of(bytes);
        if address + bytes > DEVICES_END {
            return Err(Error::NotEnoughMemory);
        }
        self.map(frame, address, CapRights::read_write(), VmAttributes::UNCACHEABLE)?;
        self.next_address = address + bytes;
        // SAFETY: just mapped, at an address that is used once. Whoever takes the frame away again turns accesses into
        // faults, which end the part; it is never memory of the part's own.
        unsafe { Region::new(address, bytes, physical) }.ok_or(Error::InvalidArgument)
    }

    fn add_table(&mut self, address: usize) -> Result<(), Error> {
        let level = sel4::with_ipc_buffer(|buffer| Level::from_word(buffer.msg_regs()[2]));
        let attributes = VmAttributes::DEFAULT;
        match level.ok_or(Error::FailedLookup)? {
            Level::PageTable => {
                self.make::<cap_type::PageTable>()?.page_table_map(slot::VSPACE, address, attributes)
            }
            Level::PageDirectory => {
                self.make::<cap_type::PageDirectory>()?.page_directory_map(slot::VSPACE, address, attributes)
            }
            Level::Pdpt => self.make::<cap_type::Pdpt>()?.pdpt_map(slot::VSPACE, address, attributes),
        }
    }
}
