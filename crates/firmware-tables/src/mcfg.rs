// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where configuration space is mapped (PCI Firmware Specification 3.3, section 4.1.2).

use crate::sdt::HEADER_BYTES;
use crate::{Error, Signature, Table};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    base: U64,
    segment: U16,
    first_bus: u8,
    last_bus: u8,
    reserved: U32,
}
const ENTRY_BYTES: usize = size_of::<Entry>();
const _: () = assert!(ENTRY_BYTES == 16);

/// The configuration space of some buses of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRegion {
    /// Physical address of **bus 0**, whether bus 0 belongs to the region or not.
    pub base: u64,
    /// The PCI segment.
    pub segment: u16,
    /// The region's first bus.
    pub first_bus: u8,
    /// Its last bus.
    pub last_bus: u8,
}

impl EcamRegion {
    /// Physical address of a function's 4096 bytes, if the region has its bus.
    pub fn function(&self, bus: u8, device: u8, function: u8) -> Option<u64> {
        (self.first_bus <= bus && bus <= self.last_bus && device < 32 && function < 8)
            .then(|| self.base + (u64::from(bus) << 20 | u64::from(device) << 15 | u64::from(function) << 12))
    }

    /// Physical address of the region's first byte.
    pub fn start(&self) -> u64 {
        self.base + (u64::from(self.first_bus) << 20)
    }

    /// Bytes of the region: 1 MiB for each bus.
    pub fn length(&self) -> u64 {
        (u64::from(self.last_bus) - u64::from(self.first_bus) + 1) << 20
    }
}

/// The table, all of whose entries have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Mcfg<'a> {
    entries: &'a [u8],
}

impl<'a> Mcfg<'a> {
    /// Checks a table and all its entries.
    pub fn parse(bytes: &'a [u8]) -> Result<Mcfg<'a>, Error> {
        let (_, entries) = Table::parse(Signature::MCFG, bytes)?.fixed::<[u8; 8]>()?;
        let first = HEADER_BYTES + 8;
        let rest = entries.len() % ENTRY_BYTES;
        if rest != 0 {
            return Err(Error::BadEntry {
                table: Signature::MCFG,
                offset: first + entries.len() - rest,
                length: ENTRY_BYTES,
                available: rest,
            });
        }
        for (number, region) in regions(entries).enumerate() {
            let offset = first + number * ENTRY_BYTES;
            let bad = |at, value| Err(Error::BadValue { table: Signature::MCFG, offset: offset + at, value });
            let end = region.base.checked_add(256 << 20);
            if region.base % (1 << 20) != 0 || end.is_none_or(|end| end > 1 << 52) {
                return bad(0, region.base);
            }
            if region.last_bus < region.first_bus {
                return bad(11, u64::from(region.last_bus));
            }
        }
        Ok(Mcfg { entries })
    }

    /// The regions in firmware's order.
    pub fn regions(&self) -> impl Iterator<Item = EcamRegion> + 'a {
        regions(self.entries)
    }
}

fn regions(entries: &[u8]) -> impl Iterator<Item = EcamRegion> + '_ {
    entries.chunks_exact(ENTRY_BYTES).filter_map(|bytes| Entry::ref_from_bytes(bytes).ok()).map(|entry| {
        EcamRegion {
            base: entry.base.get(),
            segment: entry.segment.get(),
            first_bus: entry.first_bus,
            last_bus: entry.last_bus,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;

    fn entry(base: u64, first: u8, last: u8) -> Vec<u8> {
        let mut bytes = base.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, first, last, 0, 0, 0, 0]);
        bytes
    }

    fn mcfg(entries: &[Vec<u8>]) -> Vec<u8> {
        table(*b"MCFG", &[vec![0; 8], entries.concat()].concat())
    }

    #[test]
    fn qemus_region_gives_a_functions_address() {
        let bytes = mcfg(&[entry(0xb000_0000, 0, 255)]);
        let region = Mcfg::parse(&bytes).unwrap().regions().next().unwrap();
        assert_eq!(region.function(1, 2, 3), Some(0xb011_3000));
        assert_eq!((region.start(), region.length()), (0xb000_0000, 256 << 20));
        assert_eq!(region.function(0, 32, 0), None);
    }

    #[test]
    fn a_region_knows_only_its_buses() {
        let bytes = mcfg(&[entry(0xb000_0000, 0x40, 0x41)]);
        let region = Mcfg::parse(&bytes).unwrap().regions().next().unwrap();
        assert_eq!(region.function(0x3f, 0, 0), None);
        assert_eq!(region.function(0x40, 0, 0), Some(0xb400_0000));
        assert_eq!((region.start(), region.length()), (0xb400_0000, 2 << 20));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Mcfg::parse(&mcfg(&[entry(0xb000_0000, 2, 1)])).is_err());
        assert!(Mcfg::parse(&mcfg(&[entry(0xb000_1000, 0, 1)])).is_err());
        assert!(Mcfg::parse(&mcfg(&[entry(!0xf_ffff, 0, 1)])).is_err());
        let cut = mcfg(&[entry(0xb000_0000, 0, 255)[..15].to_vec()]);
        assert!(matches!(Mcfg::parse(&cut), Err(Error::BadEntry { offset: 44, available: 15, .. })));
        assert_eq!(Mcfg::parse(&mcfg(&[])).unwrap().regions().count(), 0);
    }
}
