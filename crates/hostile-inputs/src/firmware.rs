// SPDX-License-Identifier: MIT OR Apache-2.0
//! Firmware's tables. Checksums are made right, so that what is behind them is reached; the raw bytes are tried too.

use crate::bytes::Bytes;
use firmware_tables::{
    Bridges, BusRange, Coverage, Dmar, Fadt, Hpet, Madt, Mcfg, RootTable, Rsdp, Signature, Structure, Table,
};

/// A table around this body, with a right header.
fn table(signature: Signature, body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.0.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend([1, 0]);
    bytes.extend([b'X'; 26]);
    bytes.extend(body);
    bytes[9] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    bytes
}

/// Every table but the DMAR.
pub fn acpi(input: &[u8]) {
    let _ = (Rsdp::parse(input), Madt::parse(input), Mcfg::parse(input), Hpet::parse(input));
    let _ = (Fadt::parse(input), Table::parse(Signature::XSDT, input), Rsdp::search(input));
    for revision in [0, 2] {
        let rsdp = Rsdp { revision, rsdt: 0, xsdt: Some(0).filter(|_| revision == 2) };
        if let Ok(root) = RootTable::open(input, &rsdp) {
            assert!(root.entries().count() <= input.len());
            let _ = root.find(Signature::MADT);
        }
    }
    if let Ok(madt) = Madt::parse(&table(Signature::MADT, input)) {
        assert!(madt.entries().count() <= input.len());
        let _ = (madt.local_apic_address(), madt.has_8259());
        let _ = (madt.local_apics().count(), madt.io_apics().count(), madt.overrides().count());
        (0..=255).for_each(|source| _ = madt.isa_interrupt(source));
    }
    if let Ok(mcfg) = Mcfg::parse(&table(Signature::MCFG, input)) {
        for region in mcfg.regions() {
            let end = region.start().checked_add(region.length());
            assert!(end.is_some(), "a region ends beyond all addresses");
            for (bus, device, function) in [(0, 0, 0), (255, 31, 7), (region.first_bus, 1, 0)] {
                let place = region.function(bus, device, function);
                assert!(place.is_none_or(|at| at >= region.start() && Some(at) < end));
            }
        }
    }
    let _ = Hpet::parse(&table(Signature::HPET, input));
    let _ = Fadt::parse(&table(Signature::FADT, input));
}

/// Bridges of a hostile machine: from a function's number, any buses.
struct Liars<'a>(&'a [u8]);

impl Bridges for Liars<'_> {
    fn buses(&self, _: u16, function: u16) -> Option<BusRange> {
        let at = usize::from(function) % self.0.len().max(1);
        let bytes = self.0.get(at..at + 2)?;
        Some(BusRange { secondary: bytes[0], subordinate: bytes[1] })
    }
}

/// The DMAR table, and who is covered by which unit.
pub fn dmar(input: &[u8]) {
    let _ = Dmar::parse(input);
    let bytes = table(Signature::DMAR, input);
    let Ok(dmar) = Dmar::parse(&bytes) else { return };
    assert!(dmar.structures().count() <= input.len());
    for structure in dmar.structures() {
        let scopes: usize = match structure {
            Structure::Unit(unit) => unit.scopes().map(|scope| scope.path().count()).sum(),
            Structure::Reserved(region) => region.scopes().map(|scope| scope.path().count()).sum(),
            _ => 0,
        };
        assert!(scopes <= input.len());
    }
    let units = dmar.units().count();
    for number in 0..=255 {
        for source in [dmar.io_apic_source(number), dmar.hpet_source(number)].into_iter().flatten() {
            assert!(source.0 < units, "a unit that isn't there");
        }
    }
    if let Ok(coverage) = Coverage::of(&dmar, &Liars(input)) {
        let mut bytes = Bytes(input);
        for _ in 0..64 {
            let unit = coverage.unit_of(u16::from(bytes.u8() & 1), bytes.u16());
            assert!(unit.is_none_or(|unit| unit < units), "a unit that isn't there");
        }
    }
}
