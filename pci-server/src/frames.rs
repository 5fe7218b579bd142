// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of BARs, made from device untypeds at the BARs' addresses.

use component::Memory;
use component::memory::node_of;
use component::mmio::Region;
use component::sel4::{Error, ObjectBlueprint, ObjectBlueprintX86, cap};
use heapless::Vec;
use pci::carve::{LARGE, SMALL, Window};
use serde::{Deserialize, Serialize};

/// Device untypeds that are used.
pub const MAX_WINDOWS: usize = 96;
/// Pages that accesses are forwarded to.
pub const MAX_PAGES: usize = 48;
/// Objects that one retype makes at most.
const RETYPE_MAX: u64 = 256;
/// Objects to be made before the watermark is where a frame is wanted: two for each size from 4 KiB on.
const MAX_FILLERS: usize = 96;

/// A device untyped.
struct Source {
    untyped: cap::Untyped,
    window: Window,
}

/// What has to be known of them after this server's death.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Held {
    /// Slots that were taken when the first life began to serve, and some that were given back.
    slots: u16,
    /// Physical addresses of the pages, and capabilities of their frames.
    pages: Vec<(u64, u64), MAX_PAGES>,
}

/// Device untypeds, and the pages that this server has mapped of them.
pub struct Frames {
    memory: Option<Memory>,
    sources: Vec<Source, MAX_WINDOWS>,
    pages: Vec<(u64, Region), MAX_PAGES>,
    /// For the life after this one.
    held: Held,
    /// Objects that only moved a watermark, to be deleted once a frame is behind it.
    fillers: Vec<u64, MAX_FILLERS>,
}

impl Frames {
    /// No frames yet.
    pub fn new(memory: Option<Memory>) -> Self {
        Self { memory, sources: Vec::new(), pages: Vec::new(), held: Held::default(), fillers: Vec::new() }
    }

    /// Adds a device untyped without children; those that don't fit aren't used.
    pub fn add(&mut self, untyped: u64, address: u64, size_bits: u8) {
        if let Some(window) = Window::new(address, size_bits) {
            let untyped = cap::Untyped::from_bits(untyped);
            let _ = self.sources.push(Source { untyped, window });
        }
    }

    /// All frames are made: what has to be known of them after this server's death.
    pub fn settled(&mut self) -> &Held {
        self.held.slots = self.memory.as_ref().map_or(0, |memory| memory.slots.end() as u16);
        &self.held
    }

    /// Whether a capability that was taken in the life before lies there.
    pub fn holds(&self, address: u64) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.slots.is_taken(address))
    }

    /// Takes over what the life before held. The tables by which the pages were mapped have gone.
    pub fn recover(&mut self, held: Held) -> Result<(), Error> {
        let memory = self.memory.as_mut().ok_or(Error::NotEnoughMemory)?;
        memory.slots.take_first(held.slots.into());
        for &(address, frame) in &held.pages {
            if !memory.slots.is_taken(frame) {
                return Err(Error::InvalidArgument);
            }
            let frame = cap::Granule::from_bits(frame);
            let _ = frame.frame_unmap();
            let region = memory.map_registers(frame, address)?;
            let _ = self.pages.push((address, region));
        }
        self.held = held;
        Ok(())
    }

    /// An empty slot; its capability address.
    pub fn slot(&mut self) -> Option<u64> {
        self.memory.as_mut()?.slots.take()
    }

    /// Takes back a slot that has stayed empty.
    pub fn give_back(&mut self, address: u64) {
        if let Some(memory) = &mut self.memory {
            memory.slots.give_back(address);
        }
    }

    /// The untypeds as they are.
    pub fn windows(&self) -> Vec<Window, MAX_WINDOWS> {
        self.sources.iter().map(|source| source.window).collect()
    }

    /// Makes `count` frames from physical address `address` on; the capability address of the first. Addresses must come
    /// in ascending order.
    pub fn make(&mut self, address: u64, count: u64, size_bits: u8) -> Result<u64, Error> {
        let reaches = |source: &Source| source.window.reaches(address, count << size_bits);
        let found = self.sources.iter().position(reaches).ok_or(Error::NotEnoughMemory)?;
        let slots = &mut self.memory.as_mut().ok_or(Error::NotEnoughMemory)?.slots;
        let first = slots.take_run(count as usize).ok_or(Error::NotEnoughMemory)?;
        self.advance(found, address)?;
        let blueprint = match size_bits {
            SMALL => ObjectBlueprintX86::_4k,
            LARGE => ObjectBlueprintX86::LargePage,
            _ => return Err(Error::InvalidArgument),
        };
        let source = &mut self.sources[found];
        let mut made = 0;
        while made < count {
            let now = (count - made).min(RETYPE_MAX);
            let (node, index) = node_of(first + made);
            source.untyped.untyped_retype(&ObjectBlueprint::Arch(blueprint), &node, index, now as usize)?;
            (0..now).for_each(|_| source.window.advance(size_bits));
            made += now;
        }
        // Now that there is a child that stays, those that only moved the watermark may go: without any child the untyped
        // would start over.
        while let Some(filler) = self.fillers.pop() {
            self.memory.as_mut().ok_or(Error::NotEnoughMemory)?.delete(filler)?;
        }
        Ok(first)
    }

    /// Moves an untyped's watermark to `address`.
    fn advance(&mut self, found: usize, address: u64) -> Result<(), Error> {
        let memory = self.memory.as_mut().ok_or(Error::NotEnoughMemory)?;
        let source = &mut self.sources[found];
        while let Some(size_bits) = source.window.filler(address) {
            let blueprint = ObjectBlueprint::Untyped { size_bits: size_bits.into() };
            let filler = memory.make_from(source.untyped, &blueprint)?;
            source.window.advance(size_bits);
            self.fillers.push(filler).map_err(|_| Error::NotEnoughMemory)?;
        }
        Ok(())
    }

    /// The number of the first of `count` pages that accesses can be forwarded to; the others' numbers follow.
    pub fn pages(&mut self, address: u64, count: u64) -> Result<u16, Error> {
        let first = self.page(address)?;
        for number in 1..count {
            if u64::from(self.page(address + (number << SMALL))?) != u64::from(first) + number {
                return Err(Error::RangeError);
            }
        }
        Ok(first)
    }

    /// The number of a page; made and mapped if it isn't yet.
    fn page(&mut self, address: u64) -> Result<u16, Error> {
        if let Some(number) = self.pages.iter().position(|(page, _)| *page == address) {
            return Ok(number as u16);
        }
        if self.pages.is_full() {
            return Err(Error::NotEnoughMemory);
        }
        let frame = cap::Granule::from_bits(self.make(address, 1, SMALL)?);
        let region = self.memory.as_mut().ok_or(Error::NotEnoughMemory)?.map_registers(frame, address)?;
        let _ = self.pages.push((address, region));
        let _ = self.held.pages.push((address, frame.bits()));
        Ok(self.pages.len() as u16 - 1)
    }

    /// The registers of a page.
    pub fn region(&self, page: u16) -> Option<&Region> {
        self.pages.get(usize::from(page)).map(|(_, region)| region)
    }
}
