// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O APICs (82093AA datasheet; remappable format: VT-d specification, 5.1.5.1).

use heapless::Vec;

use super::apic;
use super::window::map_device;
use crate::iommu;
use crate::sync::KernelCell;

/// Most I/O APICs.
pub const MAX: usize = 8;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;
const ACTIVE_LOW: u32 = 1 << 13;

struct IoApic {
    base: *mut u32,
    id: u8,
    pins: u8,
    /// Index of the remapping entry of pin 0.
    first_irte: u16,
}

static IOAPICS: KernelCell<Vec<IoApic, MAX>> = KernelCell::new(Vec::new());

fn all() -> &'static mut Vec<IoApic, MAX> {
    // SAFETY: the functions of this file take it one after the other and don't keep it.
    unsafe { IOAPICS.get() }
}

impl IoApic {
    fn read(&self, register: u32) -> u32 {
        // SAFETY: index register at 0, data register at 0x10 of a page mapped uncached.
        unsafe {
            self.base.write_volatile(register);
            self.base.byte_add(0x10).read_volatile()
        }
    }
    fn write(&self, register: u32, value: u32) {
        // SAFETY: as for `read`.
        unsafe {
            self.base.write_volatile(register);
            self.base.byte_add(0x10).write_volatile(value);
        }
    }
}

/// Takes an I/O APIC over and masks its pins.
pub fn add(address: u64, id: u8) {
    let base = map_device(address, 4096).cast();
    let mut io = IoApic { base, id, pins: 0, first_irte: pins_total() };
    io.pins = ((io.read(1) >> 16 & 0xff) + 1).min(120) as u8;
    for pin in 0..io.pins {
        io.write(0x10 + 2 * u32::from(pin), MASKED);
    }
    // A ninth I/O APIC stays masked as firmware left it.
    let _ = all().push(io);
}

fn pins_total() -> u16 {
    all().iter().map(|io| u16::from(io.pins)).sum()
}

/// True for the indices of remapping entries that belong to pins.
pub fn owns_irte(index: u16) -> bool {
    index < pins_total()
}

/// Number of I/O APICs.
pub fn count() -> u64 {
    all().len() as u64
}

/// Pins of an I/O APIC.
pub fn pins(ioapic: u8) -> u64 {
    all().get(usize::from(ioapic)).map_or(0, |io| u64::from(io.pins))
}

/// Routes a pin to a CPU vector and unmasks it; with interrupt remapping on, through an entry of its own.
pub fn enable_pin(ioapic: u8, pin: u8, level: bool, active_low: bool, vector: u8) {
    let Some(io) = all().get(usize::from(ioapic)) else { return };
    let low = u32::from(vector) | if level { LEVEL } else { 0 } | if active_low { ACTIVE_LOW } else { 0 };
    let high = match irte(io, pin) {
        Some(index) => {
            let source = iommu::ioapic_source(io.id).unwrap_or(0);
            iommu::set_irte(index, source, vector, apic::id() as u8, level);
            // Index bits 0..15 at 49..64, format bit at 48, index bit 15 at 11.
            u32::from(index & 0x7fff) << 17 | 1 << 16
        }
        None => apic::id() << 24,
    };
    let register = 0x10 + 2 * u32::from(pin);
    io.write(register, MASKED);
    io.write(register + 1, high);
    io.write(register, low);
}

fn irte(io: &IoApic, pin: u8) -> Option<u16> {
    iommu::info().interrupt_remapping.then_some(io.first_irte + u16::from(pin))
}

/// Masks a pin and gives its remapping entry back.
pub fn disable_pin(ioapic: u8, pin: u8) {
    mask_pin(ioapic, pin, true);
    if let Some(io) = all().get(usize::from(ioapic))
        && let Some(index) = irte(io, pin)
    {
        iommu::clear_irte(index);
    }
}

/// Masks or unmasks a pin.
pub fn mask_pin(ioapic: u8, pin: u8, masked: bool) {
    let Some(io) = all().get(usize::from(ioapic)) else { return };
    let register = 0x10 + 2 * u32::from(pin);
    let old = io.read(register);
    io.write(register, if masked { old | MASKED } else { old & !MASKED });
}
