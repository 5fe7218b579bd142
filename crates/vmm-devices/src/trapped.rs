// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies where in the part of a device's BARs that isn't mapped: the MSI-X table, the pending bits, other registers.
use crate::msi::ENTRY_BYTES;
use core::ops::Range;

/// Where a device has its MSI-X table and pending bits (PCI Local Bus 3.0, section 6.8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Index of the table's BAR.
    pub table_bar: u8,
    /// Byte offset of the table in it, a multiple of 8.
    pub table_offset: u32,
    /// Index of the pending bits' BAR.
    pub pba_bar: u8,
    /// Byte offset of the pending bits in it, a multiple of 8.
    pub pba_offset: u32,
    /// Entries of the device's table, of which the guest may see fewer.
    pub entries: u16,
}

/// A trapped place, with its offset in the table or in the pending bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trapped {
    /// In the MSI-X table, which is the VMM's.
    Table(u64),
    /// In the pending bits.
    Pending(u64),
    /// Another register, which is the device's.
    Registers,
}

impl Layout {
    /// Whether the table has a part of these bytes of BAR `bar`.
    #[must_use]
    pub fn has_table(&self, bar: u8, bytes: Range<u64>) -> bool {
        let start = u64::from(self.table_offset);
        bar == self.table_bar
            && bytes.start < start + u64::from(self.entries) * ENTRY_BYTES
            && start < bytes.end
    }

    /// What lies at `offset` of BAR `bar`.
    #[must_use]
    pub fn at(&self, bar: u8, offset: u64) -> Trapped {
        let within = |wanted: u8, start: u32, bytes: u64| {
            offset.checked_sub(start.into()).filter(|at| bar == wanted && *at < bytes)
        };
        let entries = u64::from(self.entries);
        if let Some(at) = within(self.table_bar, self.table_offset, entries * ENTRY_BYTES) {
            return Trapped::Table(at);
        }
        within(self.pba_bar, self.pba_offset, entries.div_ceil(64) * 8)
            .map_or(Trapped::Registers, Trapped::Pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_pending_bits_among_registers() {
        let layout = Layout { table_bar: 0, table_offset: 0xff8, pba_bar: 0, pba_offset: 0x1038, entries: 3 };
        let cases = [
            (0xff0, Trapped::Registers),
            (0xff8, Trapped::Table(0)),
            (0x1000, Trapped::Table(8)),
            (0x1024, Trapped::Table(0x2c)),
            (0x1028, Trapped::Registers),
            (0x1038, Trapped::Pending(0)),
            (0x103c, Trapped::Pending(4)),
            (0x1040, Trapped::Registers),
            (u64::MAX, Trapped::Registers),
        ];
        for (offset, expected) in cases {
            assert_eq!(layout.at(0, offset), expected, "{offset:#x}");
            assert_eq!(layout.at(1, offset), Trapped::Registers);
        }
    }

    #[test]
    fn pending_bits_in_a_bar_of_their_own_come_in_eights() {
        let layout = Layout { table_bar: 0, table_offset: 0x2000, pba_bar: 4, pba_offset: 0, entries: 65 };
        assert_eq!(layout.at(4, 15), Trapped::Pending(15));
        assert_eq!(layout.at(4, 16), Trapped::Registers);
        assert_eq!(layout.at(0, 0x2000 + 65 * 16 - 4), Trapped::Table(65 * 16 - 4));
        assert_eq!(layout.at(0, 0), Trapped::Registers);
    }

    #[test]
    fn the_largest_table_ends_where_it_should() {
        let layout = Layout { table_bar: 5, table_offset: !7, pba_bar: 0, pba_offset: 0, entries: 2048 };
        assert_eq!(layout.at(5, u64::from(!7u32) + 2047 * 16), Trapped::Table(2047 * 16));
        assert_eq!(layout.at(5, u64::from(!7u32) + 2048 * 16), Trapped::Registers);
        let table = u64::from(!7u32)..u64::from(!7u32) + 2048 * 16;
        assert!(layout.has_table(5, 0..table.start + 1) && layout.has_table(5, table.end - 1..u64::MAX));
        assert!(!layout.has_table(5, 0..table.start) && !layout.has_table(5, table.end..u64::MAX));
        assert!(!layout.has_table(4, table));
        assert_eq!(layout.at(0, 255), Trapped::Pending(255));
        assert_eq!(layout.at(0, 256), Trapped::Registers);
    }
}
