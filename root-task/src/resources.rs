// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root task's own resources: slots, untyped memory, its address space.

use alloc::vec::Vec;

use root_task::layout::{LARGE, PAGE};
use root_task::need::Need;
use root_task::pieces::{Piece, Pieces, SMALLEST, Split, chunks};
use root_task::slots::Slots;
use sel4::init_thread::slot;
use sel4::{
    AbsoluteCPtr, BootInfoPtr, Cap, CapRights, CapType, CapTypeForFrameObject, Error, ObjectBlueprint,
    ObjectBlueprintX86, VmAttributes, cap, cap_type,
};

use crate::failure::{During, Failure};
use crate::raw;

/// Where the root task maps pages for a moment.
const SCRATCH: usize = 0x10_0000_0000;
/// Where it maps large pages for a moment.
const LARGE_SCRATCH: usize = 0x10_4000_0000;
/// Log2 of the bytes of the largest piece that anything is made of.
const LARGEST_PIECE: u8 = 30;
/// Log2 of the bytes of a large page.
const LARGE_BITS: u8 = LARGE.ilog2() as u8;

/// The slot of the root task's CNode with this index.
pub fn at(index: usize) -> AbsoluteCPtr {
    slot::CNODE.cap().absolute_cptr(sel4::CPtr::from_bits(index as u64))
}

/// The capability in the root task's slot with this index.
pub const fn in_slot<T: CapType>(index: usize) -> Cap<T> {
    Cap::from_bits(index as u64)
}

/// Untyped memory that objects are made from, and the slots of what was made. Taken back as a whole.
#[derive(Debug, Default)]
pub struct Arena {
    /// What it is made of.
    pub pieces: Vec<Piece>,
    /// Slots of the root task with capabilities to its objects.
    pub used: Vec<usize>,
}

/// What the root task has to give.
pub struct Resources {
    /// Empty slots.
    pub slots: Slots,
    /// Slots of the root task's CNode, full and empty.
    pub slot_count: usize,
    /// RAM.
    pub ram: Pieces,
    /// Device memory.
    pub device: Pieces,
    /// For the root task's own objects.
    pub own: Arena,
}

struct Splitter<'a>(&'a mut Slots);

impl Split for Splitter<'_> {
    type Error = Failure;
    fn split(&mut self, untyped: usize, half_bits: u8) -> Result<[usize; 2], Failure> {
        let first = self.0.take_run(2).during("no slots are left to split memory")?;
        retype(untyped, &ObjectBlueprint::Untyped { size_bits: half_bits.into() }, first, 2)
            .during("splitting memory")?;
        Ok([first, first + 1])
    }
}

fn retype(untyped: usize, blueprint: &ObjectBlueprint, first: usize, count: usize) -> sel4::Result<()> {
    let here = slot::CNODE.cap().absolute_cptr_for_self();
    in_slot::<cap_type::Untyped>(untyped).untyped_retype(blueprint, &here, first, count)
}

impl Resources {
    /// From the boot information. `own_bits` is the size of what the root task keeps for itself.
    pub fn new(bootinfo: &BootInfoPtr, own_bits: u8) -> Result<Self, Failure> {
        let mut resources = Self {
            slots: Slots::new(bootinfo.empty()),
            slot_count: 1 << bootinfo.init_cnode_size_bits(),
            ram: Pieces::new(),
            device: Pieces::new(),
            own: Arena::default(),
        };
        for (slot, desc) in bootinfo.untypeds() {
            let piece = Piece { address: desc.paddr, bits: desc.size_bits, slot: slot.index() };
            if desc.is_device != 0 {
                resources.device.add(piece);
            } else {
                resources.ram.add(piece);
            }
        }
        let own = resources.ram.take(own_bits, &mut Splitter(&mut resources.slots))?;
        resources.own.pieces.push(own.ok_or(resources.short_of(0, 1 << own_bits))?);
        Ok(resources)
    }

    /// Takes a slot.
    pub fn slot(&mut self) -> Result<usize, Failure> {
        self.slots.take().during("no slots are left")
    }

    /// Takes memory for what a part is made of; `None` if there isn't enough.
    pub fn arena(&mut self, need: &Need) -> Result<Option<Arena>, Failure> {
        self.take_ram(chunks(need.bytes(), LARGEST_PIECE, SMALLEST), need.largest())
    }

    /// Takes memory for a guest's RAM; `None` if there isn't enough.
    pub fn guest_ram(&mut self, bytes: u64) -> Result<Option<Arena>, Failure> {
        self.take_ram(chunks(bytes, LARGEST_PIECE, LARGE_BITS), LARGE_BITS)
    }

    fn take_ram(&mut self, wanted: Vec<u8>, down_to: u8) -> Result<Option<Arena>, Failure> {
        let taken = self.ram.take_all(wanted, down_to, &mut Splitter(&mut self.slots))?;
        Ok(taken.map(|pieces| Arena { pieces, used: Vec::new() }))
    }

    /// Gives back memory from which nothing was made.
    pub fn give_back(&mut self, arena: Arena) {
        arena.pieces.into_iter().for_each(|piece| self.ram.add(piece));
    }

    /// What to say when so many bytes of RAM and beside it aren't there.
    pub fn short_of(&self, ram: u64, beside: u64) -> Failure {
        Failure::Memory { ram, beside, free: self.ram.bytes(), large: self.ram.bytes_in(LARGE_BITS) }
    }

    /// Takes the 2^`bits` bytes of device memory at `address`.
    pub fn take_device(&mut self, address: u64, bits: u8) -> Result<Piece, Failure> {
        let piece = self.device.take_at(address, bits, &mut Splitter(&mut self.slots))?;
        piece.during("device memory is missing, or was given to someone else")
    }

    /// Takes all device memory in `address..end`.
    pub fn take_device_range(&mut self, address: u64, end: u64) -> Result<Vec<Piece>, Failure> {
        self.device.take_range(address, end, &mut Splitter(&mut self.slots))
    }

    /// Makes `count` objects in slots that follow each other; the first slot.
    pub fn make(
        &mut self,
        arena: &mut Arena,
        blueprint: ObjectBlueprint,
        count: usize,
    ) -> Result<usize, Failure> {
        let first = match count {
            1 => self.slots.take(),
            _ => self.slots.take_run(count),
        }
        .during("no slots are left")?;
        // A retype takes at most 256 objects.
        for done in (0..count).step_by(256) {
            let n = (count - done).min(256);
            self.make_at(arena, &blueprint, first + done, n)?;
        }
        arena.used.extend(first..first + count);
        Ok(first)
    }

    fn make_at(
        &mut self,
        arena: &Arena,
        blueprint: &ObjectBlueprint,
        first: usize,
        n: usize,
    ) -> Result<(), Failure> {
        let mut result = Err(Error::NotEnoughMemory);
        for piece in &arena.pieces {
            result = retype(piece.slot, blueprint, first, n);
            if result != Err(Error::NotEnoughMemory) {
                return result.during("making objects");
            }
        }
        if n == 1 {
            return result.during("making an object");
        }
        // Where the whole run fits nowhere, its objects may.
        (first..first + n).try_for_each(|slot| self.make_at(arena, blueprint, slot, 1))
    }

    /// As [`make`](Self::make), from the root task's own memory.
    pub fn make_own(&mut self, blueprint: ObjectBlueprint, count: usize) -> Result<usize, Failure> {
        let mut own = core::mem::take(&mut self.own);
        let made = self.make(&mut own, blueprint, count);
        self.own = own;
        made
    }

    /// Makes the frame of 2^`bits` bytes of device memory at `address`.
    pub fn device_frame(&mut self, address: u64, bits: u8) -> Result<usize, Failure> {
        let piece = self.take_device(address, bits)?;
        let frame = self.slot()?;
        let blueprint = if bits == 12 { ObjectBlueprintX86::_4k } else { ObjectBlueprintX86::LargePage };
        retype(piece.slot, &blueprint.into(), frame, 1).during("making a device frame")?;
        Ok(frame)
    }

    /// Maps the frame in `frame` into the address space in `vspace`, with tables from `arena`.
    pub fn map<T: CapTypeForFrameObject>(
        &mut self,
        arena: &mut Arena,
        vspace: cap::VSpace,
        frame: Cap<T>,
        address: usize,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Failure> {
        loop {
            match frame.frame_map(vspace, address, rights, attributes) {
                Err(Error::FailedLookup) => self.add_table(arena, vspace, address)?,
                other => return other.during("mapping a frame"),
            }
        }
    }

    fn add_table(&mut self, arena: &mut Arena, vspace: cap::VSpace, address: usize) -> Result<(), Failure> {
        // Message word 2 tells the missing level as log2 of what an entry of the level above covers.
        let level = sel4::with_ipc_buffer(|buffer| buffer.msg_regs()[2]);
        let plain = VmAttributes::DEFAULT;
        match level {
            21 => {
                let table = self.make(arena, ObjectBlueprintX86::PageTable.into(), 1)?;
                in_slot::<cap_type::PageTable>(table).page_table_map(vspace, address, plain)
            }
            30 => {
                let table = self.make(arena, ObjectBlueprintX86::PageDirectory.into(), 1)?;
                in_slot::<cap_type::PageDirectory>(table).page_directory_map(vspace, address, plain)
            }
            39 => {
                let table = self.make(arena, ObjectBlueprintX86::Pdpt.into(), 1)?;
                in_slot::<cap_type::Pdpt>(table).pdpt_map(vspace, address, plain)
            }
            _ => return Err(Failure::new("mapping a frame: the address space has no such address")),
        }
        .during("mapping a table")
    }

    /// Maps into the root task's own address space.
    pub fn map_own<T: CapTypeForFrameObject>(
        &mut self,
        frame: Cap<T>,
        address: usize,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<(), Failure> {
        let mut own = core::mem::take(&mut self.own);
        let mapped = self.map(&mut own, slot::VSPACE.cap(), frame, address, rights, attributes);
        self.own = own;
        mapped
    }

    /// Writes `bytes` at `offset` of the unmapped page in `frame`.
    pub fn write_page(&mut self, frame: usize, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        debug_assert!(offset + bytes.len() <= PAGE);
        self.write(in_slot::<cap_type::_4k>(frame), SCRATCH, offset, bytes)
    }

    /// Fills the page in `frame`, which may be mapped elsewhere, with zeros, and writes `bytes` at `offset`.
    pub fn rewrite_page(&mut self, frame: usize, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        let mut page = [0; PAGE];
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
        let copy = self.slot()?;
        at(copy).copy(&at(frame), CapRights::all()).during("copying a frame")?;
        let written = self.write_page(copy, 0, &page);
        at(copy).delete().during("clearing a slot")?;
        self.slots.give_back(copy);
        written
    }

    /// Writes `bytes` at `offset` of the unmapped large page in `frame`.
    pub fn write_large_page(&mut self, frame: usize, offset: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.write(in_slot::<cap_type::LargePage>(frame), LARGE_SCRATCH, offset, bytes)
    }

    fn write<T: CapTypeForFrameObject>(
        &mut self,
        frame: Cap<T>,
        address: usize,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.map_own(frame, address, CapRights::read_write(), VmAttributes::DEFAULT)?;
        // SAFETY: the frame was just mapped there, and the callers keep within its size; nothing else lies there.
        #[allow(unsafe_code)]
        unsafe {
            raw::fill(address + offset, bytes);
        }
        frame.frame_unmap().during("unmapping a page")
    }

    /// Takes back everything that was made from the arena. Whoever still runs in it is stopped by that.
    pub fn reclaim(&mut self, arena: Arena) -> Result<(), Failure> {
        for piece in &arena.pieces {
            at(piece.slot).revoke().during("revoking memory")?;
        }
        for slot in arena.used {
            // What was only shared with the arena (a ring's frames, an endpoint) did not go with it.
            at(slot).delete().during("clearing a slot")?;
            self.slots.give_back(slot);
        }
        self.give_back(Arena { pieces: arena.pieces, used: Vec::new() });
        Ok(())
    }
}
