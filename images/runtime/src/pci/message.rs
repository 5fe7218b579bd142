// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages as interrupts: MSI (PCI Local Bus 3.0, section 6.8.1) and MSI-X (section 6.8.2).

use super::{Function, capability_id};
use crate::mmio::Mmio;

/// What a device writes, and where, to raise an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The address.
    pub address: u64,
    /// The data.
    pub data: u32,
}

impl Message {
    /// The message that raises `vector` on the CPU with APIC ID `destination` (below 256): physical destination, fixed
    /// delivery, edge (Intel SDM volume 3, section 12.11).
    pub fn new(vector: u8, destination: u32) -> Self {
        Self { address: 0xfee0_0000 | u64::from(destination & 0xff) << 12, data: u32::from(vector) }
    }

    /// The message that raises `vector` on this CPU.
    #[cfg(target_os = "none")]
    pub fn to_this_cpu(vector: u8) -> Self {
        Self::new(vector, crate::apic::id())
    }
}

/// A function's MSI capability.
#[derive(Clone, Copy, Debug)]
pub struct Msi {
    config: Mmio,
    offset: usize,
}

impl Msi {
    const CONTROL: usize = 2;
    const ENABLE: u16 = 1;
    const WIDE: u16 = 1 << 7;

    /// The function's capability, if it has one.
    pub fn of(function: &Function) -> Option<Self> {
        let offset = function.capabilities().find_id(capability_id::MSI)?;
        Some(Self { config: *function.config(), offset })
    }

    /// Programs one message and turns MSI on. Bus mastering must be on for messages to leave the device.
    pub fn enable(&self, message: Message) {
        let control = self.config.read16(self.offset + Self::CONTROL);
        self.config.write16(self.offset + Self::CONTROL, control & !Self::ENABLE);
        self.config.write32(self.offset + 4, message.address as u32);
        let data = if control & Self::WIDE != 0 {
            self.config.write32(self.offset + 8, (message.address >> 32) as u32);
            12
        } else {
            8
        };
        self.config.write16(self.offset + data, message.data as u16);
        // One vector of however many the device offers.
        const MULTIPLE: u16 = 0b111 << 4;
        self.config.write16(self.offset + Self::CONTROL, control & !MULTIPLE | Self::ENABLE);
    }

    /// Turns MSI off.
    pub fn disable(&self) {
        let control = self.config.read16(self.offset + Self::CONTROL);
        self.config.write16(self.offset + Self::CONTROL, control & !Self::ENABLE);
    }
}

/// A function's MSI-X capability and table.
#[derive(Clone, Copy, Debug)]
pub struct MsiX {
    config: Mmio,
    offset: usize,
    table: Mmio,
}

impl MsiX {
    const CONTROL: usize = 2;
    const ENABLE: u16 = 1 << 15;
    const MASK_ALL: u16 = 1 << 14;
    const ENTRY_BYTES: usize = 16;

    /// The function's capability, if it has one whose table lies within a memory BAR.
    pub fn of(function: &Function) -> Option<Self> {
        let config = *function.config();
        let offset = function.capabilities().find_id(capability_id::MSI_X)?;
        let vectors = usize::from(config.read16(offset + Self::CONTROL) & 0x7ff) + 1;
        let place = config.read32(offset + 4);
        let bar = function.bar((place & 0b111) as u8)?.registers();
        let table = bar.part((place & !0b111) as usize, vectors * Self::ENTRY_BYTES)?;
        Some(Self { config, offset, table })
    }

    /// How many vectors the table has.
    pub fn vectors(&self) -> usize {
        self.table.bytes() / Self::ENTRY_BYTES
    }

    /// Turns MSI-X on, with every vector masked.
    pub fn enable(&self) {
        let control = self.config.read16(self.offset + Self::CONTROL);
        self.config.write16(self.offset + Self::CONTROL, control | Self::ENABLE | Self::MASK_ALL);
        for index in 0..self.vectors() {
            self.set_masked(index, true);
        }
        self.config.write16(self.offset + Self::CONTROL, (control | Self::ENABLE) & !Self::MASK_ALL);
    }

    /// Gives a vector its message and unmasks it.
    ///
    /// # Panics
    /// If the table has no such vector.
    pub fn set(&self, index: usize, message: Message) {
        let entry = index * Self::ENTRY_BYTES;
        self.set_masked(index, true);
        self.table.write32(entry, message.address as u32);
        self.table.write32(entry + 4, (message.address >> 32) as u32);
        self.table.write32(entry + 8, message.data);
        self.set_masked(index, false);
    }

    /// Masks or unmasks a vector; what comes while it is masked stays pending.
    ///
    /// # Panics
    /// If the table has no such vector.
    pub fn set_masked(&self, index: usize, masked: bool) {
        self.table.write32(index * Self::ENTRY_BYTES + 12, u32::from(masked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_format() {
        assert_eq!(Message::new(0x31, 2), Message { address: 0xfee0_2000, data: 0x31 });
    }
}
