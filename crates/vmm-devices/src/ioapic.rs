// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O APIC (82093AA datasheet, section 3), for the interrupt lines (INTx) of passed-through devices: level-triggered only.
//!
//! The real line can be looked at in one way only: by letting it interrupt. So a pin is *armed*, which is to say that the host's handler
//! is acknowledged and the line not high as far as anybody knows, or *held*: the line was high, and its handler waits for an
//! acknowledgement. A held pin whose entry can deliver is in service (remote IRR) until the guest's end of interrupt. Whoever
//! may have let the line fall arms the pin: if the line is high it interrupts again at once.
use crate::apic::LocalApic;

/// Pins; the first has global interrupt 0.
pub const PINS: usize = 24;
/// The pin of a VM's first device; each device has its own.
pub const FIRST_DEVICE_PIN: u8 = 16;

/// Byte offsets of the registers in the page.
mod register {
    pub const SELECT: u32 = 0x00;
    pub const WINDOW: u32 = 0x10;
}

/// Indices of what the window shows.
mod index {
    pub const ID: u8 = 0;
    pub const VERSION: u8 = 1;
    pub const ARBITRATION: u8 = 2;
    pub const FIRST_ENTRY: u8 = 0x10;
}

/// Version 0x11, which has no register for ends of interrupts.
const VERSION: u32 = (PINS as u32 - 1) << 16 | 0x11;
const ID_BITS: u32 = 0x0f00_0000;
/// Bits of an entry's lower half: delivery mode, logical destination, remote IRR, level-triggered, masked.
const MODE: u32 = 7 << 8;
const LOGICAL: u32 = 1 << 11;
const REMOTE_IRR: u32 = 1 << 14;
const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
/// What a guest can change of it: those, the vector and the polarity, which nobody looks at.
const WRITABLE: u32 = 0xff | MODE | LOGICAL | 1 << 13 | LEVEL | MASKED;
const DESTINATION: u32 = 0xff00_0000;

#[derive(Clone, Copy)]
struct Entry {
    low: u32,
    high: u32,
}

impl Entry {
    /// The vector that it sends to CPU 0, if it sends one: fixed delivery, physical destination 0 or broadcast, unmasked.
    fn vector(&self) -> Option<u8> {
        let reaches = matches!(self.high >> 24, 0 | 0xff) && self.low & (MODE | LOGICAL | MASKED) == 0;
        (reaches && self.low & LEVEL != 0 && self.low & 0xf0 != 0).then_some(self.low as u8)
    }
}

/// Pins to arm, a bit each: acknowledge their handlers.
pub type Pins = u32;

/// The I/O APIC.
pub struct IoApic {
    select: u8,
    id: u32,
    entries: [Entry; PINS],
    held: Pins,
    in_service: Pins,
}

impl Default for IoApic {
    fn default() -> Self {
        Self::new()
    }
}

impl IoApic {
    /// As after reset: every pin masked. All are armed.
    #[must_use]
    pub const fn new() -> Self {
        Self { select: 0, id: 0, entries: [Entry { low: MASKED, high: 0 }; PINS], held: 0, in_service: 0 }
    }

    /// A pin's line was high; its handler isn't acknowledged yet.
    pub fn raise(&mut self, pin: u8, apic: &mut LocalApic) {
        let (index, bit) = (usize::from(pin), bit(pin));
        let Some(entry) = self.entries.get(index) else { return };
        self.held |= bit;
        if self.in_service & bit == 0 && entry.vector().is_some_and(|vector| apic.raise_level(vector)) {
            self.in_service |= bit;
        }
    }

    /// The guest has ended a level-triggered interrupt (the local APIC's broadcast).
    #[must_use]
    pub fn end(&mut self, vector: u8) -> Pins {
        let mut ended = 0;
        for (pin, entry) in self.entries.iter().enumerate() {
            if entry.low as u8 == vector {
                ended |= self.in_service & 1 << pin;
            }
        }
        self.in_service &= !ended;
        self.arm(ended)
    }

    /// A pin's handler is a new one, that nobody has acknowledged. What was in service stays so until its end.
    #[must_use]
    pub fn renew(&mut self, pin: u8) -> Pins {
        self.held |= bit(pin);
        self.arm(bit(pin) & !self.in_service)
    }

    fn arm(&mut self, pins: Pins) -> Pins {
        let pins = pins & self.held;
        self.held &= !pins;
        pins
    }

    /// Reads `width` bytes of the page. Only aligned 32-bit reads have a meaning; others give 0.
    #[must_use]
    pub fn read(&self, offset: u32, width: u8) -> u32 {
        match (offset, width) {
            (register::SELECT, 4) => self.select.into(),
            (register::WINDOW, 4) => self.read_indexed(),
            _ => 0,
        }
    }

    fn read_indexed(&self) -> u32 {
        match self.select {
            index::ID | index::ARBITRATION => self.id,
            index::VERSION => VERSION,
            _ => {
                let Some((pin, high)) = entry_at(self.select) else { return 0 };
                let remote = if self.in_service & bit(pin) != 0 { REMOTE_IRR } else { 0 };
                let entry = &self.entries[usize::from(pin)];
                if high { entry.high } else { entry.low | remote }
            }
        }
    }

    /// Writes `width` bytes of the page. Only aligned 32-bit writes do something.
    #[must_use]
    pub fn write(&mut self, offset: u32, width: u8, value: u32) -> Pins {
        match (offset, width) {
            (register::SELECT, 4) => self.select = value as u8,
            (register::WINDOW, 4) => return self.write_indexed(value),
            _ => {}
        }
        0
    }

    fn write_indexed(&mut self, value: u32) -> Pins {
        if self.select == index::ID {
            self.id = value & ID_BITS;
        }
        let Some((pin, high)) = entry_at(self.select) else { return 0 };
        let entry = &mut self.entries[usize::from(pin)];
        if high {
            entry.high = value & DESTINATION;
        } else {
            entry.low = value & WRITABLE;
            // An entry that isn't level-triggered waits for no end, which is how it is freed where the end went astray.
            if value & LEVEL == 0 {
                self.in_service &= !bit(pin);
            }
        }
        // The line may have fallen while nobody could be told of it.
        let can = entry.vector().is_some() && self.in_service & bit(pin) == 0;
        self.arm(if can { bit(pin) } else { 0 })
    }
}

fn bit(pin: u8) -> Pins {
    1u32.checked_shl(pin.into()).filter(|_| usize::from(pin) < PINS).unwrap_or(0)
}

/// The pin whose entry has this index, and whether it is the upper half.
fn entry_at(index: u8) -> Option<(u8, bool)> {
    let at = index.checked_sub(index::FIRST_ENTRY)?;
    (usize::from(at / 2) < PINS).then_some((at / 2, at % 2 == 1))
}

#[cfg(test)]
#[path = "ioapic_tests.rs"]
mod tests;
