// SPDX-License-Identifier: MIT OR Apache-2.0
//! The little that a guest needs of ACPI: where PCI's configuration space is (MCFG) and the I/O APIC (MADT), and on plain QEMU where the
//! power management timer is (FADT). ACPI 6.5, section 5.2.

use crate::cell::IrqCell;

/// The configuration space of segment 0 (PCI Firmware Specification 3.3, section 4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ecam {
    /// Guest-physical address of bus 0's configuration space, whatever the first bus.
    pub base: u64,
    /// The first bus that is decoded.
    pub first_bus: u8,
    /// The last bus that is decoded.
    pub last_bus: u8,
}

/// An I/O APIC (ACPI 6.5, section 5.2.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Guest-physical address of its registers.
    pub base: u64,
    /// Global interrupt of its first pin.
    pub first: u32,
}

#[derive(Clone, Copy)]
struct Found {
    ecam: Option<Ecam>,
    io_apic: Option<IoApic>,
    pm_timer: Option<u16>,
}

static FOUND: IrqCell<Found> = IrqCell::new(Found { ecam: None, io_apic: None, pm_timer: None });

/// PCI's configuration space, if there is PCI.
pub fn ecam() -> Option<Ecam> {
    FOUND.with(|found| found.ecam)
}

/// The first I/O APIC, if there is one.
pub fn io_apic() -> Option<IoApic> {
    FOUND.with(|found| found.io_apic)
}

/// The port of the power management timer, 3.579545 MHz, if there is one.
pub fn pm_timer() -> Option<u16> {
    FOUND.with(|found| found.pm_timer)
}

fn bytes_at<const N: usize>(table: &[u8], offset: usize) -> Option<[u8; N]> {
    table.get(offset..offset + N)?.try_into().ok()
}

/// A table's length field.
fn length(header: &[u8]) -> Option<usize> {
    bytes_at(header, 4).map(|bytes| u32::from_le_bytes(bytes) as usize)
}

/// Whether all bytes add up to 0, as in every ACPI structure.
fn sums_to_zero(table: &[u8]) -> bool {
    table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// The root table's address, and whether its entries have eight bytes (XSDT) or four (RSDT).
fn root_table(rsdp: &[u8]) -> Option<(u64, bool)> {
    if rsdp.get(..8)? != b"RSD PTR " || !sums_to_zero(rsdp.get(..20)?) {
        return None;
    }
    if *rsdp.get(15)? >= 2 {
        let xsdt = u64::from_le_bytes(bytes_at(rsdp, 24)?);
        if xsdt != 0 {
            return Some((xsdt, true));
        }
    }
    Some((u64::from(u32::from_le_bytes(bytes_at(rsdp, 16)?)), false))
}

/// The addresses of the tables that the root table lists.
fn entries(root: &[u8], wide: bool) -> impl Iterator<Item = u64> {
    let width = if wide { 8 } else { 4 };
    root.get(36..)
        .unwrap_or(&[])
        .chunks_exact(width)
        .map(|entry| entry.iter().rev().fold(0, |address, byte| address << 8 | u64::from(*byte)))
}

fn parse_mcfg(table: &[u8]) -> Option<Ecam> {
    let entry = table.get(44..)?.chunks_exact(16).find(|entry| bytes_at::<2>(entry, 8) == Some([0, 0]))?;
    Some(Ecam { base: u64::from_le_bytes(bytes_at(entry, 0)?), first_bus: entry[10], last_bus: entry[11] })
}

fn parse_madt(table: &[u8]) -> Option<IoApic> {
    const IO_APIC: u8 = 1;
    let mut rest = table.get(44..)?;
    while let [kind, length, ..] = *rest {
        let entry = rest.get(..usize::from(length).max(2))?;
        if kind == IO_APIC {
            let word = |offset| bytes_at(entry, offset).map(u32::from_le_bytes);
            return Some(IoApic { base: word(4)?.into(), first: word(8)? });
        }
        rest = &rest[entry.len()..];
    }
    None
}

fn parse_fadt(table: &[u8]) -> Option<u16> {
    let port = u32::from_le_bytes(bytes_at(table, 76)?);
    let length = *table.get(91)?;
    if length == 4 { u16::try_from(port).ok().filter(|port| *port != 0) } else { None }
}

/// Finds and keeps what the other modules ask for; what is missing or broken isn't found.
#[cfg(target_os = "none")]
pub(crate) fn init() {
    /// `bytes` at a guest-physical address below 4 GiB.
    fn table(address: u64, bytes: usize) -> &'static [u8] {
        if address < 0x1000 || address + bytes as u64 > 1 << 32 {
            return &[];
        }
        // SAFETY: mapped one to one; firmware's tables lie in memory that the map reserves, which nobody writes.
        unsafe { core::slice::from_raw_parts(address as *const u8, bytes) }
    }
    fn whole(address: u64) -> &'static [u8] {
        let bytes = length(table(address, 36)).unwrap_or(0).min(1 << 20);
        let whole = table(address, bytes);
        if sums_to_zero(whole) { whole } else { &[] }
    }

    let Some((root, wide)) = root_table(table(crate::boot::rsdp(), 36)) else { return };
    for address in entries(whole(root), wide) {
        let table = whole(address);
        FOUND.with(|found| match table.get(..4) {
            Some(b"MCFG") => found.ecam = parse_mcfg(table),
            Some(b"APIC") => found.io_apic = parse_madt(table),
            Some(b"FACP") => found.pm_timer = parse_fadt(table),
            _ => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsdp(revision: u8, rsdt: u32, xsdt: u64) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..8].copy_from_slice(b"RSD PTR ");
        bytes[15] = revision;
        bytes[16..20].copy_from_slice(&rsdt.to_le_bytes());
        bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
        bytes[8] = bytes[..20].iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
        bytes
    }

    #[test]
    fn root_pointer() {
        assert_eq!(root_table(&rsdp(0, 0x1234, 0)), Some((0x1234, false)));
        assert_eq!(root_table(&rsdp(2, 0x1234, 0xe_1000)), Some((0xe_1000, true)));
        assert_eq!(root_table(&rsdp(2, 0x1234, 0)), Some((0x1234, false)));
        let mut broken = rsdp(0, 1, 0);
        broken[9] ^= 1;
        assert_eq!(root_table(&broken), None);
        assert_eq!(root_table(b"RSD PTR "), None);
    }

    #[test]
    fn root_entries() {
        let mut root = [0; 36 + 17];
        root[36] = 0x10;
        root[44 + 7] = 0x80;
        assert!(entries(&root, true).eq([0x10, 0x8000_0000_0000_0000]));
        assert!(entries(&root[..44], false).eq([0x10, 0]));
        assert_eq!(entries(&[], true).count(), 0);
    }

    #[test]
    fn configuration_space_of_segment_0() {
        let mut table = [0; 44 + 32];
        table[44 + 8] = 1; // segment 1 comes first and is skipped
        table[60..68].copy_from_slice(&0xe000_0000u64.to_le_bytes());
        assert_eq!(parse_mcfg(&table), Some(Ecam { base: 0xe000_0000, first_bus: 0, last_bus: 0 }));
        assert_eq!(parse_mcfg(&table[..60]), None);
    }

    #[test]
    fn first_io_apic() {
        let mut table = vec![0; 44];
        table.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        assert_eq!(parse_madt(&table), None);
        table.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0]);
        assert_eq!(parse_madt(&table), Some(IoApic { base: 0xfec0_0000, first: 24 }));
        assert_eq!(parse_madt(&table[..60]), None);
        table[45] = 0;
        assert_eq!(parse_madt(&table), None, "no end without lengths");
    }

    #[test]
    fn power_management_timer() {
        let mut table = [0; 116];
        table[76..80].copy_from_slice(&0x608u32.to_le_bytes());
        assert_eq!(parse_fadt(&table), None);
        table[91] = 4;
        assert_eq!(parse_fadt(&table), Some(0x608));
    }
}
