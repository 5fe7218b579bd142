// SPDX-License-Identifier: MIT OR Apache-2.0
//! Changes of a unit's tables, in the order that hardware needs (sections 6.5 and 6.8).
//!
//! Making an entry present: complete what it points to, flush it, write the entry, flush that. Nothing needs to be
//! invalidated, unless the unit caches absent entries (caching mode).
//!
//! Making an entry absent: write, flush, invalidate what was cached, wait. Only when the method has returned may what
//! the entry pointed to be used for something else.

use crate::context::ContextEntry;
use crate::descriptor::{Descriptor, IotlbScope};
use crate::irte::Irte;
use crate::pte::{self, Access, Pte};
use crate::{Capability, Conflict, ExtendedCapability, PAGE_BYTES, Sink, Space};

/// What of a unit decides about the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// The unit's table reads see the processors' caches.
    pub coherent_walks: bool,
    /// The unit caches absent entries too.
    pub caching_mode: bool,
    /// The write buffer has to be drained by command.
    pub write_buffer: bool,
    /// Invalidations can wait for reads in flight.
    pub drain_reads: bool,
    /// Invalidations can wait for writes in flight.
    pub drain_writes: bool,
    /// Logarithm of the pages that one page-selective invalidation takes.
    pub page_selective: Option<u8>,
}

impl Traits {
    /// What a unit says of itself.
    pub fn of(cap: Capability, ext: ExtendedCapability) -> Traits {
        Traits {
            coherent_walks: ext.coherent_walks(),
            caching_mode: cap.caching_mode(),
            write_buffer: cap.needs_write_buffer_flush(),
            drain_reads: cap.read_draining(),
            drain_writes: cap.write_draining(),
            page_selective: cap.page_selective(),
        }
    }

    /// Traits that are right for two units at once, for the interrupt table that they share. About IOTLBs, which
    /// aren't shared, they say the least.
    pub fn shared(self, other: Traits) -> Traits {
        Traits {
            coherent_walks: self.coherent_walks && other.coherent_walks,
            caching_mode: self.caching_mode || other.caching_mode,
            write_buffer: self.write_buffer || other.write_buffer,
            drain_reads: self.drain_reads && other.drain_reads,
            drain_writes: self.drain_writes && other.drain_writes,
            page_selective: None,
        }
    }
}

/// Changes that go to one sink in the order that the traits ask for.
pub struct Changes<'s, S: Sink> {
    sink: &'s mut S,
    traits: Traits,
}

impl<'s, S: Sink> Changes<'s, S> {
    /// Changes of the unit behind `sink`.
    pub fn new(sink: &'s mut S, traits: Traits) -> Changes<'s, S> {
        Changes { sink, traits }
    }

    /// Forgets everything cached about DMA, after the root table's address was set (section 6.6): contexts first,
    /// since an IOTLB entry could be made anew from a stale one.
    pub fn forget_all_dma(&mut self) {
        self.submit_and_wait(Descriptor::ContextGlobal);
        self.submit_and_wait(self.iotlb(IotlbScope::Global));
    }

    /// Forgets all cached interrupt remapping entries, after the table's address was set (section 6.7).
    pub fn forget_all_interrupts(&mut self) {
        self.submit_and_wait(Descriptor::InterruptGlobal);
    }

    /// Reads a requester's context entry.
    pub fn context(&mut self, context_table: u64, requester: u16) -> ContextEntry {
        let address = ContextEntry::address(context_table, requester);
        ContextEntry { low: self.sink.load(address), high: self.sink.load(address + 8) }
    }

    /// Gives a requester, whose entry is absent, its tables. The root table has to be filled with absent entries.
    pub fn set_context(&mut self, context_table: u64, requester: u16, space: Space) {
        let address = ContextEntry::address(context_table, requester);
        let entry = ContextEntry::new(space.domain, space.root, space.levels);
        self.flush(space.root, PAGE_BYTES);
        // The half with the present bit comes last.
        self.sink.store(address + 8, entry.high);
        self.sink.store(address, entry.low);
        self.flush(address, 16);
        self.drain_write_buffer();
        if self.traits.caching_mode {
            // A unit keeps absent contexts under domain 0.
            self.submit_and_wait(Descriptor::ContextDevice { domain: 0, requester });
            self.submit_and_wait(self.iotlb(IotlbScope::Domain(space.domain)));
        }
    }

    /// Takes a requester's tables away. Returns its domain ID and root table, if it had them.
    pub fn clear_context(&mut self, context_table: u64, requester: u16) -> Option<(u16, u64)> {
        let (domain, root) = self.context(context_table, requester).target()?;
        let address = ContextEntry::address(context_table, requester);
        // The half with the present bit goes first.
        self.sink.store(address, 0);
        self.sink.store(address + 8, 0);
        self.flush(address, 16);
        self.drain_write_buffer();
        self.submit_and_wait(Descriptor::ContextDevice { domain, requester });
        self.submit_and_wait(self.iotlb(IotlbScope::Domain(domain)));
        Some((domain, root))
    }

    /// Whether the first gap on the way to `iova` is where the table is parked, so that mapping it brings back what is in it.
    pub fn comes_back(&mut self, space: Space, iova: u64, table: u64) -> Result<bool, Conflict> {
        Ok(self.gap(space, iova)?.1.is_for_table(table))
    }

    /// Puts a table into the first gap on the way to `iova`. It is parked there or filled with absent entries. A table that is parked there and
    /// isn't this one is so no longer. Returns its level.
    pub fn map_table(&mut self, space: Space, iova: u64, table: u64) -> Result<u8, Conflict> {
        let (address, before, level) = self.gap(space, iova)?;
        if !before.is_for_table(table) {
            self.flush(table, PAGE_BYTES);
        }
        self.make_present(space, address, Pte::table(table), iova, level + 1);
        Ok(level)
    }

    /// Parks the table of `level` on the way to `iova`, if it is there: nothing in it is in reach any more, but it is found when a frame
    /// in it is unmapped. So it is right at any time to map it there again. If it isn't there it is filled with absent entries. Whether it was there.
    pub fn park_table(&mut self, space: Space, iova: u64, level: u8, table: u64) -> bool {
        let found = self.replace_table(space, iova, level, table, Pte::parked(table));
        if !found {
            self.empty_table(table);
        }
        found
    }

    /// Takes the table of `level` on the way to `iova` out, if it is mapped or parked there, and fills it with absent entries, so
    /// that what was mapped in it can't come back by mapping it elsewhere. Whether it was there.
    pub fn unmap_table(&mut self, space: Space, iova: u64, level: u8, table: u64) -> bool {
        let found = self.replace_table(space, iova, level, table, Pte::ABSENT);
        self.empty_table(table);
        found
    }

    fn gap(&mut self, space: Space, iova: u64) -> Result<(u64, Pte, u8), Conflict> {
        if !space.reaches(iova, 12) {
            return Err(Conflict::OutOfRange);
        }
        space.gap(self.sink, iova)
    }

    /// Puts an entry that isn't present where the table is mapped or parked.
    fn replace_table(&mut self, space: Space, iova: u64, level: u8, table: u64, by: Pte) -> bool {
        match space.place(self.sink, iova, level + 1) {
            Ok((address, entry)) if entry.is_for_table(table) => {
                self.make_absent(space, address, by, iova, level + 1);
                true
            }
            _ => false,
        }
    }

    /// Fills a table that no unit reaches any more with absent entries.
    pub fn empty_table(&mut self, table: u64) {
        self.sink.zero(table);
    }

    /// Maps the page of `level` at `frame` to `iova`.
    pub fn map_frame(
        &mut self,
        space: Space,
        iova: u64,
        frame: u64,
        level: u8,
        access: Access,
    ) -> Result<(), Conflict> {
        if !space.reaches(iova, pte::span_bits(level) as u8) {
            return Err(Conflict::OutOfRange);
        }
        let (address, entry) = space.entry(self.sink, iova, level)?;
        if entry.is_present() {
            return Err(Conflict::Occupied);
        }
        self.make_present(space, address, Pte::leaf(frame, level, access), iova, level);
        Ok(())
    }

    /// Unmaps the page of `level` at `iova`, in reach or in a parked table, if it is still the one at `frame`. Whether it was.
    pub fn unmap_frame(&mut self, space: Space, iova: u64, frame: u64, level: u8) -> bool {
        match space.place(self.sink, iova, level) {
            Ok((address, entry))
                if entry.is_present() && entry.is_leaf(level) && entry.address() == frame =>
            {
                self.make_absent(space, address, Pte::ABSENT, iova, level);
                true
            }
            _ => false,
        }
    }

    /// Reads an interrupt remapping entry.
    pub fn irte(&mut self, table: u64, index: u16) -> Irte {
        let address = Irte::address(table, index);
        Irte { low: self.sink.load(address), high: self.sink.load(address + 8) }
    }

    /// Writes an interrupt remapping entry that is absent.
    pub fn set_irte(&mut self, table: u64, index: u16, entry: Irte) {
        let address = Irte::address(table, index);
        // Who may use it has to stand there before anybody can.
        self.sink.store(address + 8, entry.high);
        self.sink.store(address, entry.low);
        self.flush(address, 16);
        self.drain_write_buffer();
        if self.traits.caching_mode {
            self.submit_and_wait(Descriptor::InterruptEntry { index });
        }
    }

    /// Makes an interrupt remapping entry absent and free.
    pub fn clear_irte(&mut self, table: u64, index: u16) {
        let address = Irte::address(table, index);
        self.sink.store(address, 0);
        self.sink.store(address + 8, 0);
        self.flush(address, 16);
        self.drain_write_buffer();
        self.submit_and_wait(Descriptor::InterruptEntry { index });
    }

    /// Makes a taken entry drop its messages, or lets them pass again. Nothing happens to a free one.
    pub fn block_irte(&mut self, table: u64, index: u16, blocked: bool) {
        let entry = self.irte(table, index);
        if !entry.is_taken() || entry.is_present() != blocked {
            return;
        }
        let address = Irte::address(table, index);
        self.sink.store(address, entry.blocked(blocked).low);
        self.flush(address, 8);
        self.drain_write_buffer();
        if blocked || self.traits.caching_mode {
            self.submit_and_wait(Descriptor::InterruptEntry { index });
        }
    }

    fn make_present(&mut self, space: Space, address: u64, entry: Pte, iova: u64, level: u8) {
        self.sink.store(address, entry.0);
        self.flush(address, 8);
        self.drain_write_buffer();
        if self.traits.caching_mode {
            self.submit_and_wait(self.pages(space, iova, level));
        }
    }

    fn make_absent(&mut self, space: Space, address: u64, entry: Pte, iova: u64, level: u8) {
        self.sink.store(address, entry.0);
        self.flush(address, 8);
        self.drain_write_buffer();
        self.submit_and_wait(self.pages(space, iova, level));
    }

    /// The invalidation of all that an entry of `level` spans, with what is cached of the tables beneath it.
    fn pages(&self, space: Space, iova: u64, level: u8) -> Descriptor {
        let mask = (pte::span_bits(level) - 12) as u8;
        match self.traits.page_selective {
            Some(limit) if mask <= limit => {
                self.iotlb(IotlbScope::Pages { domain: space.domain, iova, mask })
            }
            _ => self.iotlb(IotlbScope::Domain(space.domain)),
        }
    }

    fn iotlb(&self, scope: IotlbScope) -> Descriptor {
        Descriptor::Iotlb {
            scope,
            drain_reads: self.traits.drain_reads,
            drain_writes: self.traits.drain_writes,
        }
    }

    fn submit_and_wait(&mut self, descriptor: Descriptor) {
        self.sink.submit(descriptor);
        self.sink.wait();
    }

    fn flush(&mut self, address: u64, bytes: u64) {
        if !self.traits.coherent_walks {
            self.sink.flush(address, bytes);
        }
    }

    fn drain_write_buffer(&mut self) {
        if self.traits.write_buffer {
            self.sink.flush_write_buffer();
        }
    }
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
