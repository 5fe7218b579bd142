// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutated input to every parser here: none may panic, and what is accepted must be sound. A few thousand rounds by
//! default; `POSTERN_FUZZ_ROUNDS` sets another number.
#![cfg(feature = "host")]

use system_spec::bundle::{Bundle, Kind, Writer, digest};
use system_spec::compiled::System;
use system_spec::description::Description;

const TEXT: &str = include_str!("descriptions/valid-web.toml");

/// xorshift64*: the same sequence everywhere, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }

    /// Changes, inserts, removes or repeats a few bytes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 => bytes.insert(at, self.next() as u8),
                3 if !bytes.is_empty() => drop(bytes.drain(at..(at + self.below(9)).min(bytes.len()))),
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }
}

fn rounds(seed: u64, mut round: impl FnMut(&mut Random)) {
    let count =
        std::env::var("POSTERN_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000_u64);
    let mut random = Random(seed);
    (0..count).for_each(|_| round(&mut random));
}

#[test]
fn fuzz_description() {
    rounds(1, |random| {
        let mut bytes = TEXT.as_bytes().to_vec();
        random.mutate(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        match Description::read(&text) {
            Ok((description, _)) => {
                let compiled = description.compile().unwrap();
                assert_eq!(System::read(&compiled).unwrap(), description.system());
            }
            Err(remarks) => {
                assert!(!remarks.is_empty());
                remarks.iter().for_each(|remark| drop(remark.render("x", &text)));
            }
        }
    });
}

#[test]
fn fuzz_compiled() {
    let good = Description::read(TEXT).unwrap().0.compile().unwrap();
    rounds(2, |random| {
        let mut bytes = good.clone();
        random.mutate(&mut bytes);
        if let Ok(system) = System::read(&bytes) {
            assert!(!system.vms.is_empty() && system.vms.iter().all(|vm| vm.memory.is_multiple_of(2 << 20)));
            let _ = system.pci.reserve.iter().map(ToString::to_string).collect::<String>();
        }
    });
}

#[test]
fn fuzz_bundle() {
    let mut writer = Writer::default();
    writer.add(Kind::Description, "x", vec![1; 100]).unwrap();
    writer.add(Kind::Guest, "images/hello", vec![2; 5000]).unwrap();
    let good = writer.finish();
    rounds(3, |random| {
        let mut bytes = good.clone();
        // Where the fields are; the digest is made right again, so that what is behind it is reached.
        for _ in 0..=random.below(3) {
            bytes[8 + random.below(200)] = random.next() as u8;
        }
        let (count, length) = (u64::from_le_bytes(bytes[8..16].try_into().unwrap()) >> 32, good.len() as u64);
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        let sum = digest(count << 48 ^ length, &bytes[32..]);
        bytes[24..32].copy_from_slice(&sum.to_le_bytes());
        if let Ok(bundle) = Bundle::parse(&bytes) {
            for entry in bundle.entries() {
                assert!(entry.offset + entry.data.len() <= bytes.len() && entry.name.len() <= 40);
            }
        }
    });
}
