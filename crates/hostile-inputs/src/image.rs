// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images: a guest's, which lies in its RAM while it is loaded, and a part's in the bundle.

use crate::bytes::Bytes;
use crate::ram::Ram;
use system_spec::bundle::{Bundle, Kind, Writer, digest};
use vmm_devices::elf::{self, Place};
use vmm_devices::layout;

const RAM: usize = 0x12_0000;

/// The input as an ELF file for each loader, with a right magic too, and as a bundle with a right digest.
pub fn run(input: &[u8]) {
    // A file of the smallest kind, over which the input is laid.
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    let mut bytes = Bytes(input);
    file.resize(0x400.max(input.len()), 0);
    (file[32], file[52], file[54], file[56]) = (64, 64, 56, 1 + bytes.u8() % 4);
    file[64..64 + input.len().min(0x3c0)].copy_from_slice(&input[..input.len().min(0x3c0)]);
    for file in [input, &file] {
        let mut ram = Ram(vec![0; RAM]);
        let base = (RAM - file.len()) & !0xfff;
        if file.len() <= 0x1_0000 {
            ram.0[base..base + file.len()].copy_from_slice(file);
            let place = Place { gpa: base as u64, bytes: file.len() as u64 };
            if elf::load(&mut ram, place).is_ok() {
                assert!(ram.0[..layout::IMAGE_START as usize].iter().all(|byte| *byte == 0));
            }
        }
        if let Ok(image) = root_task::elf::parse(file) {
            for segment in &image.segments {
                assert!(segment.data.len() <= segment.bytes);
                (0..segment.pages().min(64)).for_each(|n| _ = segment.page(n));
            }
            let _ = (image.pages(), image.tables());
        }
    }
    bundle(input);
}

fn bundle(input: &[u8]) {
    if let Ok(bundle) = Bundle::parse(input) {
        let _ = bundle.entries().count();
    }
    let mut writer = Writer::default();
    let good = writer.add(Kind::Description, "x", vec![1; 64]).and(writer.add(Kind::Guest, "y", vec![2; 64]));
    good.expect("two entries fit");
    let mut bytes = writer.finish();
    let mut changes = Bytes(input);
    while changes.more() {
        let (at, value) = (8 + usize::from(changes.u8()), changes.u8());
        bytes[at] = value;
    }
    // As the writer does it: the digest covers count and length.
    let (count, length) = (u64::from_le_bytes(bytes[8..16].try_into().unwrap()) >> 32, bytes.len() as u64);
    bytes[16..24].copy_from_slice(&length.to_le_bytes());
    let sum = digest(count << 48 ^ length, &bytes[32..]);
    bytes[24..32].copy_from_slice(&sum.to_le_bytes());
    if let Ok(bundle) = Bundle::parse(&bytes) {
        for entry in bundle.entries() {
            assert!(entry.offset + entry.data.len() <= bytes.len() && entry.name.len() <= 40);
        }
        let _ = bundle.description();
    }
}
