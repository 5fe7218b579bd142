// SPDX-License-Identifier: MIT OR Apache-2.0
//! Walks over second-level tables (section 3.7).

use crate::Sink;
use crate::pte::{self, Pte};

/// One requester's I/O space: where its tables are and how far they reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The domain ID that translations are cached under.
    pub domain: u16,
    /// Physical address of the root table.
    pub root: u64,
    /// Levels of the tables, 3 to 5.
    pub levels: u8,
    /// Bits of the largest IOVA: what levels and unit both have.
    pub address_bits: u8,
}

/// Why a mapping can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The table of this level is missing, 1 being the one of 4 KiB leaves.
    Missing {
        /// The level.
        level: u8,
    },
    /// Something is mapped there already.
    Occupied,
    /// The IOVA is beyond what the unit translates.
    OutOfRange,
}

impl Space {
    /// Whether the 2^`bits` bytes at `iova` are within reach.
    pub fn reaches(&self, iova: u64, bits: u8) -> bool {
        let end = 1u64 << self.address_bits.min(63);
        (1u64 << bits.min(63)).checked_add(iova).is_some_and(|last| last <= end)
    }

    /// Address and content of the entry for `iova` in the table of level `target`, if the tables lead there.
    pub fn entry(&self, sink: &mut impl Sink, iova: u64, target: u8) -> Result<(u64, Pte), Conflict> {
        self.walk(sink, iova, target, Pte::is_present)
    }

    /// The same by way of parked tables too: the place of what was mapped and needn't be in reach.
    pub fn place(&self, sink: &mut impl Sink, iova: u64, target: u8) -> Result<(u64, Pte), Conflict> {
        self.walk(sink, iova, target, |entry| entry != Pte::ABSENT)
    }

    fn walk(
        &self,
        sink: &mut impl Sink,
        iova: u64,
        target: u8,
        passable: impl Fn(Pte) -> bool,
    ) -> Result<(u64, Pte), Conflict> {
        let mut table = self.root;
        for level in (1..=self.levels).rev() {
            let address = pte::entry_address(table, level, iova);
            let entry = Pte(sink.load(address));
            if level == target {
                return Ok((address, entry));
            }
            if !passable(entry) {
                return Err(Conflict::Missing { level: level - 1 });
            }
            if entry.is_leaf(level) {
                return Err(Conflict::Occupied);
            }
            table = entry.address();
        }
        Err(Conflict::OutOfRange)
    }

    /// The first absent entry on the way to `iova` that a table can be put into: its address and content (a table may be parked
    /// there), and the level of that table. Occupied if all tables are there or a large leaf is in the way.
    pub fn gap(&self, sink: &mut impl Sink, iova: u64) -> Result<(u64, Pte, u8), Conflict> {
        for level in (2..=self.levels).rev() {
            let (address, entry) = self.entry(sink, iova, level)?;
            if !entry.is_present() {
                return Ok((address, entry, level - 1));
            }
        }
        Err(Conflict::Occupied)
    }
}
