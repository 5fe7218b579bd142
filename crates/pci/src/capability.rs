// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capability lists: PCI Local Bus 3.0, section 6.7, and PCI Express Base 4.0, section 7.6.3 for extended ones.
//!
//! The lists are a device's own words. A walk ends at an offset outside the list's area and at one that it has seen.

use crate::address::Address;
use crate::config::{ConfigSpace, STATUS_CAPABILITIES, register};

/// Capability IDs.
pub mod id {
    /// Power management.
    pub const POWER: u8 = 0x01;
    /// MSI.
    pub const MSI: u8 = 0x05;
    /// Vendor-specific.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSI_X: u8 = 0x11;
    /// Advanced features.
    pub const ADVANCED_FEATURES: u8 = 0x13;
}

/// Extended capability IDs.
pub mod extended_id {
    /// Advanced error reporting.
    pub const ERRORS: u16 = 0x0001;
    /// Access control services.
    pub const ACS: u16 = 0x000d;
    /// Device serial number.
    pub const SERIAL_NUMBER: u16 = 0x0003;
    /// Address translation services.
    pub const ATS: u16 = 0x000f;
    /// Single root I/O virtualization.
    pub const SRIOV: u16 = 0x0010;
    /// Page request interface.
    pub const PAGE_REQUESTS: u16 = 0x0013;
    /// Process address space IDs.
    pub const PASID: u16 = 0x001b;
}

/// A capability: its ID, and the offset of its first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Capability ID.
    pub id: u8,
    /// Offset, a multiple of 4 from 0x40 to 0xfc.
    pub offset: u16,
}

/// Walks a function's capability list.
pub struct Capabilities<'a, C: ?Sized> {
    space: &'a C,
    at: Address,
    next: u8,
    /// Bit `offset / 4`.
    seen: u64,
}

/// A function's capabilities, in their order. Empty if the status register denies the list.
pub fn capabilities<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Capabilities<'_, C> {
    let listed = space.read16(at, register::STATUS) & STATUS_CAPABILITIES != 0;
    let next = if listed { space.read8(at, register::CAPABILITIES) } else { 0 };
    Capabilities { space, at, next, seen: 0 }
}

impl<C: ConfigSpace + ?Sized> Iterator for Capabilities<'_, C> {
    type Item = Capability;

    fn next(&mut self) -> Option<Capability> {
        // The two low bits are reserved.
        let offset = self.next & !3;
        let bit = 1u64 << (offset / 4);
        if offset < 0x40 || self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        let word = self.space.read16(self.at, offset.into());
        self.next = (word >> 8) as u8;
        match word as u8 {
            0xff => None,
            id => Some(Capability { id, offset: offset.into() }),
        }
    }
}

/// The first capability of an ID.
pub fn find<C: ConfigSpace + ?Sized>(space: &C, at: Address, id: u8) -> Option<u16> {
    capabilities(space, at).find(|capability| capability.id == id).map(|capability| capability.offset)
}

/// The offset of the first extended capability of an ID, 0x100 to 0xffc.
pub fn find_extended<C: ConfigSpace + ?Sized>(space: &C, at: Address, id: u16) -> Option<u16> {
    let mut offset = 0x100;
    // As many headers as could lie there side by side.
    for _ in 0..(0x1000 - 0x100) / 8 {
        let header = space.read32(at, offset);
        if header == 0 || header == u32::MAX {
            return None;
        }
        if header as u16 == id {
            return Some(offset);
        }
        offset = (header >> 20) as u16 & !3;
        if offset < 0x100 {
            return None;
        }
    }
    None
}

/// The kind of a PCI Express function (Base 4.0, section 7.5.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Express {
    /// An endpoint, legacy or not.
    Endpoint,
    /// A root port.
    RootPort,
    /// Upstream port of a switch.
    Upstream,
    /// Downstream port of a switch.
    Downstream,
    /// A bridge from PCI Express to PCI or PCI-X.
    ToPci,
    /// A bridge from PCI or PCI-X to PCI Express.
    FromPci,
    /// An endpoint that is a part of the root complex.
    RootComplexEndpoint,
    /// Anything else.
    Other(u8),
}

/// The kind of a PCI Express function; `None` for a conventional one.
pub fn express<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Option<Express> {
    let offset = find(space, at, id::EXPRESS)?;
    Some(match (space.read16(at, offset + 2) >> 4 & 0xf) as u8 {
        0 | 1 => Express::Endpoint,
        4 => Express::RootPort,
        5 => Express::Upstream,
        6 => Express::Downstream,
        7 => Express::ToPci,
        8 => Express::FromPci,
        9 => Express::RootComplexEndpoint,
        other => Express::Other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Machine, at};

    fn list(machine: &Machine, address: Address) -> Vec<(u8, u16)> {
        capabilities(machine, address).map(|c| (c.id, c.offset)).collect()
    }

    #[test]
    fn a_list_is_walked_in_order() {
        let machine = Machine::new();
        let nic = machine.endpoint("00:01.0", 0x1af4, 0x1041);
        machine.capabilities(nic, &[(0x98, id::MSI_X), (0x40, id::VENDOR), (0xdc, id::POWER)]);
        assert_eq!(list(&machine, nic), [(0x11, 0x98), (0x09, 0x40), (0x01, 0xdc)]);
        assert_eq!(find(&machine, nic, id::POWER), Some(0xdc));
        assert_eq!(find(&machine, nic, id::MSI), None);
    }

    #[test]
    fn no_list_without_the_status_bit() {
        let machine = Machine::new();
        let nic = machine.endpoint("00:01.0", 0x1af4, 0x1041);
        machine.capabilities(nic, &[(0x40, id::MSI)]);
        machine.set16(nic, register::STATUS, 0);
        assert_eq!(list(&machine, nic), []);
    }

    #[test]
    fn loops_end() {
        let machine = Machine::new();
        let nic = machine.endpoint("00:01.0", 1, 1);
        machine.capabilities(nic, &[(0x40, id::MSI), (0x50, id::VENDOR)]);
        machine.set8(nic, 0x51, 0x40);
        assert_eq!(list(&machine, nic).len(), 2);
        machine.set8(nic, 0x41, 0x40);
        assert_eq!(list(&machine, nic).len(), 1);
    }

    #[test]
    fn hostile_bytes_give_at_most_48_entries() {
        let mut random = crate::testing::Random(7);
        for _ in 0..300 {
            let machine = Machine::new();
            let nic = machine.endpoint("00:01.0", 1, 1);
            machine.set16(nic, register::STATUS, STATUS_CAPABILITIES);
            for offset in 0x34..0x1000 {
                machine.set8(nic, offset, random.next() as u8);
            }
            let found = list(&machine, nic);
            assert!(found.len() <= 48);
            assert!(found.iter().all(|(_, offset)| (0x40..=0xfc).contains(offset) && offset % 4 == 0));
            for id in 0..64 {
                if let Some(offset) = find_extended(&machine, nic, id) {
                    assert!((0x100..=0xffc).contains(&offset));
                }
            }
            let _ = express(&machine, nic);
        }
    }

    #[test]
    fn extended_loops_end() {
        let machine = Machine::new();
        let nic = machine.endpoint("00:01.0", 1, 1);
        machine.set32(nic, 0x100, 0x1401_0001);
        machine.set32(nic, 0x140, 0x1001_0003);
        assert_eq!(find_extended(&machine, nic, 3), Some(0x140));
        assert_eq!(find_extended(&machine, nic, extended_id::ACS), None);
        assert_eq!(find_extended(&machine, at("00:02.0"), 3), None, "an absent function");
    }
}
