// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other contents for a DMAR table (VT-d specification 4.1, section 8).

use crate::acpi::ROOM;
use crate::plan::{Plan, Region};

/// Where the structures begin.
const STRUCTURES: usize = 48;
const UNIT: u16 = 0;
const RESERVED: u16 = 1;
/// A scope's kind: an endpoint.
const ENDPOINT: u8 = 1;

/// Edits a table as the plan says; its new length.
pub fn edit(table: &mut [u8; ROOM], plan: &Plan<'_>) -> Result<usize, &'static str> {
    let length = u32::from_le_bytes([table[4], table[5], table[6], table[7]]) as usize;
    let mut table = Table { bytes: table, length };
    if let Some(base) = plan.moved {
        // The first structure is a unit, its address eight bytes behind its beginning.
        table.bytes[STRUCTURES + 8..STRUCTURES + 16].copy_from_slice(&base.to_le_bytes());
    }
    table.trim(plan.trim).ok_or("the first unit is shorter than what is to be trimmed off")?;
    for base in plan.units.into_iter().flatten() {
        table.structure(UNIT, |table| {
            table.append(&[0; 4])?;
            table.append(&base.to_le_bytes())
        })?;
    }
    for Region { base, limit, hops } in plan.regions.into_iter().flatten() {
        table.structure(RESERVED, |table| {
            table.append(&[0; 4])?;
            table.append(&base.to_le_bytes())?;
            table.append(&limit.to_le_bytes())?;
            let count = hops.iter().flatten().count() as u8;
            table.append(&[ENDPOINT, 6 + 2 * count, 0, 0, 0, 0])?;
            hops.into_iter().flatten().try_for_each(|hop| table.append(&[hop >> 3, hop & 7]))
        })?;
    }
    table.length.checked_sub(plan.cut).ok_or("the DMAR table is shorter than what is to be cut off")
}

struct Table<'a> {
    bytes: &'a mut [u8; ROOM],
    length: usize,
}

impl Table<'_> {
    /// Takes bytes off the end of the first structure.
    fn trim(&mut self, count: usize) -> Option<()> {
        let length =
            usize::from(u16::from_le_bytes([self.bytes[STRUCTURES + 2], self.bytes[STRUCTURES + 3]]));
        let shorter = length.checked_sub(count)?;
        self.bytes.copy_within(STRUCTURES + length..self.length, STRUCTURES + shorter);
        self.bytes[STRUCTURES + 2..STRUCTURES + 4].copy_from_slice(&(shorter as u16).to_le_bytes());
        self.length -= count;
        Some(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let end = self.length + bytes.len();
        let room = self.bytes.get_mut(self.length..end).ok_or("the DMAR table grows too long")?;
        room.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// A structure with its kind and length before what `body` appends.
    fn structure(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Self) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let start = self.length;
        self.append(&kind.to_le_bytes())?;
        self.append(&[0; 2])?;
        body(self)?;
        let length = (self.length - start) as u16;
        self.bytes[start + 2..start + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}
