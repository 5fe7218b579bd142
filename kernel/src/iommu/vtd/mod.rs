// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intel VT-d: what the crate `vtd` decides, done to hardware.

mod memory;
mod queue;
mod registers;
mod start;
mod unit;

use ::vtd::context::ContextEntry;
use ::vtd::irte::Irte;
use ::vtd::pte::Access;
use ::vtd::{Changes, Conflict, PAGE_BYTES, Space, Traits};
use firmware_tables::Coverage;
use heapless::Vec;

use self::unit::{All, Unit};
use super::{Backend, BootEnv, Fault, Info, MapError, SetError};

/// Units that there is room for.
const MAX_UNITS: usize = 16;

/// All units of the machine and the tables that they read.
pub struct Vtd {
    units: Vec<Unit, MAX_UNITS>,
    coverage: Coverage,
    /// Physical address of the 256 context tables of segment 0, in the order of the buses.
    contexts: u64,
    levels: u8,
    address_bits: u8,
    domains: u32,
    /// Physical address of a table that has, for each domain ID, two bytes: the requester that was given it last.
    owners: u64,
    /// Physical address of the interrupt remapping table.
    irt: u64,
    irte_count: u32,
    /// Traits for changes of the interrupt remapping table.
    shared: Traits,
    /// I/O APIC IDs and their source IDs.
    ioapics: Vec<(u8, u16), 32>,
    /// Faults were lost, and nobody has been told yet.
    lost: bool,
    /// Whose faults are looked for first.
    next_unit: usize,
}

impl Vtd {
    /// Brings all units up. See [`super::init`].
    pub fn start(
        env: &mut dyn BootEnv,
        dmar: &[u8],
        want_intremap: bool,
    ) -> Result<(Vtd, Info), start::Refusal> {
        start::start(env, dmar, want_intremap)
    }

    fn context_table(&self, rid: u16) -> u64 {
        self.contexts + u64::from(rid >> 8) * PAGE_BYTES
    }

    /// Changes of what the unit that covers a requester reads.
    fn changes(&mut self, rid: u16) -> Option<Changes<'_, Unit>> {
        let unit = self.units.get_mut(self.coverage.unit_of(0, rid)?)?;
        let traits = unit.traits;
        Some(Changes::new(unit, traits))
    }

    fn space(&self, domain: u16, root: u64) -> Space {
        Space { domain, root, levels: self.levels, address_bits: self.address_bits }
    }

    /// The tables of a requester that has them.
    fn live_space(&mut self, rid: u16) -> Option<Space> {
        let (domain, root) = self.context_root(rid)?;
        Some(self.space(domain, root))
    }

    /// A change of the interrupt remapping table, if it has an entry `index`.
    fn interrupts<R>(
        &mut self,
        index: u16,
        change: impl FnOnce(&mut Changes<'_, All<'_>>, u64) -> R,
    ) -> Option<R> {
        (u32::from(index) < self.irte_count).then(|| {
            let mut all = All(&mut self.units);
            change(&mut Changes::new(&mut all, self.shared), self.irt)
        })
    }

    /// Whether a requester has this domain ID: the one that was given it last, if it still does.
    fn domain_in_use(&mut self, domain: u16) -> bool {
        let (word, shift) = self.owner(domain);
        let rid = (memory::load(word) >> shift) as u16;
        self.context_root(rid).is_some_and(|(of, _)| of == domain)
    }

    /// Notes to whom a domain ID is given.
    fn set_owner(&mut self, domain: u16, rid: u16) {
        let (word, shift) = self.owner(domain);
        let others = memory::load(word) & !(0xffff << shift);
        memory::store(word, others | u64::from(rid) << shift);
    }

    /// Where the owner of a domain ID is noted: the address of the word, and the shift in it.
    fn owner(&self, domain: u16) -> (u64, u32) {
        (self.owners + u64::from(domain / 4) * 8, u32::from(domain % 4) * 16)
    }
}

impl Backend for Vtd {
    fn covers(&self, rid: u16) -> bool {
        self.coverage.unit_of(0, rid).is_some_and(|unit| unit < self.units.len())
    }

    fn domains(&self) -> u32 {
        self.domains
    }

    fn context_root(&mut self, rid: u16) -> Option<(u16, u64)> {
        // Of a requester that no unit covers the entry is never set.
        let address = ContextEntry::address(self.context_table(rid), rid);
        ContextEntry { low: memory::load(address), high: memory::load(address + 8) }.target()
    }

    fn set_context(&mut self, rid: u16, domain: u16, root: u64) -> Result<(), SetError> {
        if !self.covers(rid) {
            return Err(SetError::NotCovered);
        }
        if self.context_root(rid).is_some() {
            return Err(SetError::AlreadySet);
        }
        if self.domain_in_use(domain) {
            return Err(SetError::DomainInUse);
        }
        let (table, space) = (self.context_table(rid), self.space(domain, root));
        self.changes(rid).ok_or(SetError::NotCovered)?.set_context(table, rid, space);
        self.set_owner(domain, rid);
        Ok(())
    }

    fn clear_context(&mut self, rid: u16) {
        let table = self.context_table(rid);
        if let Some(mut changes) = self.changes(rid) {
            changes.clear_context(table, rid);
        }
    }

    fn map_table(&mut self, rid: u16, domain: u16, iova: u64, table: u64) -> Result<u8, MapError> {
        if !self.covers(rid) {
            return Err(MapError::NotCovered);
        }
        let Some(space) = self.live_space(rid) else {
            if !self.space(domain, table).reaches(iova, 12) {
                return Err(MapError::OutOfRange);
            }
            self.set_context(rid, domain, table).map_err(|_| MapError::DomainInUse)?;
            return Ok(self.levels);
        };
        if space.domain != domain {
            return Err(MapError::DomainInUse);
        }
        let mut changes = self.changes(rid).ok_or(MapError::NotCovered)?;
        changes.map_table(space, iova, table).map_err(MapError::from)
    }

    fn comes_back(&mut self, rid: u16, domain: u16, iova: u64, table: u64) -> Result<bool, MapError> {
        let Some(space) = self.live_space(rid) else {
            return match self.space(domain, table).reaches(iova, 12) {
                true if self.domain_in_use(domain) => Err(MapError::DomainInUse),
                true => Ok(false),
                false => Err(MapError::OutOfRange),
            };
        };
        if space.domain != domain {
            return Err(MapError::DomainInUse);
        }
        let mut changes = self.changes(rid).ok_or(MapError::NotCovered)?;
        changes.comes_back(space, iova, table).map_err(MapError::from)
    }

    fn park_table(&mut self, rid: u16, iova: u64, level: u8, table: u64) -> bool {
        if let Some(space) = self.live_space(rid)
            && space.root != table
            && level < self.levels
            && let Some(mut changes) = self.changes(rid)
        {
            return changes.park_table(space, iova, level, table);
        }
        self.unmap_table(rid, iova, level, table);
        false
    }

    fn unmap_table(&mut self, rid: u16, iova: u64, level: u8, table: u64) {
        match self.live_space(rid) {
            Some(space) if space.root == table => {
                self.clear_context(rid);
                memory::zero(table);
            }
            Some(space) if level < self.levels => {
                if let Some(mut changes) = self.changes(rid) {
                    changes.unmap_table(space, iova, level, table);
                }
            }
            _ => memory::zero(table),
        }
    }

    fn map_frame(
        &mut self,
        rid: u16,
        domain: u16,
        iova: u64,
        frame: u64,
        level: u8,
        access: Access,
    ) -> Result<(), MapError> {
        if !self.covers(rid) {
            return Err(MapError::NotCovered);
        }
        let Some(space) = self.live_space(rid) else {
            let reached = self.space(domain, 0).reaches(iova, 12);
            return Err(if reached { MapError::MissingLevel(self.levels) } else { MapError::OutOfRange });
        };
        if space.domain != domain {
            return Err(MapError::DomainInUse);
        }
        let mut changes = self.changes(rid).ok_or(MapError::NotCovered)?;
        changes.map_frame(space, iova, frame, level, access).map_err(MapError::from)
    }

    fn unmap_frame(&mut self, rid: u16, iova: u64, frame: u64, level: u8) {
        if let Some(space) = self.live_space(rid)
            && let Some(mut changes) = self.changes(rid)
        {
            changes.unmap_frame(space, iova, frame, level);
        }
    }

    fn readers_of_irtes(&self) -> u32 {
        if self.irte_count == 0 { 0 } else { self.units.len() as u32 }
    }

    fn irte_in_use(&mut self, index: u16) -> bool {
        self.interrupts(index, |changes, table| changes.irte(table, index).is_taken()).unwrap_or(false)
    }

    fn set_irte(&mut self, index: u16, source: u16, vector: u8, destination: u8, level_triggered: bool) {
        let entry = Irte::new(source, vector, destination, level_triggered);
        self.interrupts(index, |changes, table| changes.set_irte(table, index, entry));
    }

    fn clear_irte(&mut self, index: u16) {
        self.interrupts(index, |changes, table| changes.clear_irte(table, index));
    }

    fn block_irte(&mut self, index: u16, blocked: bool) {
        self.interrupts(index, |changes, table| changes.block_irte(table, index, blocked));
    }

    fn ioapic_source(&self, ioapic: u8) -> Option<u16> {
        self.ioapics.iter().find(|(id, _)| *id == ioapic).map(|&(_, source)| source)
    }

    fn read_fault(&mut self) -> Option<Fault> {
        // Behind the unit that was read last, so that no unit's faults hide those of another.
        let count = self.units.len();
        let units = (0..count).map(|i| (self.next_unit + i) % count);
        let found = units.into_iter().find_map(|unit| Some((unit, self.units[unit].read_fault()?)));
        let fault = found.map(|(unit, fault)| {
            self.next_unit = unit + 1;
            fault
        });
        // An overflow is only worth clearing once there is a free record, and must be: until then nothing is recorded.
        for unit in &mut self.units {
            self.lost |= unit.clear_overflow();
        }
        fault.map(|f| Fault { rid: f.requester, iova: f.iova, read: f.read, reason: f.reason })
    }

    fn take_overflow(&mut self) -> bool {
        core::mem::take(&mut self.lost)
    }

    fn fault_pending(&mut self) -> bool {
        self.units.iter().any(Unit::fault_pending)
    }
}

impl From<Conflict> for MapError {
    fn from(conflict: Conflict) -> MapError {
        match conflict {
            Conflict::Missing { level } => MapError::MissingLevel(level),
            Conflict::Occupied => MapError::Occupied,
            Conflict::OutOfRange => MapError::OutOfRange,
        }
    }
}
