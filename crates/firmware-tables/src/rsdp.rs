// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root pointer (ACPI 6.5, section 5.2.5).

use crate::sdt::sums_to_zero;
use crate::{Error, PhysicalMemory};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const SIGNATURE: [u8; 8] = *b"RSD PTR ";

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Version1 {
    signature: [u8; 8],
    checksum: u8,
    oem_id: [u8; 6],
    revision: u8,
    rsdt: U32,
}
const VERSION1_BYTES: usize = size_of::<Version1>();
const _: () = assert!(VERSION1_BYTES == 20);

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Version2 {
    first: Version1,
    length: U32,
    xsdt: U64,
    extended_checksum: u8,
    reserved: [u8; 3],
}
const VERSION2_BYTES: usize = size_of::<Version2>();
const _: () = assert!(VERSION2_BYTES == 36);

/// The root pointer: where the root table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsdp {
    /// 0 for ACPI 1.0, 2 for everything later.
    pub revision: u8,
    /// Physical address of the root table with 32-bit entries, 0 if there is none.
    pub rsdt: u32,
    /// Physical address of the root table with 64-bit entries, if there is one.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Checks the root pointer that begins `bytes`. A revision 2 pointer whose extended part is cut off or damaged is
    /// used as revision 1, if it has a 32-bit root table.
    pub fn parse(bytes: &[u8]) -> Result<Rsdp, Error> {
        let (first, _) = Version1::ref_from_prefix(bytes).map_err(|_| Error::NoRsdp)?;
        if first.signature != SIGNATURE || !sums_to_zero(&bytes[..VERSION1_BYTES]) {
            return Err(Error::NoRsdp);
        }
        let xsdt = if first.revision >= 2 { extended(bytes) } else { None };
        let rsdt = first.rsdt.get();
        if rsdt == 0 && xsdt.is_none() {
            return Err(Error::NoRsdp);
        }
        Ok(Rsdp { revision: first.revision, rsdt, xsdt })
    }

    /// Reads the root pointer at the physical address `address`.
    pub fn read<M: PhysicalMemory + ?Sized>(memory: &M, address: u64) -> Result<Rsdp, Error> {
        memory
            .bytes(address, VERSION2_BYTES)
            .or_else(|| memory.bytes(address, VERSION1_BYTES))
            .map_or(Err(Error::NoRsdp), Rsdp::parse)
    }

    /// Looks where a BIOS leaves the pointer: the first KiB of the extended BIOS data area, then 0xE0000–0xFFFFF
    /// (ACPI 6.5, section 5.2.5.1). For boot paths that don't hand it over.
    pub fn search<M: PhysicalMemory + ?Sized>(memory: &M) -> Result<Rsdp, Error> {
        // The BIOS data area holds the real-mode segment of the extended area at 0x40e.
        let segment = memory.bytes(0x40e, 2).map_or(0, |b| u64::from(u16::from_le_bytes([b[0], b[1]])));
        let areas = [(segment << 4, 1024u64), (0xe_0000, 0x2_0000)];
        for (start, length) in areas {
            if start < 0x400 {
                continue;
            }
            for address in (start..start + length).step_by(16) {
                let begins_here = memory.bytes(address, 8).is_some_and(|b| b == SIGNATURE);
                if begins_here && let Ok(rsdp) = Rsdp::read(memory, address) {
                    return Ok(rsdp);
                }
            }
        }
        Err(Error::NoRsdp)
    }
}

fn extended(bytes: &[u8]) -> Option<u64> {
    let (second, _) = Version2::ref_from_prefix(bytes).ok()?;
    let length = second.length.get() as usize;
    // Longer pointers may come; what we can check is the part that we know.
    let whole = bytes.get(..length.min(bytes.len()))?;
    (length >= VERSION2_BYTES && whole.len() == length && sums_to_zero(whole))
        .then(|| second.xsdt.get())
        .filter(|&address| address != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rsdp;

    #[test]
    fn both_versions_are_read() {
        let old = rsdp(0, 0x1000, 0);
        assert_eq!(Rsdp::parse(&old).unwrap(), Rsdp { revision: 0, rsdt: 0x1000, xsdt: None });
        let new = rsdp(2, 0x1000, 0x1_2345_6780);
        assert_eq!(Rsdp::parse(&new).unwrap(), Rsdp { revision: 2, rsdt: 0x1000, xsdt: Some(0x1_2345_6780) });
    }

    #[test]
    fn a_damaged_extension_falls_back_and_a_damaged_base_does_not() {
        let mut new = rsdp(2, 0x1000, 0x2000);
        new[24] ^= 1;
        assert_eq!(Rsdp::parse(&new).unwrap().xsdt, None);
        assert_eq!(Rsdp::parse(&new[..20]).unwrap().xsdt, None);
        new[16] ^= 1;
        assert_eq!(Rsdp::parse(&new), Err(Error::NoRsdp));
        assert_eq!(Rsdp::parse(&[]), Err(Error::NoRsdp));
        assert_eq!(Rsdp::parse(&rsdp(0, 0, 0)), Err(Error::NoRsdp));
    }

    #[test]
    fn the_search_finds_it_in_both_areas_and_skips_a_fake() {
        let mut memory = vec![0u8; 0x10_0000];
        assert_eq!(Rsdp::search(memory.as_slice()), Err(Error::NoRsdp));
        memory[0xe_0010..0xe_0018].copy_from_slice(&SIGNATURE);
        memory[0xf_0000..0xf_0024].copy_from_slice(&rsdp(2, 1, 0x3000));
        assert_eq!(Rsdp::search(memory.as_slice()).unwrap().xsdt, Some(0x3000));
        memory[0x40e..0x410].copy_from_slice(&0x9fc0u16.to_le_bytes());
        memory[0x9_fc20..0x9_fc44].copy_from_slice(&rsdp(2, 1, 0x4000));
        assert_eq!(Rsdp::search(memory.as_slice()).unwrap().xsdt, Some(0x4000));
    }
}
