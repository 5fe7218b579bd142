// SPDX-License-Identifier: MIT OR Apache-2.0
//! One PCI function: its configuration space and what its header says.

use super::{Bar, Capabilities};
use crate::acpi::Ecam;
use crate::mmio::Mmio;
use core::fmt;

/// Where a function sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Bus number.
    pub bus: u8,
    /// Device number, below 32.
    pub device: u8,
    /// Function number, below 8.
    pub function: u8,
}

impl Address {
    /// The offset of its configuration space from that of bus 0, in bytes.
    pub fn offset(self) -> u64 {
        u64::from(self.bus) << 20 | u64::from(self.device) << 15 | u64::from(self.function) << 12
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// Who a function says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Class, subclass, programming interface: 24 bits.
    pub class: u32,
}

/// A function that answers.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    address: Address,
    ids: Ids,
    header_type: u8,
    config: Mmio,
}

const COMMAND: usize = 0x04;
const MEMORY: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;
const NO_INTX: u16 = 1 << 10;
const STATUS: usize = 0x06;
const INTERRUPT_STATUS: u16 = 1 << 3;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;

impl Function {
    pub(super) fn at(ecam: Ecam, address: Address) -> Option<Self> {
        // SAFETY: MCFG says that configuration space lies there; `init` checked that it is mapped.
        let config = unsafe { Mmio::new(ecam.base + address.offset(), 0x1000) };
        let ids = config.read32(0);
        if ids as u16 == 0xffff {
            return None;
        }
        let ids = Ids { vendor: ids as u16, device: (ids >> 16) as u16, class: config.read32(8) >> 8 };
        Some(Self { address, ids, header_type: config.read8(0x0e), config })
    }

    /// Where it sits.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Who it is.
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// Its configuration space, 4 KiB.
    pub fn config(&self) -> &Mmio {
        &self.config
    }

    /// The subsystem's vendor and device ID.
    pub fn subsystem(&self) -> (u16, u16) {
        (self.config.read16(0x2c), self.config.read16(0x2e))
    }

    pub(super) fn is_multifunction(&self) -> bool {
        self.header_type & 0x80 != 0
    }

    pub(super) fn secondary_bus(&self) -> Option<u8> {
        (self.header_type & 0x7f == 1).then(|| self.config.read8(0x19))
    }

    /// Turns on memory decoding and bus mastering (DMA and messages), and pin interrupts off.
    pub fn enable(&self) {
        let command = self.config.read16(COMMAND);
        self.config.write16(COMMAND, command | MEMORY | BUS_MASTER | NO_INTX);
    }

    /// The global interrupt that firmware says its interrupt line (INTx) has; `None` if it has none.
    pub fn interrupt(&self) -> Option<u8> {
        (self.config.read8(INTERRUPT_PIN) != 0).then(|| self.config.read8(INTERRUPT_LINE))
    }

    /// Turns its interrupt line on or off.
    pub fn let_line(&self, on: bool) {
        let command = self.config.read16(COMMAND) & !NO_INTX;
        self.config.write16(COMMAND, if on { command } else { command | NO_INTX });
    }

    /// Whether it wants to pull its interrupt line, be that on or off.
    pub fn wants_line(&self) -> bool {
        self.config.read16(STATUS) & INTERRUPT_STATUS != 0
    }

    /// Turns bus mastering off: neither DMA nor messages any more.
    pub fn disable_bus_mastering(&self) {
        let command = self.config.read16(COMMAND);
        self.config.write16(COMMAND, command & !BUS_MASTER);
    }

    /// Resets the function alone, if it can (PCI Express Base Specification 6.0, section 6.6.2). It comes back with memory decoding and bus
    /// mastering off, and its BARs where they were: whoever started the guest puts them back.
    #[cfg(target_os = "none")]
    pub fn reset(&self) -> bool {
        const RESET: u16 = 1 << 15;
        const CAN_RESET: u32 = 1 << 28;
        const RECOVERY_NS: u64 = 100_000_000;
        let Some(offset) = self.capabilities().find_id(super::capability_id::EXPRESS) else { return false };
        if self.config.read32(offset + 4) & CAN_RESET == 0 {
            return false;
        }
        self.config.write16(offset + 8, self.config.read16(offset + 8) | RESET);
        crate::time::sleep_until(crate::time::now() + RECOVERY_NS);
        true
    }

    /// The memory BAR with this index (0 to 5), as assigned by whoever started the guest. `None` for an empty or an I/O BAR, the upper half of
    /// a 64-bit one, and one beyond the 4 GiB that are mapped.
    pub fn bar(&self, index: u8) -> Option<Bar> {
        Bar::probe(&self.config, index)
    }

    /// The capability list.
    pub fn capabilities(&self) -> Capabilities<'_> {
        Capabilities::new(&self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn addresses() {
        let address = Address { bus: 1, device: 0x1f, function: 7 };
        assert_eq!(address.offset(), 0x1f_f000);
        assert_eq!(address.to_string(), "01:1f.7");
    }
}
