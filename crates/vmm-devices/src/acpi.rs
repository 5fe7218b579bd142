// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware tables of a guest (ACPI 6.5, chapter 5): enough to find the CPU, PCI's configuration space and the way to power off.
use crate::layout::{self, tables};
use crate::memory::GuestMemory;
use crate::ports;

/// Bytes of the largest table.
const MAX_TABLE: usize = 400;
const HEADER_BYTES: usize = 36;
type Table = heapless::Vec<u8, MAX_TABLE>;

/// Begins a table; length and checksum come with [`finish`].
fn table(signature: &[u8; 4], revision: u8) -> Table {
    let mut table = Table::new();
    put(&mut table, signature);
    put(&mut table, &[0, 0, 0, 0, revision, 0]);
    put(&mut table, b"POSTRNPOSTRNVMM\x01\0\0\0PSTN\x01\0\0\0");
    debug_assert_eq!(table.len(), HEADER_BYTES + 1);
    table.truncate(HEADER_BYTES);
    table
}

/// Appends; the capacity holds every table of this file, which the tests see.
fn put(table: &mut Table, bytes: &[u8]) {
    let _ = table.extend_from_slice(bytes);
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte))
}

fn finish(table: &mut Table) {
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    table[9] = 0;
    table[9] = checksum(table);
}

/// Where an interrupt line of the PCI bus leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Device on bus 0.
    pub device: u8,
    /// Its pin: 1 is A.
    pub pin: u8,
    /// Global interrupt.
    pub interrupt: u8,
}

/// Most routes that are told: one for each device.
pub const MAX_ROUTES: usize = 8;

/// Writes all tables. `None` if RAM is too small. Of `routes` the first [`MAX_ROUTES`] count.
#[must_use]
pub fn write(memory: &mut impl GuestMemory, routes: &[Route]) -> Option<()> {
    let mut at = tables::ACPI;
    let mut place = |memory: &mut _, mut table: Table| {
        finish(&mut table);
        let address = at;
        at = (at + table.len() as u64).next_multiple_of(16);
        GuestMemory::write(memory, address, &table)?;
        Some(address)
    };
    let dsdt = place(memory, dsdt(routes))?;
    let listed = [place(memory, fadt(dsdt))?, place(memory, madt())?, place(memory, mcfg())?];
    let mut xsdt = table(b"XSDT", 1);
    listed.iter().for_each(|address| put(&mut xsdt, &address.to_le_bytes()));
    let xsdt = place(memory, xsdt)?;
    memory.write(tables::RSDP, &rsdp(xsdt))
}

/// Section 5.2.5.3.
fn rsdp(xsdt: u64) -> [u8; 36] {
    let mut rsdp = [0; 36];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(b"POSTRN");
    rsdp[15] = 2;
    rsdp[20..24].copy_from_slice(&36u32.to_le_bytes());
    rsdp[24..32].copy_from_slice(&xsdt.to_le_bytes());
    rsdp[8] = checksum(&rsdp[..20]);
    rsdp[32] = checksum(&rsdp);
    rsdp
}

/// Section 5.2.9, revision 5: no fixed hardware but PM1a control (for S5) and the reset register.
fn fadt(dsdt: u64) -> Table {
    const BYTES: usize = 268;
    const BOOT_NO_VGA: u8 = 1 << 2;
    const BOOT_NO_RTC: u8 = 1 << 5;
    const FLAGS: u32 = 1 /* WBINVD */ | 1 << 4 | 1 << 5 /* no fixed buttons */ | 1 << 6 /* no fixed RTC wake */ | 1 << 10 /* reset register */;
    let register = |bits: u8, width: u8, port: u16| {
        let mut address = [0u8; 12];
        address[0] = 1; // I/O space
        address[1] = bits;
        address[3] = width;
        address[4..6].copy_from_slice(&port.to_le_bytes());
        address
    };
    let mut fadt = table(b"FACP", 5);
    let _ = fadt.resize(BYTES, 0);
    fadt[40..44].copy_from_slice(&(dsdt as u32).to_le_bytes());
    fadt[64..68].copy_from_slice(&u32::from(ports::POWER).to_le_bytes());
    fadt[89] = 2; // PM1_CNT_LEN
    fadt[109] = BOOT_NO_VGA | BOOT_NO_RTC;
    fadt[112..116].copy_from_slice(&FLAGS.to_le_bytes());
    fadt[116..128].copy_from_slice(&register(8, 1, ports::RESET));
    fadt[128] = ports::RESET_NOW;
    fadt[131] = 1; // minor version
    fadt[140..148].copy_from_slice(&dsdt.to_le_bytes());
    fadt[172..184].copy_from_slice(&register(16, 2, ports::POWER));
    fadt
}

/// Section 5.2.12: one enabled local APIC with ID 0, one I/O APIC with ID 0 from global interrupt 0 on; no PC-AT interrupt controllers.
fn madt() -> Table {
    let mut madt = table(b"APIC", 4);
    put(&mut madt, &(layout::APIC as u32).to_le_bytes());
    put(&mut madt, &0u32.to_le_bytes());
    put(&mut madt, &[0, 8, 0, 0, 1, 0, 0, 0]);
    put(&mut madt, &[1, 12, 0, 0]);
    put(&mut madt, &(layout::IO_APIC as u32).to_le_bytes());
    put(&mut madt, &0u32.to_le_bytes());
    madt
}

/// PCI Firmware 3.2, section 4.1.2: segment 0, bus 0 only.
fn mcfg() -> Table {
    let mut mcfg = table(b"MCFG", 1);
    put(&mut mcfg, &[0; 8]);
    put(&mut mcfg, &layout::ECAM.to_le_bytes());
    put(&mut mcfg, &[0; 8]);
    mcfg
}

/// `_S5` and the host bridge `PCI0` with its bus number and memory window (AML: sections 20.2 and 6.4).
fn dsdt(routes: &[Route]) -> Table {
    let mut dsdt = table(b"DSDT", 2);
    // Name (_S5, Package () {0, 0, 0, 0})
    put(&mut dsdt, b"\x08_S5_\x12\x06\x04\0\0\0\0");
    let mut resources = Table::new();
    // WordBusNumber, fixed, 0 to 0.
    put(&mut resources, &[0x88, 0x0d, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    // DWordMemory, fixed, not cacheable, read-write.
    put(&mut resources, &[0x87, 0x17, 0, 0, 0x0c, 1]);
    let (first, end) = (layout::PCI_WINDOW as u32, layout::PCI_WINDOW_END as u32);
    [0, first, end - 1, 0, end - first]
        .iter()
        .for_each(|value: &u32| put(&mut resources, &value.to_le_bytes()));
    // QWordMemory, fixed, not cacheable, read-write.
    put(&mut resources, &[0x8a, 0x2b, 0, 0, 0x0c, 1]);
    let (first, end) = (layout::HIGH_WINDOW, layout::HIGH_WINDOW_END);
    [0, first, end - 1, 0, end - first]
        .iter()
        .for_each(|value: &u64| put(&mut resources, &value.to_le_bytes()));
    // WordIO, fixed, all ports of BARs; IO, the configuration ports.
    put(&mut resources, &[0x88, 0x0d, 0, 1, 0x0c, 3, 0, 0]);
    let (first, end) = (layout::PORTS as u32, layout::PORTS_END as u32);
    [first, end - 1, 0, end - first]
        .iter()
        .for_each(|value: &u32| put(&mut resources, &(*value as u16).to_le_bytes()));
    put(&mut resources, &[0x47, 1, 0xf8, 0x0c, 0xf8, 0x0c, 1, 8]);
    put(&mut resources, &[0x79, 0]);

    let mut device = Table::new();
    put(&mut device, b"PCI0");
    put(&mut device, b"\x08_HID\x0c\x41\xd0\x0a\x08"); // EisaId ("PNP0A08")
    put(&mut device, b"\x08_CID\x0c\x41\xd0\x0a\x03"); // EisaId ("PNP0A03")
    put(&mut device, b"\x08_UID\0\x08_SEG\0\x08_BBN\0");
    put(&mut device, b"\x08_CRS\x11");
    put_length(&mut device, 2 + resources.len());
    put(&mut device, &[0x0a, resources.len() as u8]);
    put(&mut device, &resources);
    routing(&mut device, routes);

    let mut scope = Table::new();
    put(&mut scope, b"\\_SB_\x5b\x82");
    put_length(&mut scope, device.len());
    put(&mut scope, &device);

    put(&mut dsdt, &[0x10]);
    put_length(&mut dsdt, scope.len());
    put(&mut dsdt, &scope);
    dsdt
}

/// `_PRT` (section 6.2.13): `Package () {Package () {device << 16 | 0xffff, pin - 1, 0, interrupt}, ...}`.
fn routing(device: &mut Table, routes: &[Route]) {
    let mut entries = Table::new();
    let routes = &routes[..routes.len().min(MAX_ROUTES)];
    for Route { device, pin, interrupt } in routes {
        let [low, high] = u16::from(*device).to_le_bytes();
        put(
            &mut entries,
            &[0x12, 12, 4, 0x0c, 0xff, 0xff, low, high, 0x0a, pin.wrapping_sub(1), 0, 0x0a, *interrupt],
        );
    }
    put(device, b"\x08_PRT\x12");
    put_length(device, 1 + entries.len());
    put(device, &[routes.len() as u8]);
    put(device, &entries);
}

/// AML PkgLength (section 20.2.4) of `content` bytes, itself included; two bytes hold up to 4095.
fn put_length(table: &mut Table, content: usize) {
    if content + 1 < 0x40 {
        put(table, &[(content + 1) as u8]);
    } else {
        let all = content + 2;
        put(table, &[0x40 | (all & 0xf) as u8, (all >> 4) as u8]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::Ram;
    use std::vec;
    use std::vec::Vec;

    fn bytes(ram: &Ram, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        ram.read(at, &mut bytes).unwrap();
        bytes
    }
    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum: u8, &b| sum.wrapping_add(b))
    }

    #[test]
    fn all_tables_are_found_and_add_up() {
        let mut ram = Ram::new(2 << 20);
        let routes: Vec<_> =
            (0..9).map(|n| Route { device: 8 + n, pin: 1 + n % 4, interrupt: 16 + n }).collect();
        write(&mut ram, &routes).unwrap();
        let rsdp = bytes(&ram, tables::RSDP, 36);
        assert_eq!((&rsdp[..8], sum(&rsdp[..20]), sum(&rsdp)), (&b"RSD PTR "[..], 0, 0));
        let table_at = |at: u64| {
            let length = ram.read_u32(at + 4).unwrap() as usize;
            let table = bytes(&ram, at, length);
            assert_eq!(sum(&table), 0, "{:?}", core::str::from_utf8(&table[..4]));
            assert!(at + length as u64 <= tables::START_INFO);
            table
        };
        let xsdt = table_at(ram.read_u64(tables::RSDP + 24).unwrap());
        let listed: Vec<Vec<u8>> =
            xsdt[36..].chunks(8).map(|a| table_at(u64::from_le_bytes(a.try_into().unwrap()))).collect();
        let names: Vec<&[u8]> = listed.iter().map(|t| &t[..4]).collect();
        assert_eq!(names, [&b"FACP"[..], b"APIC", b"MCFG"]);
        let fadt = &listed[0];
        assert_eq!((fadt.len(), &fadt[64..66]), (268, &[0x04, 0x06][..]));
        assert_eq!(fadt[172..184], [1, 16, 0, 2, 4, 6, 0, 0, 0, 0, 0, 0]);
        assert_eq!(listed[1].len(), 64);
        assert_eq!(listed[1][52..], [1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        assert_eq!(u64::from_le_bytes(listed[2][44..52].try_into().unwrap()), 0xe000_0000);
        let dsdt = table_at(u64::from_le_bytes(fadt[140..148].try_into().unwrap()));
        aml(&dsdt[36..]);
    }

    /// Reads the few AML constructs used, with all lengths.
    fn aml(code: &[u8]) {
        assert_eq!(&code[..12], b"\x08_S5_\x12\x06\x04\0\0\0\0");
        let scope = package(&code[12..], 1);
        assert_eq!(&scope[..5], b"\\_SB_");
        let device = package(&scope[5..], 2);
        assert_eq!(&device[..4], b"PCI0");
        let at = device.windows(4).position(|w| w == b"_CRS").unwrap();
        let routing = device.windows(4).position(|w| w == b"_PRT").unwrap();
        let routes = package(&device[routing + 4..], 1);
        assert_eq!((routes[0], routes.len()), (8, 1 + 8 * 13));
        for (n, route) in routes[1..].chunks(13).enumerate() {
            let n = n as u8;
            let expected = [4, 0x0c, 0xff, 0xff, 8 + n, 0, 0x0a, n % 4, 0, 0x0a, 16 + n];
            assert_eq!(package(route, 1), expected);
        }
        let buffer = package(&device[at + 4..routing - 1], 1);
        assert_eq!((buffer[0], usize::from(buffer[1])), (0x0a, buffer.len() - 2));
        let resources = &buffer[2..];
        assert_eq!(resources[..3], [0x88, 0x0d, 0]);
        assert_eq!(resources[16..19], [0x87, 0x17, 0]);
        assert_eq!(resources[42..48], [0x8a, 0x2b, 0, 0, 0x0c, 1]);
        let high: Vec<u64> =
            resources[48..88].chunks(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect();
        assert_eq!(high, [0, 1 << 32, (1 << 39) - 1, 0, (1 << 39) - (1 << 32)]);
        let resources = &resources[46..];
        assert_eq!(resources[42..58], [0x88, 0x0d, 0, 1, 0xc, 3, 0, 0, 0, 0x10, 0xff, 0xff, 0, 0, 0, 0xf0]);
        assert_eq!(resources[58..], [0x47, 1, 0xf8, 0xc, 0xf8, 0xc, 1, 8, 0x79, 0]);
    }
    /// The content of a package after `skip` opcode bytes; nothing may follow it.
    fn package(code: &[u8], skip: usize) -> &[u8] {
        let lead = usize::from(code[skip]);
        let (length, used) =
            if lead < 0x40 { (lead, 1) } else { (lead & 0xf | usize::from(code[skip + 1]) << 4, 2) };
        assert_eq!(code.len() - skip, length);
        &code[skip + used..]
    }
}
