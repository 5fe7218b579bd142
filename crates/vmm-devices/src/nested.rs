// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which nested tables exist: below one top-level table for the first 512 GiB of guest-physical memory, made as they are needed, and used
//! again elsewhere when nothing is left in them. (seL4's EPT objects; on SVM the kernel makes nested page tables of them.)

use heapless::Vec;

/// End of the guest-physical memory that is mapped, bytes.
pub const END: u64 = 1 << 39;
/// Page directories and page tables that are kept in view: what RAM takes, and two for each BAR.
const MAX_TABLES: usize = 128;

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

impl Table {
    /// Bytes that it covers.
    const fn span(self) -> u64 {
        match self {
            Self::Pdpt => 1 << 39,
            Self::Pd => 1 << 30,
            Self::Pt => 1 << 21,
        }
    }
}

/// A table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Made {
    kind: Table,
    /// The first address that it covers; `None`: it covers nothing.
    base: Option<u64>,
    /// Address of its capability.
    capability: u64,
}

/// The tables made so far.
#[derive(Default)]
pub struct Tables {
    pdpt: bool,
    tables: Vec<Made, MAX_TABLES>,
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
        let is_missing = |kind: Table| {
            let base = gpa & !(kind.span() - 1);
            !self.tables.iter().any(|table| (table.kind, table.base) == (kind, Some(base)))
        };
        if size_bits < 30 && is_missing(Table::Pd) {
            return Some(Table::Pd);
        }
        (size_bits < 21 && is_missing(Table::Pt)).then_some(Table::Pt)
    }

    /// There is no room for another table.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tables.is_full()
    }

    /// A table of this kind that covers nothing, by its capability.
    #[must_use]
    pub fn spare(&self, kind: Table) -> Option<u64> {
        let found = self.tables.iter().find(|table| table.kind == kind && table.base.is_none());
        found.map(|table| table.capability)
    }

    /// The table with that capability has been mapped so that it covers `gpa`.
    pub fn made(&mut self, kind: Table, gpa: u64, capability: u64) {
        if kind == Table::Pdpt {
            self.pdpt = true;
            return;
        }
        let base = Some(gpa & !(kind.span() - 1));
        match self.tables.iter_mut().find(|table| (table.kind, table.capability) == (kind, capability)) {
            Some(table) => table.base = base,
            // Whoever makes one has asked whether there is room.
            None => _ = self.tables.push(Made { kind, base, capability }),
        }
    }

    /// A table without any address that `is_used` (first address, and first behind), to be taken out: it covers nothing from now on. Page tables come
    /// before the directories that lead to them.
    pub fn idle(&mut self, is_used: impl Fn(u64, u64) -> bool) -> Option<(Table, u64)> {
        for kind in [Table::Pt, Table::Pd] {
            for table in self.tables.iter_mut().filter(|table| table.kind == kind) {
                if table.base.is_some_and(|base| !is_used(base, base + kind.span())) {
                    table.base = None;
                    return Some((kind, table.capability));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn make(tables: &mut Tables, gpa: u64, size_bits: u8) -> usize {
        let mut made = 0;
        while let Some(table) = tables.missing(gpa, size_bits) {
            let capability = tables.spare(table).unwrap_or(tables.tables.len() as u64);
            tables.made(table, gpa, capability);
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
        assert_eq!(make(&mut tables, 0x7f_ffff_f000, 12), 2);
        assert_eq!(make(&mut tables, END, 12), 0);
        assert_eq!(make(&mut tables, u64::MAX, 12), 0);
        assert_eq!(make(&mut Tables::new(), 0x4000_0000, 30), 1);
    }

    #[test]
    fn a_bar_that_wanders_takes_two_tables() {
        let (mut tables, mut random) = (Tables::new(), Random(9));
        make(&mut tables, 0, 21);
        let of_ram = tables.tables.len();
        for _ in 0..5000 {
            let place = (0xc000_0000 + random.below(END - 0xc000_0000)) & !0xfff;
            let used = |first: u64, behind: u64| {
                first < 0x1000_0000 || first < place.saturating_add(0x1000) && place < behind
            };
            while let Some((kind, capability)) = tables.idle(used) {
                assert_eq!(tables.spare(kind), Some(capability));
            }
            make(&mut tables, place, 12);
            assert!(tables.tables.len() <= of_ram + 2, "{}", tables.tables.len());
            assert_eq!(tables.missing(0, 21), None, "RAM keeps its own");
            assert_eq!(tables.missing(place, 12), None);
        }
    }

    #[test]
    fn page_tables_go_before_their_directory() {
        let mut tables = Tables::new();
        make(&mut tables, 0xc000_0000, 12);
        assert_eq!(tables.idle(|first, _| first == 0xc000_0000), None);
        assert_eq!(tables.idle(|_, _| false).map(|found| found.0), Some(Table::Pt));
        assert_eq!(tables.idle(|_, _| false).map(|found| found.0), Some(Table::Pd));
        assert_eq!(tables.idle(|_, _| false), None);
        assert_eq!(tables.missing(0xc000_0000, 12), Some(Table::Pd));
    }
}
