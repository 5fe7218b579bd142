// SPDX-License-Identifier: MIT OR Apache-2.0
//! The high-precision event timer (IA-PC HPET Specification 1.0a, section 3.2.4).

use crate::sdt::HEADER_BYTES;
use crate::{Error, Signature, Table};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    block_id: U32,
    address_space: u8,
    bit_width: u8,
    bit_offset: u8,
    access_size: u8,
    address: U64,
    number: u8,
    minimum_tick: U16,
    protection: u8,
}
const _: () = assert!(size_of::<Fixed>() == 20);

/// A timer block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hpet {
    /// Physical address of its registers (1 KiB).
    pub address: u64,
    /// Its number among the machine's blocks, as in the DMAR table's enumeration IDs.
    pub number: u8,
    /// Comparators in the block.
    pub comparators: u8,
    /// Ticks below which a periodic comparator loses interrupts.
    pub minimum_tick: u16,
}

impl Hpet {
    /// Reads a table.
    pub fn parse(bytes: &[u8]) -> Result<Hpet, Error> {
        let (fixed, _) = Table::parse(Signature::HPET, bytes)?.fixed::<Fixed>()?;
        let bad = |offset, value| Error::BadValue { table: Signature::HPET, offset, value };
        if fixed.address_space != 0 {
            return Err(bad(HEADER_BYTES + 4, u64::from(fixed.address_space)));
        }
        let address = fixed.address.get();
        if address == 0 || address % 1024 != 0 || address >= 1 << 52 {
            return Err(bad(HEADER_BYTES + 8, address));
        }
        Ok(Hpet {
            address,
            number: fixed.number,
            comparators: (fixed.block_id.get() >> 8 & 0x1f) as u8 + 1,
            minimum_tick: fixed.minimum_tick.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;

    fn body(space: u8, address: u64) -> Vec<u8> {
        let mut body = 0x8086_a201u32.to_le_bytes().to_vec();
        body.extend_from_slice(&[space, 0, 0, 0]);
        body.extend_from_slice(&address.to_le_bytes());
        body.extend_from_slice(&[0, 0, 0, 0]);
        body
    }

    #[test]
    fn qemus_table_is_read() {
        let hpet = Hpet::parse(&table(*b"HPET", &body(0, 0xfed0_0000))).unwrap();
        assert_eq!(hpet, Hpet { address: 0xfed0_0000, number: 0, comparators: 3, minimum_tick: 0 });
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Hpet::parse(&table(*b"HPET", &body(1, 0xfed0_0000))).is_err());
        assert!(Hpet::parse(&table(*b"HPET", &body(0, 0))).is_err());
        assert!(Hpet::parse(&table(*b"HPET", &body(0, 0xfed0_0010))).is_err());
        assert!(Hpet::parse(&table(*b"HPET", &body(0, 0)[..19])).is_err());
    }
}
