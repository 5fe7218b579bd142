// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA and interrupt remapping, behind one interface: what a kind of IOMMU has to do is [`Backend`], what the rest of
//! the kernel calls are the functions here.
//!
//! A requester is named by its requester ID (bus in bits 8–15, device and function below) in PCI segment 0. A
//! requester has at most one root table, and a domain ID that is in use belongs to one requester. Levels count from the
//! leaves: level 1 is the table of 4 KiB pages. When a function that takes something away returns, no unit
//! reaches it any more, so that its memory can be used again.

mod vtd;

use core::fmt;

use ::vtd::pte::Access;

use crate::sync::KernelCell;

/// CPU vector of the units' fault events.
pub const FAULT_VECTOR: u8 = 156;

/// What the machine can do, as the boot information tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// Levels of I/O page tables, 0 without DMA remapping.
    pub levels: u8,
    /// I/O pages can be 2 MiB.
    pub page_sizes_2m: bool,
    /// I/O pages can be 1 GiB.
    pub page_sizes_1g: bool,
    /// Entries of the interrupt remapping table, 0 without interrupt remapping.
    pub irte_count: u32,
    /// DMA is remapped.
    pub dma_remapping: bool,
    /// Interrupts are remapped.
    pub interrupt_remapping: bool,
    /// Faults can be read.
    pub fault_reports: bool,
}

/// What bringing the units up needs of the machine.
pub trait BootEnv {
    /// Physical address of `count` fresh, contiguous frames of 4 KiB, filled with zeroes and aligned to `align`
    /// bytes; `None` if memory has run out.
    fn alloc_frames(&mut self, count: usize, align: u64) -> Option<u64>;

    /// Maps the device registers at `[paddr, paddr + length)` uncached, for good. `paddr` is page-aligned.
    fn map_device(&mut self, paddr: u64, length: u64) -> *mut u8;

    /// Where RAM is, by the memory map: first byte, first byte behind; `None` past the last.
    fn ram(&self, index: usize) -> Option<(u64, u64)>;

    /// Bits of the processor's physical addresses.
    fn address_bits(&self) -> u8;

    /// 32 bits of configuration space in segment 0 at the 4-aligned `offset`; all ones where nothing answers.
    fn read_config(&mut self, bus: u8, device: u8, function: u8, offset: u16) -> u32;

    /// The local APIC ID of this processor, which fault events go to.
    fn apic_id(&self) -> u8;

    /// The ID of the machine's I/O APIC number `index`, `None` past the last.
    fn io_apic(&self, index: usize) -> Option<u8>;

    /// A line for the boot log.
    fn log(&mut self, line: fmt::Arguments<'_>);
}

/// Why a requester can't be given a root table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetError {
    /// It has one.
    AlreadySet,
    /// Another requester has the domain ID.
    DomainInUse,
    /// No unit translates it.
    NotCovered,
}

/// Why a table or a page can't be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No unit translates the requester.
    NotCovered,
    /// The table of this level has to be mapped first.
    MissingLevel(u8),
    /// Something is mapped there already, or all tables are.
    Occupied,
    /// The IOVA is beyond what is translated.
    OutOfRange,
    /// The requester's tables belong to another domain ID, or the domain ID to another requester.
    DomainInUse,
}

/// A DMA fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who asked.
    pub rid: u16,
    /// The page that was asked for.
    pub iova: u64,
    /// Whether it was to be read (otherwise written).
    pub read: bool,
    /// The unit's reason code: for VT-d those of `vtd::fault::reason_text`.
    pub reason: u8,
}

/// What a kind of IOMMU does for the functions of this module, which say what each means.
trait Backend {
    fn covers(&self, rid: u16) -> bool;
    fn domains(&self) -> u32;
    fn context_root(&mut self, rid: u16) -> Option<(u16, u64)>;
    fn set_context(&mut self, rid: u16, domain: u16, root: u64) -> Result<(), SetError>;
    fn clear_context(&mut self, rid: u16);
    fn map_table(&mut self, rid: u16, domain: u16, iova: u64, table: u64) -> Result<u8, MapError>;
    fn comes_back(&mut self, rid: u16, domain: u16, iova: u64, table: u64) -> Result<bool, MapError>;
    fn park_table(&mut self, rid: u16, iova: u64, level: u8, table: u64) -> bool;
    fn unmap_table(&mut self, rid: u16, iova: u64, level: u8, table: u64);
    fn map_frame(
        &mut self,
        rid: u16,
        domain: u16,
        iova: u64,
        frame: u64,
        level: u8,
        access: Access,
    ) -> Result<(), MapError>;
    fn unmap_frame(&mut self, rid: u16, iova: u64, frame: u64, level: u8);
    fn readers_of_irtes(&self) -> u32;
    fn irte_in_use(&mut self, index: u16) -> bool;
    fn set_irte(&mut self, index: u16, source: u16, vector: u8, destination: u8, level_triggered: bool);
    fn clear_irte(&mut self, index: u16);
    fn block_irte(&mut self, index: u16, blocked: bool);
    fn ioapic_source(&self, ioapic: u8) -> Option<u16>;
    fn read_fault(&mut self) -> Option<Fault>;
    fn take_overflow(&mut self) -> bool;
    fn fault_pending(&mut self) -> bool;
}

/// The machine's IOMMU. AMD-Vi will stand beside VT-d here.
// There is one, and it is static.
#[allow(clippy::large_enum_variant)]
enum Machine {
    /// None, or one that can't be used.
    Bare,
    /// Intel VT-d.
    Vtd(vtd::Vtd),
}

struct State {
    machine: Machine,
    info: Info,
    /// Memory that firmware reserves for DMA of devices: first byte, last byte.
    reserved: heapless::Vec<(u64, u64), 16>,
}

const NOTHING: Info = Info {
    levels: 0,
    page_sizes_2m: false,
    page_sizes_1g: false,
    irte_count: 0,
    dma_remapping: false,
    interrupt_remapping: false,
    fault_reports: false,
};

static STATE: KernelCell<State> =
    KernelCell::new(State { machine: Machine::Bare, info: NOTHING, reserved: heapless::Vec::new() });

/// The state, for the time of one call of a function of this module.
fn with<R>(body: impl FnOnce(&mut State) -> R) -> R {
    // SAFETY: the kernel runs one at a time, and no function of this module calls another one while it has the state:
    // backends don't know this module's functions.
    body(unsafe { STATE.get() })
}

fn backend<R>(without: R, body: impl FnOnce(&mut dyn Backend) -> R) -> R {
    with(|state| match &mut state.machine {
        Machine::Bare => without,
        Machine::Vtd(vtd) => body(vtd),
    })
}

/// Brings all units up: every DMA of a covered function is blocked when this returns, and with `want_intremap` every
/// interrupt message without an entry. `dmar` is the whole DMAR table. Whatever is wrong is logged, and then the
/// information says that the feature is off.
pub fn init(env: &mut dyn BootEnv, dmar: Option<&[u8]>, want_intremap: bool) -> Info {
    let Some(dmar) = dmar else {
        env.log(format_args!("iommu: firmware has no DMAR table: DMA and interrupts are not remapped"));
        return NOTHING;
    };
    match vtd::Vtd::start(env, dmar, want_intremap) {
        Ok((machine, found)) => with(|state| {
            state.machine = Machine::Vtd(machine);
            state.info = found;
            found
        }),
        Err(why) => {
            env.log(format_args!("iommu: DMA and interrupts are not remapped: {why}"));
            NOTHING
        }
    }
}

/// Says which memory beside RAM devices may be given for DMA: what firmware reserves for that (first byte, last byte).
pub fn set_reserved(regions: &[(u64, u64)]) {
    with(|state| state.reserved = regions.iter().copied().take(state.reserved.capacity()).collect());
}

/// Whether all of `bytes` at `paddr` is memory that firmware reserves for DMA of devices.
pub fn is_reserved(paddr: u64, bytes: u64) -> bool {
    with(|state| state.reserved.iter().any(|&(base, limit)| base <= paddr && paddr + (bytes - 1) <= limit))
}

/// What [`init`] found.
pub fn info() -> Info {
    with(|state| state.info)
}

/// Whether DMA of a requester is translated. What isn't covered reaches all memory, whatever the tables say.
pub fn covers(rid: u16) -> bool {
    backend(false, |b| b.covers(rid))
}

/// How many domain IDs there are, counting 0, which isn't used.
pub fn domains() -> u32 {
    backend(0, |b| b.domains())
}

/// The size as a logarithm of the largest IOVA that is translated, and of every page size: 12, 21, 30.
pub fn supports_page(size_bits: u8) -> bool {
    let found = info();
    found.dma_remapping
        && match size_bits {
            12 => true,
            21 => found.page_sizes_2m,
            30 => found.page_sizes_1g,
            _ => false,
        }
}

/// Domain ID and root table of a requester that has one.
pub fn context_root(rid: u16) -> Option<(u16, u64)> {
    backend(None, |b| b.context_root(rid))
}

/// Gives a requester a root table, filled with absent entries. [`map_table`] does this too.
///
/// # Errors
/// See [`SetError`], in the order of its description: not covered first.
pub fn set_context(rid: u16, domain: u16, root: u64) -> Result<(), SetError> {
    backend(Err(SetError::NotCovered), |b| b.set_context(rid, domain, root))
}

/// Takes a requester's root table away, if it has one.
pub fn clear_context(rid: u16) {
    backend((), |b| b.clear_context(rid));
}

/// Maps the next table that is missing on the way to `iova`; the first one becomes the root. The table is parked there, or filled with absent
/// entries. Returns its level.
///
/// # Errors
/// See [`MapError`].
pub fn map_table(rid: u16, domain: u16, iova: u64, table: u64) -> Result<u8, MapError> {
    backend(Err(MapError::NotCovered), |b| b.map_table(rid, domain, iova, table))
}

/// Whether [`map_table`] would put the table back to where it is parked, so that what is in it comes back. Otherwise the table has to be taken
/// out of its place before it is mapped.
///
/// # Errors
/// As for [`map_table`].
pub fn comes_back(rid: u16, domain: u16, iova: u64, table: u64) -> Result<bool, MapError> {
    backend(Err(MapError::NotCovered), |b| b.comes_back(rid, domain, iova, table))
}

/// Parks a table: what is in it is out of reach, but found by [`unmap_frame`]. False if it is the root, or isn't there any more: then it is filled
/// with absent entries, and has no place.
pub fn park_table(rid: u16, iova: u64, level: u8, table: u64) -> bool {
    backend(false, |b| b.park_table(rid, iova, level, table))
}

/// Takes a table out again, if it is still there, mapped or parked, and fills it with absent entries in any case.
pub fn unmap_table(rid: u16, iova: u64, level: u8, table: u64) {
    backend((), |b| b.unmap_table(rid, iova, level, table));
}

/// Maps a frame of 2^`size_bits` bytes.
///
/// # Errors
/// See [`MapError`].
pub fn map_frame(
    rid: u16,
    domain: u16,
    iova: u64,
    frame: u64,
    size_bits: u8,
    access: Access,
) -> Result<(), MapError> {
    let Some(level) = ::vtd::pte::leaf_level(size_bits) else { return Err(MapError::OutOfRange) };
    backend(Err(MapError::NotCovered), |b| b.map_frame(rid, domain, iova, frame, level, access))
}

/// Unmaps a frame of 2^`size_bits` bytes, if `iova` still leads to it, by way of parked tables too.
pub fn unmap_frame(rid: u16, iova: u64, frame: u64, size_bits: u8) {
    if let Some(level) = ::vtd::pte::leaf_level(size_bits) {
        backend((), |b| b.unmap_frame(rid, iova, frame, level));
    }
}

/// How many units read interrupt remapping entries: who changes one waits for each of them.
pub fn readers_of_irtes() -> u32 {
    backend(0, |b| b.readers_of_irtes())
}

/// Whether an interrupt remapping entry belongs to somebody. One beyond the table does not.
pub fn irte_in_use(index: u16) -> bool {
    backend(false, |b| b.irte_in_use(index))
}

/// Writes an entry that is not in use: messages of exactly `source` raise `vector` on the processor with this local
/// APIC ID. Nothing happens beyond the table.
pub fn set_irte(index: u16, source: u16, vector: u8, destination: u8, level_triggered: bool) {
    backend((), |b| b.set_irte(index, source, vector, destination, level_triggered));
}

/// Makes an entry absent and free.
pub fn clear_irte(index: u16) {
    backend((), |b| b.clear_irte(index));
}

/// Makes an entry drop its messages, or lets them pass again. It stays in use.
pub fn block_irte(index: u16, blocked: bool) {
    backend((), |b| b.block_irte(index, blocked));
}

/// The source ID of the interrupts of the I/O APIC with this ID.
pub fn ioapic_source(ioapic: u8) -> Option<u16> {
    backend(None, |b| b.ioapic_source(ioapic))
}

/// The oldest fault of a unit that hasn't been read; units take turns. Reading frees its record.
pub fn read_fault() -> Option<Fault> {
    backend(None, |b| b.read_fault())
}

/// Whether faults were lost since the last call, because no record was free.
pub fn take_overflow() -> bool {
    backend(false, |b| b.take_overflow())
}

/// Called on [`FAULT_VECTOR`]. Whether there is something to read, so that whoever reads faults has to be told.
///
/// Records stay where they are until they are read. While one is waiting, a unit sends no further event: a device that
/// faults without end costs one interrupt for each [`read_fault`].
pub fn handle_fault_interrupt() -> bool {
    backend(false, |b| b.fault_pending())
}
