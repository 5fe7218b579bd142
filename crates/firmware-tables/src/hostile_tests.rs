// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of noise: whatever firmware leaves, every reader comes back with an answer or an error.

use crate::fixture::table;
use crate::*;

/// A small deterministic generator (xorshift64).
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Bytes of which many are small, so that they pass for types and lengths.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| {
                let word = self.next();
                if word & 0x300 == 0 { word as u8 } else { word as u8 & 0x1f }
            })
            .collect()
    }
}

/// Bridges that answer with noise.
struct Liars;

impl Bridges for Liars {
    fn buses(&self, _: u16, function: u16) -> Option<BusRange> {
        let mut noise = Noise(u64::from(function) + 1);
        Some(BusRange { secondary: noise.next() as u8, subordinate: noise.next() as u8 })
    }
}

#[test]
fn noise_is_survived_by_every_reader() {
    let mut noise = Noise(0x1234_5678_9abc_def1);
    let mut accepted = 0;
    for round in 0..20_000usize {
        let body = noise.bytes(round % 97);
        if let Ok(madt) = Madt::parse(&table(*b"APIC", &body)) {
            accepted += madt.entries().count();
            let _ = (madt.local_apic_address(), madt.isa_interrupt(4));
        }
        if let Ok(mcfg) = Mcfg::parse(&table(*b"MCFG", &body)) {
            accepted += mcfg.regions().filter_map(|region| region.function(1, 2, 3)).count();
        }
        let _ = Hpet::parse(&table(*b"HPET", &body));
        let _ = Fadt::parse(&table(*b"FACP", &body));
        if let Ok(dmar) = Dmar::parse(&table(*b"DMAR", &body)) {
            accepted += dmar.structures().count();
            if let Ok(coverage) = Coverage::of(&dmar, &Liars) {
                let _ = coverage.unit_of(0, round as u16);
            }
        }
        let _ = Rsdp::parse(&body);
        let _ = Table::parse(Signature::XSDT, &body);
    }
    // Some noise passes for tables, so the readers behind the checks have been tried too.
    assert!(accepted > 1000, "only {accepted} entries were accepted");
}

#[test]
fn root_tables_of_noise_lead_nowhere_without_harm() {
    let mut noise = Noise(99);
    for _ in 0..500 {
        let mut memory = noise.bytes(0x2000);
        let root = table(*b"XSDT", &noise.bytes(64));
        memory[0x1000..0x1000 + root.len()].copy_from_slice(&root);
        let rsdp = Rsdp { revision: 2, rsdt: 0, xsdt: Some(0x1000) };
        let root = RootTable::open(memory.as_slice(), &rsdp).unwrap();
        let _ = root.entries().count();
        for signature in [Signature::MADT, Signature::DMAR, Signature::XSDT] {
            let _ = root.find(signature);
        }
        let _ = Rsdp::search(memory.as_slice());
    }
}
