// SPDX-License-Identifier: MIT OR Apache-2.0
//! Byte fixtures for the tests.

/// A table with a right header around `body`.
pub fn table(signature: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend_from_slice(&(36 + body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(b"BOCHS BXPC    ");
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    bytes.extend_from_slice(b"BXPC");
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    bytes.extend_from_slice(body);
    fix_checksum(&mut bytes, 9);
    bytes
}

/// Makes all bytes add up to zero by the one at `at`.
pub fn fix_checksum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    let sum = bytes.iter().fold(0u8, |sum, &b| sum.wrapping_add(b));
    bytes[at] = sum.wrapping_neg();
}

/// A root pointer.
pub fn rsdp(revision: u8, rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0BOCHS ".to_vec();
    bytes.push(revision);
    bytes.extend_from_slice(&rsdt.to_le_bytes());
    fix_checksum(&mut bytes, 8);
    if revision >= 2 {
        bytes.extend_from_slice(&36u32.to_le_bytes());
        bytes.extend_from_slice(&xsdt.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        fix_checksum(&mut bytes, 32);
    }
    bytes
}

/// A device scope of the DMAR table.
pub fn scope(kind: u8, id: u8, bus: u8, path: &[(u8, u8)]) -> Vec<u8> {
    let mut bytes = vec![kind, 6 + 2 * path.len() as u8, 0, 0, id, bus];
    for &(device, function) in path {
        bytes.extend_from_slice(&[device, function]);
    }
    bytes
}

/// A remapping unit of the DMAR table.
pub fn drhd(flags: u8, segment: u16, base: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    let scopes = scopes.concat();
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&(16 + scopes.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&[flags, 0]);
    bytes.extend_from_slice(&segment.to_le_bytes());
    bytes.extend_from_slice(&base.to_le_bytes());
    bytes.extend_from_slice(&scopes);
    bytes
}

/// A whole DMAR table, for 48-bit addresses and with interrupt remapping.
pub fn dmar(structures: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![47, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&structures.concat());
    table(*b"DMAR", &body)
}

/// The table that QEMU 7.2 makes for q35 with one root port at 00:04.0: flags 0, every function of bus 0 and the
/// IOAPIC at ff:00.0.
pub fn qemu_dmar() -> Vec<u8> {
    dmar(&[drhd(
        0,
        0,
        0xfed9_0000,
        &[
            scope(3, 0, 0xff, &[(0, 0)]),
            scope(1, 0, 0, &[(0, 0)]),
            scope(2, 0, 0, &[(4, 0)]),
            scope(1, 0, 0, &[(0x1f, 0)]),
            scope(1, 0, 0, &[(0x1f, 2)]),
            scope(1, 0, 0, &[(0x1f, 3)]),
        ],
    )])
}
