// SPDX-License-Identifier: MIT OR Apache-2.0
//! The header that all system description tables share (ACPI 6.5, section 5.2.6).

use crate::{Error, PhysicalMemory};
use core::fmt;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A table's four-letter name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// Multiple APIC description table.
    pub const MADT: Signature = Signature(*b"APIC");
    /// DMA remapping table.
    pub const DMAR: Signature = Signature(*b"DMAR");
    /// Fixed ACPI description table.
    pub const FADT: Signature = Signature(*b"FACP");
    /// High-precision event timer table.
    pub const HPET: Signature = Signature(*b"HPET");
    /// Memory-mapped configuration space table.
    pub const MCFG: Signature = Signature(*b"MCFG");
    /// Root table with 32-bit addresses.
    pub const RSDT: Signature = Signature(*b"RSDT");
    /// Root table with 64-bit addresses.
    pub const XSDT: Signature = Signature(*b"XSDT");
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            let letter = if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub signature: [u8; 4],
    pub length: U32,
    pub revision: u8,
    pub checksum: u8,
    pub oem_id: [u8; 6],
    pub oem_table_id: [u8; 8],
    pub oem_revision: U32,
    pub creator_id: U32,
    pub creator_revision: U32,
}

/// Bytes in a header.
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES == 36);

/// No table that we read is anywhere near as long: a larger length is garbage.
const MAX_TABLE_BYTES: usize = 1 << 20;

/// A table whose length and checksum are right.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    signature: Signature,
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// Checks the table that begins `bytes`: signature, length and checksum. Bytes behind its end are ignored.
    pub fn parse(expected: Signature, bytes: &'a [u8]) -> Result<Table<'a>, Error> {
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| Error::Truncated {
            table: expected,
            length: bytes.len(),
            needed: HEADER_BYTES,
        })?;
        let found = Signature(header.signature);
        if found != expected {
            return Err(Error::WrongSignature { expected, found });
        }
        let length = plausible_length(expected, header.length.get())?;
        let bytes = bytes.get(..length).ok_or(Error::Truncated {
            table: expected,
            length: bytes.len(),
            needed: length,
        })?;
        if !sums_to_zero(bytes) {
            return Err(Error::BadChecksum { table: expected });
        }
        Ok(Table { signature: expected, bytes })
    }

    /// Reads and checks the table at the physical address `address`.
    pub fn read<M: PhysicalMemory + ?Sized>(
        memory: &'a M,
        expected: Signature,
        address: u64,
    ) -> Result<Table<'a>, Error> {
        let unreadable = |length| Error::Unreadable { table: expected, address, length };
        let head = memory.bytes(address, HEADER_BYTES).ok_or(unreadable(HEADER_BYTES))?;
        let length = match Header::ref_from_prefix(head) {
            Ok((header, _)) => plausible_length(expected, header.length.get())?,
            Err(_) => return Err(unreadable(HEADER_BYTES)),
        };
        Table::parse(expected, memory.bytes(address, length).ok_or(unreadable(length))?)
    }

    /// The table's name.
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// The whole table with its header.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fixed part that follows the header and the entries behind it.
    pub(crate) fn fixed<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &self,
    ) -> Result<(&'a T, &'a [u8]), Error> {
        let body = self.bytes.get(HEADER_BYTES..).unwrap_or(&[]);
        T::ref_from_prefix(body).map_err(|_| Error::Truncated {
            table: self.signature,
            length: self.bytes.len(),
            needed: HEADER_BYTES + size_of::<T>(),
        })
    }
}

fn plausible_length(table: Signature, length: u32) -> Result<usize, Error> {
    let length = length as usize;
    if length < HEADER_BYTES {
        return Err(Error::Truncated { table, length, needed: HEADER_BYTES });
    }
    if length > MAX_TABLE_BYTES {
        return Err(Error::TooLarge { table, length });
    }
    Ok(length)
}

/// Whether the bytes add up to zero modulo 256, as every table's do.
pub(crate) fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;

    #[test]
    fn a_right_table_is_accepted_and_its_tail_ignored() {
        let mut bytes = table(*b"MCFG", &[1, 2, 3]);
        bytes.extend_from_slice(&[9; 7]);
        let table = Table::parse(Signature::MCFG, &bytes).unwrap();
        assert_eq!(table.bytes().len(), 39);
    }

    #[test]
    fn each_defect_has_its_error() {
        let good = table(*b"MCFG", &[1, 2, 3]);
        let cut = Table::parse(Signature::MCFG, &good[..38]).unwrap_err();
        assert_eq!(cut, Error::Truncated { table: Signature::MCFG, length: 38, needed: 39 });
        let head = Table::parse(Signature::MCFG, &good[..10]).unwrap_err();
        assert_eq!(head, Error::Truncated { table: Signature::MCFG, length: 10, needed: 36 });
        let other = Table::parse(Signature::HPET, &good).unwrap_err();
        assert_eq!(other, Error::WrongSignature { expected: Signature::HPET, found: Signature::MCFG });
        let mut bad = good.clone();
        bad[37] ^= 1;
        assert_eq!(
            Table::parse(Signature::MCFG, &bad).unwrap_err(),
            Error::BadChecksum { table: Signature::MCFG }
        );
        for length in [0u32, 35, u32::MAX] {
            let mut bad = good.clone();
            bad[4..8].copy_from_slice(&length.to_le_bytes());
            assert!(Table::parse(Signature::MCFG, &bad).is_err());
            assert!(Table::read(bad.as_slice(), Signature::MCFG, 0).is_err());
        }
    }

    #[test]
    fn a_signature_prints_whatever_it_holds() {
        assert_eq!(Signature([b'A', 0, 0xff, b'Z']).to_string(), "A??Z");
    }
}
