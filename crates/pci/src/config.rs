// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access to configuration space, and the registers that every function has (PCI Local Bus 3.0, section 6.1).

use crate::address::Address;
use crate::matching::Identity;

/// How wide an access is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Word,
    /// 4 bytes.
    Dword,
}

impl Width {
    /// From a number of bytes; `None` for others than 1, 2 and 4.
    pub const fn from_bytes(bytes: u8) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Dword),
            _ => None,
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }

    /// The bits of a value that the access carries.
    pub const fn mask(self) -> u32 {
        match self {
            Self::Byte => 0xff,
            Self::Word => 0xffff,
            Self::Dword => u32::MAX,
        }
    }
}

/// The configuration space of a machine. `offset` is a multiple of the width and below 4096. What doesn't exist reads
/// all ones and swallows writes; bytes that an access doesn't name aren't touched (status registers clear what is
/// written to them as one).
pub trait ConfigSpace {
    /// Reads, zero-extended.
    fn read(&self, at: Address, offset: u16, width: Width) -> u32;
    /// Writes the low bits of `value`.
    fn write(&self, at: Address, offset: u16, width: Width, value: u32);

    /// Reads a byte.
    fn read8(&self, at: Address, offset: u16) -> u8 {
        self.read(at, offset, Width::Byte) as u8
    }
    /// Reads 16 bits.
    fn read16(&self, at: Address, offset: u16) -> u16 {
        self.read(at, offset, Width::Word) as u16
    }
    /// Reads 32 bits.
    fn read32(&self, at: Address, offset: u16) -> u32 {
        self.read(at, offset, Width::Dword)
    }
    /// Writes a byte.
    fn write8(&self, at: Address, offset: u16, value: u8) {
        self.write(at, offset, Width::Byte, value.into());
    }
    /// Writes 16 bits.
    fn write16(&self, at: Address, offset: u16, value: u16) {
        self.write(at, offset, Width::Word, value.into());
    }
    /// Writes 32 bits.
    fn write32(&self, at: Address, offset: u16, value: u32) {
        self.write(at, offset, Width::Dword, value);
    }
}

/// Offsets of the registers of the header.
pub mod register {
    /// Vendor ID; the device ID is above it.
    pub const VENDOR: u16 = 0x00;
    /// Command.
    pub const COMMAND: u16 = 0x04;
    /// Status.
    pub const STATUS: u16 = 0x06;
    /// Revision; the class code is above it.
    pub const REVISION: u16 = 0x08;
    /// Cache line size.
    pub const CACHE_LINE: u16 = 0x0c;
    /// Header type; bit 7: the device has several functions.
    pub const HEADER_TYPE: u16 = 0x0e;
    /// First base address register.
    pub const BAR: u16 = 0x10;
    /// Bridge: primary, secondary, subordinate bus, one byte each.
    pub const BUSES: u16 = 0x18;
    /// Subsystem vendor ID; the subsystem ID is above it.
    pub const SUBSYSTEM: u16 = 0x2c;
    /// Expansion ROM of an endpoint.
    pub const ROM: u16 = 0x30;
    /// Offset of the first capability.
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt line.
    pub const INTERRUPT_LINE: u16 = 0x3c;
    /// Interrupt pin.
    pub const INTERRUPT_PIN: u16 = 0x3d;
    /// Bridge control.
    pub const BRIDGE_CONTROL: u16 = 0x3e;
}

/// Bits of the command register (section 6.2.2).
pub mod command {
    /// Answers I/O accesses.
    pub const IO: u16 = 1 << 0;
    /// Answers memory accesses.
    pub const MEMORY: u16 = 1 << 1;
    /// May master the bus: DMA and message-signalled interrupts.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// Reports parity errors.
    pub const PARITY: u16 = 1 << 6;
    /// Reports system errors.
    pub const SERR: u16 = 1 << 8;
    /// INTx is off.
    pub const INTX_DISABLE: u16 = 1 << 10;
}

/// Status: the capability list is there.
pub const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Bridge control: reset of the secondary bus.
pub const BRIDGE_BUS_RESET: u16 = 1 << 6;

/// The kind of header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// Type 0: an endpoint.
    Endpoint,
    /// Type 1: a PCI-to-PCI bridge.
    Bridge,
    /// CardBus, or a type that no specification names.
    Other(u8),
}

/// Whether a function answers: neither with all ones, as nobody does, nor with vendor 1, which says that it isn't ready (PCI Express Base 4.0,
/// section 2.3.2).
pub fn present<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> bool {
    let ids = space.read32(at, register::VENDOR);
    !matches!(ids as u16, 0xffff | 0) && ids != 0xffff_0001
}

/// Whether a virtual function answers: its vendor and device ID always read all ones (Single Root I/O Virtualization 1.1, sections
/// 3.4.1.1 and 3.4.1.2), but bits of Command and Status are hardwired to zero.
pub fn virtual_present<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> bool {
    space.read32(at, register::COMMAND) != u32::MAX && space.read32(at, register::REVISION) != u32::MAX
}

/// The kind of header, and whether the device has several functions (section 6.2.1).
pub fn header<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> (Header, bool) {
    let byte = space.read8(at, register::HEADER_TYPE);
    let header = match byte & 0x7f {
        0 => Header::Endpoint,
        1 => Header::Bridge,
        other => Header::Other(other),
    };
    (header, byte & 0x80 != 0)
}

/// What a function says it is. Bridges have no subsystem in their header.
pub fn identity<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Identity {
    let class = space.read32(at, register::REVISION);
    let subsystem = match header(space, at).0 {
        Header::Endpoint => space.read32(at, register::SUBSYSTEM),
        _ => 0,
    };
    Identity {
        vendor: space.read16(at, register::VENDOR),
        device: space.read16(at, register::VENDOR + 2),
        subvendor: subsystem as u16,
        subdevice: (subsystem >> 16) as u16,
        class: class >> 8,
        revision: class as u8,
    }
}

/// Sets and clears bits of the command register.
pub fn update_command<C: ConfigSpace + ?Sized>(space: &C, at: Address, set: u16, clear: u16) {
    let old = space.read16(at, register::COMMAND);
    space.write16(at, register::COMMAND, old & !clear | set);
}
