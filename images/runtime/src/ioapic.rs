// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC that the MADT names (82093AA datasheet, section 3): interrupt lines of PCI devices.

use crate::acpi;
use crate::mmio::Mmio;

const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const BYTES: usize = 0x20;
/// Index of the version, and of an entry's lower half; its upper half follows.
const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;
/// Bits of an entry: active low, in service, level-triggered, masked.
const ACTIVE_LOW: u32 = 1 << 13;
const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;

/// The controller.
#[derive(Clone, Copy)]
pub struct IoApic {
    registers: Mmio,
    first: u32,
}

impl IoApic {
    /// Finds it.
    pub fn find() -> Option<Self> {
        let acpi::IoApic { base, first } = acpi::io_apic()?;
        // SAFETY: firmware says that its registers lie there; they reach no memory.
        Some(Self { registers: unsafe { Mmio::new(base, BYTES) }, first })
    }

    /// Sends a PCI device's line to this CPU as `vector`, unmasked; `None` if the controller hasn't this global interrupt.
    pub fn route(&self, interrupt: u8, vector: u8) -> Option<Pin> {
        let pin = u32::from(interrupt).checked_sub(self.first)?;
        let pins = (self.read(VERSION) >> 16 & 0xff) + 1;
        let pin = (pin < pins).then_some(Pin { controller: *self, index: FIRST_ENTRY + 2 * pin })?;
        self.write(pin.index, MASKED);
        self.write(pin.index + 1, 0);
        self.write(pin.index, LEVEL | ACTIVE_LOW | u32::from(vector));
        Some(pin)
    }

    fn read(&self, index: u32) -> u32 {
        self.registers.write32(SELECT, index);
        self.registers.read32(WINDOW)
    }

    fn write(&self, index: u32, value: u32) {
        self.registers.write32(SELECT, index);
        self.registers.write32(WINDOW, value);
    }
}

/// A pin with a route.
#[derive(Clone, Copy)]
pub struct Pin {
    controller: IoApic,
    index: u32,
}

impl Pin {
    /// Masks or unmasks it. Call it with interrupts off, as everything here.
    pub fn mask(&self, masked: bool) {
        let old = self.controller.read(self.index) & !MASKED;
        self.controller.write(self.index, if masked { old | MASKED } else { old });
    }

    /// Whether its interrupt was delivered and hasn't ended.
    pub fn in_service(&self) -> bool {
        self.controller.read(self.index) & REMOTE_IRR != 0
    }
}
