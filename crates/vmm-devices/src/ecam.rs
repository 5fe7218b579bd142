// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space as a guest addresses it (PCI Express Base 5.0, section 7.2.2), its host bridge, and where BARs are put.
use crate::layout;

/// An access to configuration space of bus 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Device and function: device << 3 | function.
    pub devfn: u8,
    /// Byte offset, 0 to 4095.
    pub offset: u16,
}

/// Decodes an offset into the window. `None` for a width that isn't 1, 2 or 4 or an unaligned access: reads all ones.
#[must_use]
pub fn target(offset: u64, width: u8) -> Option<Target> {
    (matches!(width, 1 | 2 | 4) && offset.is_multiple_of(u64::from(width)) && offset < layout::ECAM_BYTES)
        .then_some(Target { devfn: (offset >> 12) as u8, offset: (offset & 0xfff) as u16 })
}

/// Vendor of the functions that this VMM makes up; no real device has their IDs.
const VENDOR: u32 = 0x1234;
/// Class and ID of the host bridge.
const HOST_BRIDGE: u32 = 0x0600;
/// ID of what stands in for a function 0.
const STAND_IN: u32 = 0x0601;
/// Class of that: fits in no class.
const NO_CLASS: u32 = 0xff00;
/// Header type: the device has several functions.
const SEVERAL: u32 = 0x80 << 16;

/// Reads what no passed-through device answers: all ones, but for two functions without registers of their own. They are the host bridge
/// at 00:00.0, so that bus 0 has a function 0, and one in the place of function 0 where only higher functions of a device were given
/// (`given`: all that were given): nobody looks for those where function 0 is missing.
#[must_use]
pub fn others(target: Target, width: u8, mut given: impl Iterator<Item = u8>) -> u64 {
    let Target { devfn, offset } = target;
    let has_company = given.any(|other| other >> 3 == devfn >> 3);
    let (id, class) = match (devfn, devfn & 7, has_company) {
        (0, ..) => (HOST_BRIDGE, HOST_BRIDGE),
        (_, 0, true) => (STAND_IN, NO_CLASS),
        _ => return u64::MAX,
    };
    let word = match offset & !3 {
        0 => id << 16 | VENDOR,
        8 => class << 16,
        0xc if has_company => SEVERAL,
        _ => 0,
    };
    u64::from(word >> (8 * u32::from(offset & 3))) & crate::decode::mask(width)
}

/// Chooses guest addresses for BARs within the PCI windows, first come first served.
pub struct Placement {
    next: u64,
    next_high: u64,
}

impl Default for Placement {
    fn default() -> Self {
        Self::new()
    }
}

impl Placement {
    /// From the window's start.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: layout::PCI_WINDOW, next_high: layout::HIGH_WINDOW }
    }

    /// An address for `bytes` (a power of two), aligned to them and to 4 KiB: below 4 GiB, as every guest can use it there, or above if it is
    /// `wide` and there is no room. `None` if the windows are full.
    pub fn place(&mut self, bytes: u64, wide: bool) -> Option<u64> {
        if !bytes.is_power_of_two() {
            return None;
        }
        let take = |next: &mut u64, limit: u64| {
            let bytes = bytes.max(0x1000);
            let base = next.checked_next_multiple_of(bytes)?;
            *next = base.checked_add(bytes).filter(|&end| end <= limit)?;
            Some(base)
        };
        let low = take(&mut self.next, layout::PCI_WINDOW_END);
        low.or_else(|| wide.then(|| take(&mut self.next_high, layout::HIGH_WINDOW_END)).flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!(target(0x8_0010, 4), Some(Target { devfn: 0x80, offset: 0x10 }));
        assert_eq!(target(0xf_ffff, 1), Some(Target { devfn: 0xff, offset: 0xfff }));
        for (offset, width) in [(1, 2), (2, 4), (0, 8), (0, 3), (0x10_0000, 4)] {
            assert_eq!(target(offset, width), None);
        }
    }

    #[test]
    fn bridge_and_stand_in() {
        let read = |devfn, offset, width, given: &[u8]| {
            others(Target { devfn, offset }, width, given.iter().copied())
        };
        let bridge =
            [(0, 4), (2, 2), (0xb, 1), (0xe, 1), (0xffc, 4)].map(|(at, width)| read(0, at, width, &[8]));
        assert_eq!(bridge, [0x0600_1234, 0x0600, 6, 0, 0]);
        assert_eq!(read(0, 0xe, 1, &[1]), 0x80, "others are in its slot");
        let stand_in =
            [(0, 4), (8, 4), (0xc, 4), (0xe, 1), (0x10, 4)].map(|(at, width)| read(0x40, at, width, &[0x41]));
        assert_eq!(stand_in, [0x0601_1234, 0xff00_0000, 0x0080_0000, 0x80, 0]);
        for (devfn, given) in [(0x40, 0x48), (0x42, 0x41), (0xf8, 0x41)] {
            assert_eq!(read(devfn, 0, 4, &[given]), u64::MAX, "{devfn:x}");
        }
    }

    #[test]
    fn places_do_not_overlap() {
        let mut placement = Placement::new();
        assert_eq!(placement.place(0x100, false), Some(0xc000_0000));
        assert_eq!(placement.place(0x10_0000, true), Some(0xc010_0000));
        assert_eq!(placement.place(0x4000, false), Some(0xc020_0000));
        assert_eq!(placement.place(0x4000_0000, true), Some(0x1_0000_0000));
        assert_eq!(placement.place(0x1000_0000, false), Some(0xd000_0000));
        assert_eq!(placement.place(0x1000, false), None);
        assert_eq!(placement.place(0x1000, true), Some(0x1_4000_0000));
        assert_eq!(placement.place(0x8000_0000, true), Some(0x1_8000_0000));
        for bytes in [3, 0x3000, u64::MAX, 1 << 63] {
            assert_eq!(Placement::new().place(bytes, true), None, "{bytes:x}");
        }
    }
}
