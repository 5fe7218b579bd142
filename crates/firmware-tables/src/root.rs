// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root table: the list of all others (ACPI 6.5, sections 5.2.7 and 5.2.8).

use crate::sdt::HEADER_BYTES;
use crate::{Error, PhysicalMemory, Rsdp, Signature, Table};

/// The list of a machine's tables.
pub struct RootTable<'m, M: PhysicalMemory + ?Sized> {
    memory: &'m M,
    table: Table<'m>,
    entry_bytes: usize,
}

impl<'m, M: PhysicalMemory + ?Sized> RootTable<'m, M> {
    /// Reads the root table that `rsdp` names: the one with 64-bit addresses where there is one.
    pub fn open(memory: &'m M, rsdp: &Rsdp) -> Result<RootTable<'m, M>, Error> {
        let (table, entry_bytes) = match rsdp.xsdt {
            Some(address) => (Table::read(memory, Signature::XSDT, address)?, 8),
            None => (Table::read(memory, Signature::RSDT, u64::from(rsdp.rsdt))?, 4),
        };
        Ok(RootTable { memory, table, entry_bytes })
    }

    /// Physical addresses and names of the tables, in firmware's order. Entries whose header can't be read are left
    /// out; nothing else about a table has been checked.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Signature)> + '_ {
        self.table.bytes()[HEADER_BYTES..].chunks_exact(self.entry_bytes).filter_map(|entry| {
            let mut address = [0; 8];
            address[..entry.len()].copy_from_slice(entry);
            let address = u64::from_le_bytes(address);
            let header = self.memory.bytes(address, HEADER_BYTES).filter(|_| address != 0)?;
            Some((address, Signature(header[..4].try_into().ok()?)))
        })
    }

    /// The first table with this name, checked; `Ok(None)` if there is none.
    pub fn find(&self, signature: Signature) -> Result<Option<Table<'m>>, Error> {
        let address = self.entries().find(|&(_, found)| found == signature).map(|(address, _)| address);
        address.map(|address| Table::read(self.memory, signature, address)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;

    fn memory(wide: bool, entries: &[u64]) -> Vec<u8> {
        let mut memory = vec![0u8; 0x3000];
        let body: Vec<u8> = entries
            .iter()
            .flat_map(|&e| if wide { e.to_le_bytes().to_vec() } else { (e as u32).to_le_bytes().to_vec() })
            .collect();
        let root = table(if wide { *b"XSDT" } else { *b"RSDT" }, &body);
        memory[0x1000..0x1000 + root.len()].copy_from_slice(&root);
        let hpet = table(*b"HPET", &[0; 20]);
        memory[0x2000..0x2000 + hpet.len()].copy_from_slice(&hpet);
        memory
    }

    #[test]
    fn both_root_tables_lead_to_a_table() {
        for wide in [false, true] {
            // A null entry, one outside memory and one that points to the root itself are harmless.
            let memory = memory(wide, &[0, 0xffff_0000, 0x1000, 0x2000]);
            let rsdp = Rsdp { revision: 2, rsdt: 0x1000, xsdt: wide.then_some(0x1000) };
            let root = RootTable::open(memory.as_slice(), &rsdp).unwrap();
            assert_eq!(root.entries().count(), 2);
            assert_eq!(root.find(Signature::HPET).unwrap().unwrap().bytes().len(), 56);
            assert!(root.find(Signature::DMAR).unwrap().is_none());
        }
    }

    #[test]
    fn a_damaged_table_is_an_error_only_for_who_asks_for_it() {
        let mut memory = memory(true, &[0x2000]);
        memory[0x2030] ^= 1;
        let rsdp = Rsdp { revision: 2, rsdt: 0, xsdt: Some(0x1000) };
        let root = RootTable::open(memory.as_slice(), &rsdp).unwrap();
        assert_eq!(root.find(Signature::HPET).unwrap_err(), Error::BadChecksum { table: Signature::HPET });
        assert!(root.find(Signature::MCFG).unwrap().is_none());
    }

    #[test]
    fn a_root_pointer_into_nowhere_is_an_error() {
        let memory = memory(true, &[]);
        let rsdp = Rsdp { revision: 2, rsdt: 0, xsdt: Some(u64::MAX) };
        assert!(RootTable::open(memory.as_slice(), &rsdp).is_err());
    }
}
