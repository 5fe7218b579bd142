// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which nested tables exist: below one top-level table for the first 4 GiB of guest-physical memory, made as they are needed.
//! (seL4's EPT objects; on SVM the kernel makes nested page tables of them.)

/// End of the guest-physical memory that is mapped, bytes.
pub const END: u64 = 1 << 32;
const PT_BYTES: u64 = 1 << 21;
const PD_BYTES: u64 = 1 << 30;

/// A table that must be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Table {
    /// Covers 512 GiB.
    Pdpt,
    /// Covers 1 GiB.
    Pd,
    /// Covers 2 MiB.
    Pt,
}

/// The tables made so far.
#[derive(Default)]
pub struct Tables {
    pdpt: bool,
    pd: u8,
    pt: [u64; (END / PT_BYTES / 64) as usize],
}

impl Tables {
    /// None made.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next table to make before a frame of `1 << size_bits` bytes (12, 21 or 30) can be mapped at `gpa`; repeat until
    /// `None`, calling [`Tables::made`] in between. Beyond [`END`] there is nothing to make.
    #[must_use]
    pub fn missing(&self, gpa: u64, size_bits: u8) -> Option<Table> {
        if gpa >= END {
            return None;
        }
        if !self.pdpt {
            return Some(Table::Pdpt);
        }
        if size_bits < 30 && self.pd & 1 << (gpa / PD_BYTES) == 0 {
            return Some(Table::Pd);
        }
        let pt = gpa / PT_BYTES;
        (size_bits < 21 && self.pt[(pt / 64) as usize] & 1 << (pt % 64) == 0).then_some(Table::Pt)
    }

    /// `table` has been made and mapped so that it covers `gpa`.
    pub fn made(&mut self, table: Table, gpa: u64) {
        match table {
            Table::Pdpt => self.pdpt = true,
            Table::Pd => self.pd |= 1 << (gpa / PD_BYTES % 4),
            Table::Pt => {
                let pt = gpa / PT_BYTES;
                if let Some(word) = self.pt.get_mut((pt / 64) as usize) {
                    *word |= 1 << (pt % 64);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(tables: &mut Tables, gpa: u64, size_bits: u8) -> usize {
        let mut made = 0;
        while let Some(table) = tables.missing(gpa, size_bits) {
            tables.made(table, gpa);
            made += 1;
            assert!(made < 4);
        }
        made
    }

    #[test]
    fn each_table_once() {
        let mut tables = Tables::new();
        assert_eq!(make(&mut tables, 0, 21), 2);
        assert_eq!(make(&mut tables, 0x3fe0_0000, 21), 0);
        assert_eq!(make(&mut tables, 0xc000_0000, 12), 2);
        assert_eq!(make(&mut tables, 0xc01f_f000, 12), 0);
        assert_eq!(make(&mut tables, 0xc020_0000, 12), 1);
        assert_eq!(make(&mut tables, 0xffff_f000, 12), 1);
        assert_eq!(make(&mut tables, END, 12), 0);
        assert_eq!(make(&mut tables, u64::MAX, 12), 0);
        assert_eq!(make(&mut Tables::new(), 0x4000_0000, 30), 1);
    }
}
