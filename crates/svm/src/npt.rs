// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entries of nested page tables (APM 15.25): the format of ordinary 4-level long-mode tables, walked as user accesses,
//! so every entry has the user bit. Addresses in entries are host-physical, the walked ones guest-physical.

/// Entry is present.
pub const PRESENT: u64 = 1 << 0;
/// Guest may write.
pub const WRITE: u64 = 1 << 1;
/// Nested walks are user accesses.
pub const USER: u64 = 1 << 2;
/// Page-attribute index bit 0.
pub const PWT: u64 = 1 << 3;
/// Page-attribute index bit 1.
pub const PCD: u64 = 1 << 4;
/// Entry of a directory or directory-pointer table is a page. In the lowest level the bit is [`PAT_4K`].
pub const LARGE: u64 = 1 << 7;
/// Page-attribute index bit 2 of a 4 KiB page.
pub const PAT_4K: u64 = 1 << 7;
/// Page-attribute index bit 2 of a 2 MiB or 1 GiB page.
pub const PAT_LARGE: u64 = 1 << 12;
/// Guest may not execute.
pub const NO_EXECUTE: u64 = 1 << 63;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Level of a table: what one of its entries maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// 4 KiB, in a page table.
    Small,
    /// 2 MiB, in a page directory.
    Large,
    /// 1 GiB, in a page-directory-pointer table.
    Huge,
}

impl Leaf {
    /// Log2 of the bytes.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Small => 12,
            Self::Large => 21,
            Self::Huge => 30,
        }
    }
}

/// What a guest may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Read it.
    pub read: bool,
    /// Write to it.
    pub write: bool,
    /// Execute what is there.
    pub execute: bool,
}

/// Memory type as the ABI numbers it (the numbers of Intel's EPT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MemoryType {
    /// Uncacheable.
    Uncacheable = 0,
    /// Write-combining.
    WriteCombining = 1,
    /// Write-through.
    WriteThrough = 4,
    /// Write-protected.
    WriteProtected = 5,
    /// Write-back.
    WriteBack = 6,
}

impl MemoryType {
    /// The type with the ABI's number `n`; numbers that name none are uncacheable.
    pub const fn from_abi(n: u64) -> Self {
        match n {
            1 => Self::WriteCombining,
            4 => Self::WriteThrough,
            5 => Self::WriteProtected,
            6 => Self::WriteBack,
            _ => Self::Uncacheable,
        }
    }

    /// Index in the host's page-attribute table (the value of its MSR) of this type; where the table lacks it, of
    /// uncacheable, and where it lacks that too, 3 (uncacheable after reset).
    pub const fn index_in(self, pat: u64) -> u64 {
        let mut wanted = self as u64;
        loop {
            let mut n = 0;
            while n < 8 {
                if (pat >> (8 * n)) & 0xff == wanted {
                    return n;
                }
                n += 1;
            }
            if wanted == 0 {
                return 3;
            }
            wanted = 0;
        }
    }
}

/// An entry that points at the next lower table, host-physical. Rights are the leaves'.
pub const fn table(paddr: u64) -> u64 {
    paddr & ADDRESS | PRESENT | WRITE | USER
}

/// An entry that maps a page.
///
/// There is no "write only" and no "execute only": an entry without the right to read is not present.
pub const fn leaf(paddr: u64, size: Leaf, access: Access, kind: MemoryType, pat: u64) -> u64 {
    if !access.read {
        return 0;
    }
    let index = kind.index_in(pat);
    let mut entry = paddr & ADDRESS & !((1 << size.bits()) - 1) | PRESENT | USER;
    if access.write {
        entry |= WRITE;
    }
    if !access.execute {
        entry |= NO_EXECUTE;
    }
    if index & 1 != 0 {
        entry |= PWT;
    }
    if index & 2 != 0 {
        entry |= PCD;
    }
    match size {
        Leaf::Small if index & 4 != 0 => entry | PAT_4K,
        Leaf::Small => entry,
        _ if index & 4 != 0 => entry | LARGE | PAT_LARGE,
        _ => entry | LARGE,
    }
}

/// What an entry of a table above the lowest level says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// Nothing.
    Absent,
    /// The next table, host-physical.
    Table(u64),
    /// A page, host-physical.
    Page(u64),
}

/// Reads an entry of a table of `level`: 1 page table, 2 page directory, 3 directory-pointer table, 4 top level.
pub const fn decode(entry: u64, level: u32) -> Decoded {
    if entry & PRESENT == 0 {
        return Decoded::Absent;
    }
    let page = level == 1 || (entry & LARGE != 0 && level < 4);
    if page {
        let bits = 12 + 9 * (level - 1);
        Decoded::Page(entry & ADDRESS & !((1 << bits) - 1))
    } else {
        Decoded::Table(entry & ADDRESS)
    }
}

/// Index into the table of `level` (1..=4) for a guest-physical address.
pub const fn index(gpa: u64, level: u32) -> usize {
    (gpa >> (12 + 9 * (level - 1))) as usize & 511
}

/// First guest-physical address that four levels can't reach.
pub const GPA_LIMIT: u64 = 1 << 48;

#[cfg(test)]
mod tests {
    use super::*;

    const PAT: u64 = 0x0007_0401_0007_0406;
    const ALL: Access = Access { read: true, write: true, execute: true };

    #[test]
    fn tables() {
        assert_eq!(table(0x1234_5000), 0x1234_5007);
        assert_eq!(decode(table(0x1234_5000), 3), Decoded::Table(0x1234_5000));
        assert_eq!(decode(0, 2), Decoded::Absent);
    }

    #[test]
    fn pages_of_each_size() {
        let rw = |paddr, size| leaf(paddr, size, ALL, MemoryType::WriteBack, PAT);
        assert_eq!(rw(0x1234_5000, Leaf::Small), 0x1234_5007);
        assert_eq!(rw(0x1220_0000, Leaf::Large), 0x1220_0087);
        assert_eq!(rw(0x4000_0000, Leaf::Huge), 0x4000_0087);
        assert_eq!(decode(rw(0x1234_5000, Leaf::Small), 1), Decoded::Page(0x1234_5000));
        assert_eq!(decode(rw(0x1220_0000, Leaf::Large), 2), Decoded::Page(0x1220_0000));
        assert_eq!(decode(rw(0x4000_0000, Leaf::Huge), 3), Decoded::Page(0x4000_0000));
    }

    #[test]
    fn rights() {
        let entry = |size, access| leaf(0x4000_0000, size, access, MemoryType::WriteBack, PAT);
        assert_eq!(entry(Leaf::Small, Access { write: false, ..ALL }), 0x4000_0005);
        assert_eq!(entry(Leaf::Small, Access { read: false, ..ALL }), 0);
        assert_eq!(entry(Leaf::Small, Access { read: false, execute: false, ..ALL }), 0);
        for (size, level) in [(Leaf::Small, 1), (Leaf::Large, 2), (Leaf::Huge, 3)] {
            let (with, without) = (entry(size, ALL), entry(size, Access { execute: false, ..ALL }));
            assert_eq!((with & NO_EXECUTE, without), (0, with | NO_EXECUTE));
            assert_eq!(decode(without, level), Decoded::Page(0x4000_0000));
        }
    }

    #[test]
    fn memory_types_go_through_the_host_table() {
        assert_eq!(MemoryType::WriteBack.index_in(PAT), 0);
        assert_eq!(MemoryType::WriteThrough.index_in(PAT), 1);
        assert_eq!(MemoryType::Uncacheable.index_in(PAT), 3);
        assert_eq!(MemoryType::WriteCombining.index_in(PAT), 4);
        // Not in this table: uncacheable instead, which is slow but right.
        assert_eq!(MemoryType::WriteProtected.index_in(PAT), 3);
        assert_eq!(MemoryType::from_abi(2), MemoryType::Uncacheable);
        let wc = |size| leaf(0x4000_0000, size, ALL, MemoryType::WriteCombining, PAT);
        assert_eq!(wc(Leaf::Small), 0x4000_0007 | PAT_4K);
        assert_eq!(wc(Leaf::Large), 0x4000_0007 | LARGE | PAT_LARGE);
        assert_eq!(decode(wc(Leaf::Large), 2), Decoded::Page(0x4000_0000));
        let uc = leaf(0x1000, Leaf::Small, ALL, MemoryType::Uncacheable, PAT);
        assert_eq!(uc, 0x1007 | PWT | PCD);
    }

    #[test]
    fn indices() {
        let gpa = 5 << 39 | 6 << 30 | 7 << 21 | 8 << 12 | 0x123;
        assert_eq!((1..=4).map(|l| index(gpa, l)).collect::<Vec<_>>(), [8, 7, 6, 5]);
    }
}
