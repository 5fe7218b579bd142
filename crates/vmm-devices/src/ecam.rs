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

/// Reads the host bridge at 00:00.0, which is there so that bus 0 has a function 0. It has no registers of its own; IDs
/// 1234:0600 are of no real device.
#[must_use]
pub fn host_bridge(offset: u16, width: u8) -> u32 {
    let word = match offset & !3 {
        0 => 0x0600_1234,
        8 => 0x0600_0000,
        _ => 0,
    };
    let shifted: u32 = word >> (8 * u32::from(offset & 3));
    shifted & crate::decode::mask(width) as u32
}

/// Chooses guest addresses for BARs within the PCI window, largest alignment first come first served.
pub struct Placement {
    next: u64,
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
        Self { next: layout::PCI_WINDOW }
    }

    /// An address for `bytes` (a power of two), aligned to them and to 4 KiB. `None` if the window is full.
    pub fn place(&mut self, bytes: u64) -> Option<u64> {
        if !bytes.is_power_of_two() {
            return None;
        }
        let bytes = bytes.max(0x1000);
        let base = self.next.checked_next_multiple_of(bytes)?;
        let end = base.checked_add(bytes).filter(|&end| end <= layout::PCI_WINDOW_END)?;
        self.next = end;
        Some(base)
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
    fn bridge() {
        assert_eq!(
            (host_bridge(0, 4), host_bridge(2, 2), host_bridge(0xb, 1), host_bridge(0xe, 1)),
            (0x0600_1234, 0x0600, 6, 0)
        );
        assert_eq!(host_bridge(0xffc, 4), 0);
    }

    #[test]
    fn places_do_not_overlap() {
        let mut placement = Placement::new();
        assert_eq!(placement.place(0x100), Some(0xc000_0000));
        assert_eq!(placement.place(0x10_0000), Some(0xc010_0000));
        assert_eq!(placement.place(0x4000), Some(0xc020_0000));
        assert_eq!(placement.place(0x1000_0000), Some(0xd000_0000));
        assert_eq!(placement.place(0x1000), None);
        for bytes in [3, 0x3000, u64::MAX, 1 << 63] {
            assert_eq!(Placement::new().place(bytes), None, "{bytes:x}");
        }
    }
}
