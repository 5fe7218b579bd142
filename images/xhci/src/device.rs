// SPDX-License-Identifier: MIT OR Apache-2.0
//! As much of an xHCI as it takes to ring its interrupters (xHCI 1.2, sections 5.3 to 5.5): each has an event ring, and says
//! so again if the driver reports having read up to another place than the ring's end.

use alloc::vec::Vec;
use guest_runtime::dma::Buffer;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{self, Function};

/// Vendors and devices that are known to be one: QEMU's own, and NEC's.
const KNOWN: [(u16, u16); 2] = [(0x1b36, 0x000d), (0x1033, 0x0194)];

/// Capability registers: length of their own, structural parameters, place of the runtime registers.
const LENGTH: usize = 0x00;
const PARAMETERS: usize = 0x04;
const RUNTIME: usize = 0x18;
/// USB command, an operational register: interrupts on.
const INTERRUPTS_ON: u32 = 1 << 2;
/// An interrupter's registers, from the runtime registers on.
const INTERRUPTERS: usize = 0x20;
const INTERRUPTER_BYTES: usize = 0x20;
const MANAGEMENT: usize = 0x00;
const TABLE_SIZE: usize = 0x08;
const TABLE: usize = 0x10;
const DEQUEUE: usize = 0x18;
/// Interrupter management: on.
const ON: u32 = 1 << 1;
/// Dequeue pointer: the handler isn't busy any more.
const NOT_BUSY: u32 = 1 << 3;
/// Where the ring is in an interrupter's page, its events, and the bytes of one.
const RING: usize = 0x400;
const EVENTS: u32 = 16;
const EVENT_BYTES: u64 = 16;

/// The controller, stopped, with a ring for each interrupter.
pub struct Xhci {
    function: Function,
    runtime: Mmio,
    rings: Vec<Buffer>,
}

impl Xhci {
    /// Finds it and gives its interrupters rings; bus mastering is on then.
    pub fn find() -> Result<Self, &'static str> {
        let found = KNOWN.iter().find_map(|&(vendor, device)| pci::find(vendor, device));
        let function = found.ok_or("there is no USB controller")?;
        let registers = function.bar(0).ok_or("BAR 0 is missing")?.registers();
        let count = (registers.read32(PARAMETERS) >> 8 & 0x7ff) as usize;
        let runtime = (registers.read32(RUNTIME) & !0x1f) as usize;
        let runtime = registers
            .part(runtime, INTERRUPTERS + count * INTERRUPTER_BYTES)
            .ok_or("the runtime registers lie outside of BAR 0")?;
        function.enable();
        let operational = (registers.read32(LENGTH) & 0xff) as usize;
        registers.write32(operational, INTERRUPTS_ON);
        let mut xhci = Self { function, runtime, rings: Vec::new() };
        for number in 0..count {
            xhci.give_ring(number);
        }
        Ok(xhci)
    }

    fn give_ring(&mut self, number: usize) {
        let mut page = Buffer::new(4096);
        let ring = page.address() + RING as u64;
        page.write(0, &ring.to_le_bytes());
        page.write(8, &EVENTS.to_le_bytes());
        let table = page.address();
        self.write(number, TABLE_SIZE, 1);
        self.write(number, DEQUEUE, ring as u32);
        self.write(number, DEQUEUE + 4, (ring >> 32) as u32);
        self.write(number, TABLE, table as u32);
        self.write(number, TABLE + 4, (table >> 32) as u32);
        self.rings.push(page);
    }

    /// The PCI function.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// How many interrupters there are.
    pub fn interrupters(&self) -> usize {
        self.rings.len()
    }

    /// Turns all interrupters on; after messages have been turned on.
    pub fn turn_on(&self) {
        (0..self.interrupters()).for_each(|number| self.write(number, MANAGEMENT, ON));
    }

    /// Makes an interrupter interrupt, at once.
    pub fn ring(&self, number: usize) {
        let second = self.rings[number].address() + RING as u64 + EVENT_BYTES;
        self.write(number, DEQUEUE, second as u32 | NOT_BUSY);
    }

    fn write(&self, number: usize, register: usize, value: u32) {
        self.runtime.write32(INTERRUPTERS + number * INTERRUPTER_BYTES + register, value);
    }
}
