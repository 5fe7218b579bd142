// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::fixture::{dmar, drhd, fix_checksum, qemu_dmar, scope};

fn rmrr(base: u64, limit: u64, scopes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&(24 + scopes.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&base.to_le_bytes());
    bytes.extend_from_slice(&limit.to_le_bytes());
    bytes.extend_from_slice(scopes);
    bytes
}

#[test]
fn qemus_table_is_read() {
    let bytes = qemu_dmar();
    let dmar = Dmar::parse(&bytes).unwrap();
    assert_eq!(dmar.host_address_width(), 48);
    assert!(dmar.interrupt_remapping() && !dmar.x2apic_opt_out());
    let units: Vec<_> = dmar.units().collect();
    assert_eq!(units.len(), 1);
    assert_eq!((units[0].base, units[0].length, units[0].include_all), (0xfed9_0000, 4096, false));
    assert_eq!(units[0].scopes().count(), 6);
    assert_eq!(dmar.io_apic_source(0), Some((0, 0xff00)));
    assert_eq!(dmar.io_apic_source(1), None);
    assert_eq!(dmar.hpet_source(0), None);
}

#[test]
fn the_other_structures_are_read() {
    let ats = vec![2, 0, 8, 0, 1, 0, 0, 0];
    let mut rhsa = vec![3, 0, 20, 0, 0, 0, 0, 0];
    rhsa.extend_from_slice(&0xfed9_0000u64.to_le_bytes());
    rhsa.extend_from_slice(&1u32.to_le_bytes());
    let andd = vec![4, 0, 14, 0, 0, 0, 0, 9, b'\\', b'_', b'S', b'B', 0, 0];
    let unknown = vec![77, 0, 6, 0, 1, 2];
    let region = rmrr(0x7000_0000, 0x7000_ffff, &scope(1, 0, 0, &[(2, 0)]));
    let bytes =
        dmar(&[drhd(1, 3, 0xfed9_1000, &[scope(4, 2, 0xf0, &[(0xf, 0)])]), region, ats, rhsa, andd, unknown]);
    let dmar = Dmar::parse(&bytes).unwrap();
    let all: Vec<_> = dmar.structures().collect();
    assert_eq!(all.len(), 6);
    assert!(matches!(all[0], Structure::Unit(unit) if unit.include_all && unit.segment == 3));
    assert!(matches!(all[2], Structure::Ats(ats) if ats.all_ports && ats.scopes().count() == 0));
    assert_eq!(all[3], Structure::Affinity(UnitAffinity { base: 0xfed9_0000, domain: 1 }));
    assert_eq!(all[4], Structure::Acpi(AcpiDevice { number: 9, name: b"\\_SB" }));
    assert_eq!(all[5], Structure::Other { kind: 77 });
    let region = dmar.reserved_memory().next().unwrap();
    assert_eq!((region.base, region.limit), (0x7000_0000, 0x7000_ffff));
    assert_eq!(region.scopes().next().unwrap().direct(), Some(0x10));
    assert_eq!(dmar.hpet_source(2), Some((0, 0xf078)));
}

#[test]
fn a_table_cut_anywhere_is_refused() {
    let whole = qemu_dmar();
    for length in 0..whole.len() {
        // Cut behind the header's back …
        assert!(Dmar::parse(&whole[..length]).is_err(), "cut at {length} passed");
        // … and with a header that agrees, except where the cut leaves no structure begun.
        if length >= 36 {
            let mut cut = whole[..length].to_vec();
            cut[4..8].copy_from_slice(&(length as u32).to_le_bytes());
            fix_checksum(&mut cut, 9);
            assert_eq!(Dmar::parse(&cut).is_err(), length != 48, "cut at {length}");
        }
    }
}

#[test]
fn zero_and_overlapping_lengths_are_refused_with_their_place() {
    for length in [0u16, 1, 3, 4, 15, 23, 0x7fff] {
        let mut unit = drhd(0, 0, 0xfed9_0000, &[scope(1, 0, 0, &[(1, 0)])]);
        unit[2..4].copy_from_slice(&length.to_le_bytes());
        let error = Dmar::parse(&dmar(&[unit])).unwrap_err();
        let place = if length == 23 { 64 } else { 48 };
        assert!(matches!(error, Error::BadEntry { offset, .. } if offset == place), "{length}: {error}");
    }
}

#[test]
fn impossible_addresses_are_refused() {
    for base in [0, 0xfed9_0001, 1 << 52] {
        assert!(matches!(
            Dmar::parse(&dmar(&[drhd(0, 0, base, &[])])),
            Err(Error::BadValue { offset: 56, .. })
        ));
    }
    assert!(matches!(Dmar::parse(&dmar(&[rmrr(2, 1, &[])])), Err(Error::BadValue { offset: 64, .. })));
}

#[test]
fn any_single_wrong_byte_is_survived() {
    let whole = qemu_dmar();
    for at in 0..whole.len() {
        for value in [0, 1, 2, 7, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            if at != 9 {
                fix_checksum(&mut bytes, 9);
            }
            if let Ok(dmar) = Dmar::parse(&bytes) {
                for unit in dmar.units() {
                    for scope in unit.scopes() {
                        assert!(scope.path().count() >= 1);
                    }
                }
            }
        }
    }
}
