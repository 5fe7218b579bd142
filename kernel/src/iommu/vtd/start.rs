// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bringing the units up (VT-d specification, sections 6.6, 6.7, 6.8 and 7.3).

use core::cell::RefCell;
use core::fmt;

use ::vtd::context::RootEntry;
use ::vtd::fault_log::FaultLog;
use ::vtd::registers::{
    FAULT_EVENT_MASKED, Global, PROTECTED_MEMORY_ENABLE, PROTECTED_MEMORY_STATUS, interrupt_table,
    is_version, offset, root_table,
};
use ::vtd::{Capability, Changes, ExtendedCapability, PAGE_BYTES, Traits, message};
use firmware_tables::{Bridges, BusRange, Coverage, Dmar, Misplaced, ScopeKind, misplaced};
use heapless::Vec;

use super::queue::Queue;
use super::registers::{Registers, Stuck, wait_for};
use super::unit::{All, Unit};
use super::{MAX_UNITS, Vtd, memory};
use crate::iommu::{BootEnv, FAULT_VECTOR, Info};

/// Buses, each of which has a context table.
const BUSES: u64 = 256;

/// Entries of the interrupt remapping table, as a logarithm.
const IRT_ENTRIES_LOG2: u32 = 10;
const IRT_FRAMES: usize = ((1 << IRT_ENTRIES_LOG2) * 16) / PAGE_BYTES as usize;

/// Why the machine's units aren't used.
pub enum Refusal {
    /// The DMAR table is damaged.
    Table(firmware_tables::Error),
    /// It names no unit.
    NoUnits,
    /// It names more units than there is room for.
    TooManyUnits,
    /// A unit's registers can't be where the table has them.
    Misplaced(u64, Misplaced),
    /// A unit can't do what is needed at least.
    Unsuitable(u64, &'static str),
    /// No memory for the tables.
    Memory,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Table(error) => write!(f, "{error}"),
            Refusal::NoUnits => write!(f, "the DMAR table names no remapping unit"),
            Refusal::TooManyUnits => write!(f, "the DMAR table names more than {MAX_UNITS} remapping units"),
            Refusal::Misplaced(base, why) => write!(f, "the remapping unit at {base:#x} {why}"),
            Refusal::Unsuitable(base, why) => write!(f, "the remapping unit at {base:#x} {why}"),
            Refusal::Memory => write!(f, "there is no memory for the remapping tables"),
        }
    }
}

/// Bridges, asked through configuration space (PCI-to-PCI Bridge Architecture Specification 1.2, section 3.2.5).
struct ConfigBridges<'e>(RefCell<&'e mut dyn BootEnv>);

impl Bridges for ConfigBridges<'_> {
    fn buses(&self, segment: u16, function: u16) -> Option<BusRange> {
        if segment != 0 {
            return None;
        }
        let [bus, devfn] = function.to_be_bytes();
        let mut env = self.0.borrow_mut();
        let mut read = |offset| env.read_config(bus, devfn >> 3, devfn & 7, offset);
        // An absent function reads as ones, and 0x7f is no header type.
        let header_type = read(0x0c) >> 16 & 0x7f;
        (header_type == 1).then(|| {
            let [_, secondary, subordinate, _] = read(0x18).to_le_bytes();
            BusRange { secondary, subordinate }
        })
    }
}

/// A unit that has been looked at but not touched.
struct Found {
    base: u64,
    registers: Registers,
    cap: Capability,
    ext: ExtendedCapability,
    segment: u16,
}

/// See [`crate::iommu::init`].
pub fn start(env: &mut dyn BootEnv, table: &[u8], want_intremap: bool) -> Result<(Vtd, Info), Refusal> {
    let dmar = Dmar::parse(table).map_err(Refusal::Table)?;
    let coverage = Coverage::of(&dmar, &ConfigBridges(RefCell::new(env))).map_err(Refusal::Table)?;
    let found = look(env, &dmar)?;

    let levels = [3, 4].into_iter().find(|&levels| found.iter().all(|unit| unit.cap.supports_levels(levels)));
    let Some(levels) = levels else {
        let base = dmar.units().next().map_or(0, |unit| unit.base);
        return Err(Refusal::Unsuitable(
            base,
            "has no second-level tables of 3 or 4 levels in common with all others",
        ));
    };
    let table_bits = 12 + 9 * levels;
    let address_bits = found.iter().map(|unit| unit.cap.address_bits()).fold(table_bits, u8::min);
    let remap_interrupts = want_intremap
        && dmar.interrupt_remapping()
        && found.iter().all(|unit| unit.ext.interrupt_remapping())
        && io_apics_are_named(env, &dmar);

    // Segment 0 has context tables for all buses; the root table of other segments, which no capability names, stays
    // empty.
    let mut alloc = |frames: usize, align| env.alloc_frames(frames, align).ok_or(Refusal::Memory);
    let contexts = alloc(BUSES as usize, PAGE_BYTES)?;
    let root = alloc(1, PAGE_BYTES)?;
    let empty_root = alloc(1, PAGE_BYTES)?;
    let statuses = alloc(1, PAGE_BYTES)?;
    let domains = found.iter().map(|unit| unit.cap.domains()).fold(1 << 16, u32::min);
    let owners = alloc((domains as usize * 2).div_ceil(PAGE_BYTES as usize), PAGE_BYTES)?;
    let irt = alloc(IRT_FRAMES, PAGE_BYTES * IRT_FRAMES as u64)?;
    for bus in 0..BUSES {
        let entry = RootEntry::new(contexts + bus * PAGE_BYTES);
        memory::store(RootEntry::address(root, (bus as u16) << 8), entry.0);
    }
    // Fresh frames may have been zeroed in the cache only.
    for (table, bytes) in [
        (contexts, BUSES * PAGE_BYTES),
        (root, PAGE_BYTES),
        (empty_root, PAGE_BYTES),
        (irt, IRT_FRAMES as u64 * PAGE_BYTES),
    ] {
        if found.iter().any(|unit| !unit.ext.coherent_walks()) {
            memory::flush(table, bytes);
        }
    }

    let info = Info {
        levels,
        page_sizes_2m: found.iter().all(|unit| unit.cap.pages_2m()),
        page_sizes_1g: found.iter().all(|unit| unit.cap.pages_1g()),
        irte_count: if remap_interrupts { 1 << IRT_ENTRIES_LOG2 } else { 0 },
        dma_remapping: true,
        interrupt_remapping: remap_interrupts,
        fault_reports: true,
    };

    let mut units: Vec<Unit, MAX_UNITS> = Vec::new();
    let mut roots: Vec<(u64, u64, Capability), MAX_UNITS> = Vec::new();
    let stuck = |base| move |Stuck| Refusal::Unsuitable(base, "does not do what it is told");
    // The queue shows whether a unit is one, before anything is changed for good.
    for (number, Found { base, registers, cap, ext, segment }) in found.into_iter().enumerate() {
        let queue_frame = env.alloc_frames(1, PAGE_BYTES).ok_or(Refusal::Memory)?;
        silence_faults(&registers);
        let queue =
            Queue::start(&registers, queue_frame, statuses + 8 * number as u64).map_err(stuck(base))?;
        let unit = Unit {
            registers,
            queue,
            traits: Traits::of(cap, ext),
            records: cap.fault_records_offset(),
            faults: FaultLog::new(cap.fault_records()),
        };
        let root = if segment == 0 { root } else { empty_root };
        units.push(unit).map_err(|_| Refusal::TooManyUnits)?;
        roots.push((base, root, cap)).map_err(|_| Refusal::TooManyUnits)?;
    }
    for (unit, &(base, root, cap)) in units.iter_mut().zip(&roots) {
        turn_on_translation(unit, root, cap).map_err(stuck(base))?;
        report_faults(unit, env.apic_id());
    }
    if remap_interrupts {
        let table = interrupt_table(irt, IRT_ENTRIES_LOG2);
        for (unit, (base, ..)) in units.iter_mut().zip(&roots) {
            turn_on_interrupt_remapping(unit, table).map_err(stuck(*base))?;
        }
    }

    let mut ioapics: Vec<(u8, u16), 32> = Vec::new();
    for scope in dmar.units().flat_map(|unit| unit.scopes()).filter(|scope| scope.kind == ScopeKind::IoApic) {
        // An I/O APIC too many is one without a source, whose pins then can't be used.
        if let Some(source) = scope.direct() {
            let _ = ioapics.push((scope.enumeration_id, source));
        }
    }
    env.log(format_args!(
        "iommu: VT-d, {} unit(s): DMA remapping on, {levels} levels, {address_bits} bits; interrupt remapping {}",
        units.len(),
        if remap_interrupts { "on" } else { "off" },
    ));
    let shared = units.iter().map(|unit| unit.traits).reduce(Traits::shared).ok_or(Refusal::NoUnits)?;
    let vtd = Vtd {
        units,
        coverage,
        contexts,
        levels,
        address_bits,
        domains,
        owners,
        irt,
        irte_count: info.irte_count,
        shared,
        ioapics,
        lost: false,
        next_unit: 0,
    };
    Ok((vtd, info))
}

/// Whether all I/O APICs have a source ID. The pins of one without could not be verified, and would be silent.
fn io_apics_are_named(env: &mut dyn BootEnv, dmar: &Dmar<'_>) -> bool {
    let nameless = (0..).map_while(|index| env.io_apic(index)).find(|&id| dmar.io_apic_source(id).is_none());
    if let Some(id) = nameless {
        env.log(format_args!(
            "iommu: no remapping unit names the I/O APIC {id}: interrupts are not remapped"
        ));
    }
    nameless.is_none()
}

/// Maps all units' registers and checks what can't be done without.
fn look(env: &mut dyn BootEnv, dmar: &Dmar<'_>) -> Result<Vec<Found, MAX_UNITS>, Refusal> {
    let mut found = Vec::new();
    let bits = env.address_bits();
    for (number, unit) in dmar.units().enumerate() {
        let ram = (0..).map_while(|index| env.ram(index));
        if let Some(why) = misplaced(&unit, bits, dmar.units().take(number), ram) {
            return Err(Refusal::Misplaced(unit.base, why));
        }
        let mapped = env.map_device(unit.base, unit.length);
        // SAFETY: firmware says that a unit's registers are there, `map_device` maps them for good, and their page is
        // in no untyped memory.
        let registers = unsafe { Registers::new(mapped, unit.length) };
        let refuse = |why| Err(Refusal::Unsuitable(unit.base, why));
        let cap = Capability(registers.read64(offset::CAPABILITY));
        let ext = ExtendedCapability(registers.read64(offset::EXTENDED_CAPABILITY));
        if !is_version(registers.read32(offset::VERSION)) || cap.0 == 0 {
            return refuse("does not answer as one");
        }
        if !ext.queued_invalidation() {
            return refuse("has no invalidation queue");
        }
        if !registers.holds(cap.fault_records_offset(), cap.fault_records() * 16) {
            return refuse("keeps its fault records outside the registers that firmware names");
        }
        let segment = unit.segment;
        found
            .push(Found { base: unit.base, registers, cap, ext, segment })
            .map_err(|_| Refusal::TooManyUnits)?;
    }
    if found.is_empty() { Err(Refusal::NoUnits) } else { Ok(found) }
}

/// Masks fault events.
fn silence_faults(registers: &Registers) {
    registers.write32(offset::FAULT_EVENT_CONTROL, FAULT_EVENT_MASKED);
}

/// Puts the root table in and turns translation on. A unit that firmware left on stays on meanwhile.
fn turn_on_translation(unit: &mut Unit, root: u64, cap: Capability) -> Result<(), Stuck> {
    unit.registers.write64(offset::ROOT_TABLE, root_table(root));
    if unit.traits.write_buffer {
        unit.registers.drain_write_buffer();
    }
    unit.registers.set(Global::ROOT_TABLE)?;
    let traits = unit.traits;
    Changes::new(unit, traits).forget_all_dma();
    unit.registers.set(Global::TRANSLATION)?;
    if cap.protected_low_memory() || cap.protected_high_memory() {
        let enabled = unit.registers.read32(offset::PROTECTED_MEMORY);
        unit.registers.write32(offset::PROTECTED_MEMORY, enabled & !PROTECTED_MEMORY_ENABLE);
        wait_for(|| unit.registers.read32(offset::PROTECTED_MEMORY) & PROTECTED_MEMORY_STATUS == 0)?;
    }
    Ok(())
}

/// Puts the interrupt table in and turns interrupt remapping on, with messages of the compatibility format blocked.
fn turn_on_interrupt_remapping(unit: &mut Unit, table: u64) -> Result<(), Stuck> {
    if unit.registers.status().contains(Global::COMPATIBILITY_FORMAT) {
        unit.registers.clear(Global::COMPATIBILITY_FORMAT)?;
    }
    unit.registers.write64(offset::INTERRUPT_TABLE, table);
    unit.registers.set(Global::INTERRUPT_TABLE)?;
    let traits = unit.traits;
    Changes::new(&mut All(core::slice::from_mut(unit)), traits).forget_all_interrupts();
    unit.registers.set(Global::INTERRUPT_REMAPPING)
}

/// Forgets faults of the time before and has new ones sent to this processor.
fn report_faults(unit: &mut Unit, apic_id: u8) {
    while unit.read_fault().is_some() {}
    unit.clear_overflow();
    let event = message::compatibility(FAULT_VECTOR, apic_id);
    unit.registers.write32(offset::FAULT_EVENT_DATA, event.data);
    unit.registers.write32(offset::FAULT_EVENT_ADDRESS, event.address);
    unit.registers.write32(offset::FAULT_EVENT_UPPER_ADDRESS, 0);
    unit.registers.write32(offset::FAULT_EVENT_CONTROL, 0);
}
