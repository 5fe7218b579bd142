// SPDX-License-Identifier: MIT OR Apache-2.0
//! What firmware's tables say. The pages are mapped while they are read, and given up afterwards.

use alloc::vec::Vec;
use core::cell::RefCell;

use firmware_tables::{
    Dmar, EcamRegion, Fadt, Hpet, Madt, Mcfg, PhysicalMemory, Polarity, RootTable, Rsdp, Signature, Trigger,
    Unfit, fit,
};
use protocol::pci::{NotMapped, ReservedRegion};
use root_task::layout::PAGE;
use root_task::memory_map;
use root_task::{pins, sleep};
use sel4::{BootInfoPtr, CapRights, VmAttributes, abi, cap_type};

use crate::failure::{During, Failure};
use crate::resources::{Resources, at, in_slot};
use crate::{log, raw};

/// Physical address `p` is mapped at this plus `p`.
const TABLES: usize = 0x1000_0000_0000;
/// Tables lie below.
const HIGHEST: u64 = 1 << 43;
/// Longest single read.
const LONGEST: usize = 1 << 20;

/// An input of an I/O APIC.
#[derive(Debug, Clone, Copy)]
pub struct Pin {
    /// Which I/O APIC, in firmware's order.
    pub io_apic: usize,
    /// Which input.
    pub input: u32,
    /// Level-triggered.
    pub level: bool,
    /// Active low.
    pub low: bool,
}

/// What the root task needs to know of the machine.
#[derive(Debug, Default)]
pub struct Firmware {
    /// COM1's interrupt.
    pub com1: Option<Pin>,
    /// The timer.
    pub hpet: Option<Hpet>,
    /// First global interrupt of each I/O APIC.
    pub io_apics: Vec<u32>,
    /// Configuration space.
    pub ecam: Vec<EcamRegion>,
    /// Memory reserved for DMA of devices.
    pub regions: Vec<ReservedRegion>,
    /// There is some whose devices can't be told.
    pub regions_unknown: bool,
    /// Port and value that turn the machine off.
    pub power_off: Option<(u16, u16)>,
}

/// Physical memory, mapped page by page as it is asked for.
struct Pages<'a> {
    resources: RefCell<&'a mut Resources>,
    /// Page addresses and their frames.
    mapped: RefCell<Vec<(u64, usize)>>,
}

impl PhysicalMemory for Pages<'_> {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let end = address.checked_add(length as u64)?;
        if length == 0 || length > LONGEST || end > HIGHEST {
            return None;
        }
        let page = PAGE as u64;
        for page in (address / page * page..end).step_by(PAGE) {
            if self.mapped.borrow().iter().any(|(mapped, _)| *mapped == page) {
                continue;
            }
            let mut resources = self.resources.borrow_mut();
            let frame = resources.device_frame(page, 12).ok()?;
            self.mapped.borrow_mut().push((page, frame));
            let frame = in_slot::<cap_type::_4k>(frame);
            let address = TABLES + page as usize;
            resources.map_own(frame, address, CapRights::read_only(), VmAttributes::DEFAULT).ok()?;
        }
        // SAFETY: all its pages are mapped, read-only, and stay so as long as `self` lives, which the result borrows.
        // Firmware's tables are written by nobody once the system runs.
        #[allow(unsafe_code)]
        Some(unsafe { raw::bytes(TABLES + address as usize, length) })
    }
}

impl Drop for Pages<'_> {
    fn drop(&mut self) {
        for (_, frame) in self.mapped.get_mut().drain(..) {
            // Deleting the only capability of a frame unmaps it.
            if at(frame).delete().is_ok() {
                self.resources.get_mut().slots.give_back(frame);
            }
        }
    }
}

/// Reads the tables. What is missing is left out and said; nothing of it is fatal here.
pub fn read(bootinfo: &BootInfoPtr, resources: &mut Resources) -> Firmware {
    let mut firmware = Firmware::default();
    let Some(chunk) = bootinfo.extra().find(|chunk| chunk.id == abi::bootinfo::ID_RSDP) else {
        log!("no ACPI: the boot information has no RSDP");
        return firmware;
    };
    let pages = Pages { resources: RefCell::new(resources), mapped: RefCell::default() };
    let map = bootinfo.extra().find(|chunk| chunk.id == abi::bootinfo::ID_MEMORY_MAP);
    let map = memory_map::parse(map.map_or(&[], |chunk| chunk.content));
    if let Err(error) = read_tables(&mut firmware, chunk.content, &pages, &map) {
        log!("ACPI: {error}");
    }
    firmware
}

fn read_tables(
    firmware: &mut Firmware,
    rsdp: &[u8],
    pages: &Pages,
    map: &[memory_map::Entry],
) -> Result<(), firmware_tables::Error> {
    let root = RootTable::open(pages, &Rsdp::parse(rsdp)?)?;
    if let Some(table) = root.find(Signature::MADT)? {
        let madt = Madt::parse(table.bytes())?;
        firmware.io_apics = madt.io_apics().map(|io_apic| io_apic.gsi_base).collect();
        let serial = madt.isa_interrupt(4);
        firmware.com1 = pins::locate(serial.gsi, &firmware.io_apics).map(|(io_apic, input)| Pin {
            io_apic,
            input,
            level: serial.trigger == Trigger::Level,
            low: serial.polarity == Polarity::Low,
        });
    }
    match root.find(Signature::HPET)? {
        Some(table) => firmware.hpet = Some(Hpet::parse(table.bytes())?),
        None => log!("ACPI has no HPET"),
    }
    match root.find(Signature::MCFG)? {
        Some(table) => firmware.ecam = Mcfg::parse(table.bytes())?.regions().collect(),
        None => log!("ACPI has no MCFG: PCI configuration space can't be reached"),
    }
    if let Some(table) = root.find(Signature::DMAR)? {
        match Dmar::parse(table.bytes()) {
            Ok(dmar) => read_regions(firmware, &dmar, map),
            // The kernel can't read it either, so nothing is passed through.
            Err(error) => log!("ACPI: {error}"),
        }
    }
    if let Some(table) = root.find(Signature::FADT)? {
        firmware.power_off = power_off(table.bytes(), pages);
    }
    Ok(())
}

/// One region for each device that a structure names.
fn read_regions(firmware: &mut Firmware, dmar: &Dmar, map: &[memory_map::Entry]) {
    for memory in dmar.reserved_memory() {
        let entries = map.iter().map(|entry| (entry.base, entry.end, entry.kind == memory_map::RAM));
        let ecam =
            firmware.ecam.iter().map(|ecam| (ecam.start(), ecam.start().saturating_add(ecam.length())));
        let unfit = fit((memory.base, memory.limit), entries, ecam).err().map(|unfit| match unfit {
            Unfit::Unaligned => NotMapped::Unaligned,
            Unfit::Ram => NotMapped::Ram,
            Unfit::NotReserved => NotMapped::NotReserved,
            Unfit::Registers => NotMapped::Registers,
        });
        for scope in memory.scopes() {
            let mut device =
                pci::Path { segment: memory.segment, bus: scope.start_bus, hops: heapless::Vec::new() };
            let fits = scope.path().all(|step| device.hops.push(pci::DevFn(step.devfn())).is_ok());
            firmware.regions_unknown |= !fits;
            firmware.regions.push(ReservedRegion { base: memory.base, limit: memory.limit, device, unfit });
        }
    }
}

fn power_off(fadt: &[u8], pages: &Pages) -> Option<(u16, u16)> {
    let port = Fadt::parse(fadt).ok()?.pm1a_control?;
    // The DSDT's address: ACPI 6.5, table 5.9.
    let address = u32::from_le_bytes(fadt.get(40..44)?.try_into().ok()?);
    let header = pages.bytes(address.into(), 8)?;
    let length = u32::from_le_bytes(header.get(4..8)?.try_into().ok()?) as usize;
    let sleep_type = sleep::s5_type(pages.bytes(address.into(), length)?)?;
    Some((port, sleep::power_off_value(sleep_type)))
}

/// The pins that comparator `number` of the timer can reach, one bit each. Its registers lie at `offset` of the page in
/// `frame`, which is mapped for that.
pub fn hpet_pins(resources: &mut Resources, frame: usize, offset: usize, number: u8) -> Result<u32, Failure> {
    let address = TABLES;
    let frame = in_slot::<cap_type::_4k>(frame);
    resources.map_own(frame, address, CapRights::read_only(), VmAttributes::UNCACHEABLE)?;
    // SAFETY: the timer's registers are mapped there; reading a comparator's capabilities changes nothing.
    #[allow(unsafe_code)]
    let pins = unsafe { raw::register(address + offset + 0x104 + usize::from(number) * 0x20) };
    frame.frame_unmap().during("unmapping the timer")?;
    Ok(pins)
}
