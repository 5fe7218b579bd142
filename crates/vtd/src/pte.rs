// SPDX-License-Identifier: MIT OR Apache-2.0
//! Second-level page-table entries (section 9.8).

use crate::ADDRESS_MASK;

/// What a device may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Read memory.
    pub read: bool,
    /// Write memory.
    pub write: bool,
}

impl Access {
    /// Both.
    pub const READ_WRITE: Access = Access { read: true, write: true };

    /// Neither: an entry with this would be absent.
    pub fn is_none(self) -> bool {
        !self.read && !self.write
    }
}

/// The largest number of the level at which an entry can be a leaf: 3 for 1 GiB.
pub const LARGEST_LEAF: u8 = 3;

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;

/// An entry. Level 1 holds 4 KiB leaves, level 2 tables or 2 MiB leaves, level 3 tables or 1 GiB leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pte(pub u64);

impl Pte {
    /// An entry that blocks.
    pub const ABSENT: Pte = Pte(0);

    /// An entry for the table at a physical address. What is allowed is decided at the leaf.
    pub fn table(address: u64) -> Pte {
        Pte(address & ADDRESS_MASK | READ | WRITE)
    }

    /// A leaf at `level`. The snoop bit is never set: it is reserved where the unit doesn't control snooping.
    pub fn leaf(address: u64, level: u8, access: Access) -> Pte {
        let mut bits = address & ADDRESS_MASK;
        if access.read {
            bits |= READ;
        }
        if access.write {
            bits |= WRITE;
        }
        if level > 1 {
            bits |= LARGE;
        }
        Pte(bits)
    }

    /// The entry for a table that is out of reach and keeps its place: neither may be read nor written, so to a unit it is absent.
    pub fn parked(table: u64) -> Pte {
        Pte(table & ADDRESS_MASK)
    }

    /// Whether it is for the table at a physical address, which is mapped or parked there.
    pub fn is_for_table(self, table: u64) -> bool {
        self.0 != 0 && self.0 & LARGE == 0 && self.address() == table
    }

    /// Whether a walk goes on or ends here.
    pub fn is_present(self) -> bool {
        self.0 & (READ | WRITE) != 0
    }

    /// Whether a present entry, at `level`, is a leaf.
    pub fn is_leaf(self, level: u8) -> bool {
        level == 1 || self.0 & LARGE != 0
    }

    /// The physical address of the table or page.
    pub fn address(self) -> u64 {
        self.0 & ADDRESS_MASK
    }
}

/// Bytes that an entry of `level` spans, as a logarithm: 12, 21, 30, 39, 48.
pub fn span_bits(level: u8) -> u32 {
    12 + 9 * u32::from(level.saturating_sub(1))
}

/// The level whose entries are pages of 2^`bits` bytes.
pub fn leaf_level(bits: u8) -> Option<u8> {
    match bits {
        12 => Some(1),
        21 => Some(2),
        30 => Some(LARGEST_LEAF),
        _ => None,
    }
}

/// Physical address of the entry for `iova` in the table of `level` at `table`.
pub fn entry_address(table: u64, level: u8, iova: u64) -> u64 {
    table + (iova >> span_bits(level) & 0x1ff) * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_packed_as_the_specification_has_them() {
        assert_eq!(Pte::table(0x1_2345_6000).0, 0x1_2345_6003);
        assert_eq!(Pte::leaf(0x5000, 1, Access::READ_WRITE).0, 0x5003);
        assert_eq!(Pte::leaf(0x20_0000, 2, Access { read: true, write: false }).0, 0x20_0081);
        assert_eq!(Pte::leaf(0x4000_0000, 3, Access { read: false, write: true }).0, 0x4000_0082);
        assert!(Pte::leaf(0x20_0000, 2, Access::READ_WRITE).is_leaf(2));
        assert!(!Pte::table(0x1000).is_leaf(2));
        assert!(Pte::leaf(0x1000, 1, Access::READ_WRITE).is_leaf(1));
        assert!(!Pte::leaf(0x1000, 1, Access { read: false, write: false }).is_present());
        assert!(!Pte::parked(0x1000).is_present());
        assert!(Pte::parked(0x1000).is_for_table(0x1000) && Pte::table(0x1000).is_for_table(0x1000));
        assert!(!Pte::ABSENT.is_for_table(0) && !Pte::leaf(0, 2, Access::READ_WRITE).is_for_table(0));
    }

    #[test]
    fn levels_and_sizes_agree() {
        assert_eq!((span_bits(1), span_bits(2), span_bits(3), span_bits(4)), (12, 21, 30, 39));
        assert_eq!(
            (leaf_level(12), leaf_level(21), leaf_level(30), leaf_level(13)),
            (Some(1), Some(2), Some(3), None)
        );
        let iova = 3 << 30 | 5 << 21 | 7 << 12 | 0x123;
        assert_eq!(entry_address(0x1000, 3, iova), 0x1018);
        assert_eq!(entry_address(0x1000, 2, iova), 0x1028);
        assert_eq!(entry_address(0x1000, 1, iova), 0x1038);
    }
}
