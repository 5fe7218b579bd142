// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space by way of two ports (PCI Local Bus 3.0, section 3.2.2.3.2, configuration mechanism 1): one names bus, function
//! and register, the other four bytes are the register's.
use crate::ecam::Target;

/// Where the register is named, by an access of 4 bytes; any other access of these four ports goes elsewhere.
pub const ADDRESS: u16 = 0xcf8;
/// The first of the register's bytes.
pub const DATA: u16 = 0xcfc;
/// The last of them.
pub const DATA_LAST: u16 = 0xcff;
/// The data ports lead to configuration space.
const ENABLE: u32 = 1 << 31;
/// Bits of the address that can be written.
const WRITABLE: u32 = ENABLE | 0x00ff_fffc;

/// The address that was written last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConfigPorts {
    address: u32,
}

impl ConfigPorts {
    /// Reads the address.
    #[must_use]
    pub fn address(&self) -> u32 {
        self.address
    }

    /// Writes the address.
    pub fn set_address(&mut self, value: u32) {
        self.address = value & WRITABLE;
    }

    /// What an access of `width` bytes at a data port reaches; `None`: nothing, it reads all ones. That is so while they are off, for other
    /// buses than 0, and for an access that isn't aligned to its width.
    #[must_use]
    pub fn target(&self, port: u16, width: u8) -> Option<Target> {
        let low = port.checked_sub(DATA).filter(|_| port <= DATA_LAST)?;
        let fits = matches!(width, 1 | 2 | 4) && low.is_multiple_of(width.into());
        let bus = self.address >> 16 & 0xff;
        (fits && self.address & ENABLE != 0 && bus == 0).then_some(Target {
            devfn: (self.address >> 8) as u8,
            offset: (self.address & 0xfc) as u16 | low,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: u32, port: u16, width: u8) -> Option<(u8, u16)> {
        let mut ports = ConfigPorts::default();
        ports.set_address(address);
        ports.target(port, width).map(|target| (target.devfn, target.offset))
    }

    #[test]
    fn every_register_has_a_way() {
        for devfn in 0..=255u8 {
            for offset in (0..256u16).step_by(4) {
                let address = ENABLE | u32::from(devfn) << 8 | u32::from(offset);
                for (low, width) in [(0, 4), (0, 2), (2, 2), (0, 1), (1, 1), (2, 1), (3, 1)] {
                    assert_eq!(at(address, DATA + low, width), Some((devfn, offset + low)));
                    assert_eq!(at(address & !ENABLE, DATA + low, width), None, "off");
                    assert_eq!(at(address | 1 << 16, DATA + low, width), None, "another bus");
                }
            }
        }
    }

    #[test]
    fn nothing_is_unaligned_or_beyond() {
        for (low, width) in [(1, 2), (3, 2), (1, 4), (2, 4), (3, 4), (0, 0), (0, 3), (0, 8), (4, 1), (4, 4)] {
            assert_eq!(at(ENABLE, DATA + low, width), None, "{low} {width}");
        }
        assert_eq!(at(ENABLE, ADDRESS, 4), None);
    }

    #[test]
    fn reserved_bits_are_zero() {
        let mut ports = ConfigPorts::default();
        assert_eq!(ports.address(), 0);
        ports.set_address(u32::MAX);
        assert_eq!(ports.address(), 0x80ff_fffc);
    }
}
