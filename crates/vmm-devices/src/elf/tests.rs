// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::memory::tests::Ram;
use crate::random::Random;
use std::string::ToString;
use std::vec::Vec;

const RAM: usize = 4 << 20;

/// An image of one note and the given segments (address, file bytes, memory bytes).
fn image(entry: u32, segments: &[(u64, u64, u64)]) -> Vec<u8> {
    let count = segments.len() + 1;
    let note_at = 64 + 56 * count as u64;
    let mut data_at = note_at + 20;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01");
    file.resize(16, 0);
    file.extend(2u16.to_le_bytes());
    file.extend(62u16.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(64u64.to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend([0; 4]);
    for half in [64u16, 56, count as u16, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    let mut header = |kind: u32, offset: u64, address: u64, file_bytes: u64, memory_bytes: u64| {
        file.extend(kind.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        for value in [offset, address, address, file_bytes, memory_bytes, 4096] {
            file.extend(value.to_le_bytes());
        }
    };
    header(NOTE, note_at, 0, 20, 20);
    for &(address, bytes, memory_bytes) in segments {
        header(LOAD, data_at, address, bytes, memory_bytes);
        data_at += bytes;
    }
    for value in [4u32, 4, 18] {
        file.extend(value.to_le_bytes());
    }
    file.extend(b"Xen\0");
    file.extend(entry.to_le_bytes());
    for (n, &(_, bytes, _)) in segments.iter().enumerate() {
        file.extend(std::vec![n as u8 + 1; bytes as usize]);
    }
    file
}

fn place(ram: &mut Ram, file: &[u8]) -> Place {
    let gpa = (RAM - file.len()) as u64 & !0xfff;
    ram.write(gpa, file).unwrap();
    Place { gpa, bytes: file.len() as u64 }
}

fn try_load(file: &[u8]) -> Result<u32, ImageError> {
    let mut ram = Ram::new(RAM);
    let place = place(&mut ram, file);
    load(&mut ram, place)
}

#[test]
fn a_good_image_is_loaded() {
    let mut ram = Ram::new(RAM);
    ram.0.fill(0xee);
    let file = image(0x10_0010, &[(0x10_0000, 100, 300), (0x10_2000, 50, 50)]);
    let place = place(&mut ram, &file);
    assert_eq!(load(&mut ram, place), Ok(0x10_0010));
    assert!(ram.0[0x10_0000..0x10_0064].iter().all(|&b| b == 1));
    assert!(ram.0[0x10_0064..0x10_012c].iter().all(|&b| b == 0));
    assert_eq!(ram.0[0x10_012c], 0xee);
    assert_eq!(ram.0[0x10_2031], 2);
}

#[test]
fn wrong_images_say_what_is_wrong() {
    let good = image(0x10_0000, &[(0x10_0000, 100, 100)]);
    let change = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        try_load(&file)
    };
    assert_eq!(try_load(b"#!/bin/sh"), Err(ImageError::NotElf));
    assert_eq!(change(0, b"\x7fELG"), Err(ImageError::NotElf));
    assert_eq!(change(4, &[1]), Err(ImageError::NotX86_64));
    assert_eq!(change(18, &[3, 0]), Err(ImageError::NotX86_64));
    assert_eq!(change(54, &[32]), Err(ImageError::BadHeaders));
    assert_eq!(change(56, &[65]), Err(ImageError::BadHeaders));
    assert_eq!(change(32, &[0xff; 8]), Err(ImageError::BadHeaders));
    assert_eq!(change(64, &[0]), Err(ImageError::NoEntry));
    assert_eq!(change(64 + 56, &[0]), Err(ImageError::Empty));
    assert_eq!(try_load(&good[..good.len() - 1]), Err(ImageError::BadSegment { segment: 1 }));
    let outside = |address, bytes| ImageError::OutsideMemory { segment: 1, address, bytes };
    assert_eq!(try_load(&image(0, &[(0xff000, 16, 16)])), Err(outside(0xff000, 16)));
    assert_eq!(try_load(&image(0, &[(0x3f_0000, 16, 0x10001)])), Err(outside(0x3f_0000, 0x10001)));
    assert_eq!(try_load(&image(0, &[(u64::MAX, 16, 16)])), Err(outside(u64::MAX, 16)));
    assert_eq!(try_load(&image(0, &[(0x10_0000, 16, u64::MAX)])), Err(outside(0x10_0000, u64::MAX)));
    assert_eq!(
        try_load(&image(0x10_0000, &[(0x10_0000, 16, 8)])),
        Err(ImageError::BadSegment { segment: 1 })
    );
    assert_eq!(
        try_load(&image(0x10_0000, &[(0x10_0000, 16, 0x2f_fff0)])),
        Err(ImageError::OverFile { segment: 1 })
    );
    assert_eq!(
        try_load(&image(0x20_0000, &[(0x10_0000, 16, 16)])),
        Err(ImageError::EntryOutside { entry: 0x20_0000 })
    );
    let mut ram = Ram::new(RAM);
    assert_eq!(load(&mut ram, Place { gpa: 0x1000, bytes: u64::MAX }), Err(ImageError::Misplaced));
    assert!(outside(0x1000, 16).to_string().contains("0x10 bytes at 0x1000"));
}

#[test]
fn random_damage_never_panics_and_stays_in_bounds() {
    let good = image(0x10_0000, &[(0x10_0000, 100, 100), (0x18_0000, 9, 0x100)]);
    let mut random = Random(0x7777_1234_dead_beef);
    let mut next = || random.next();
    let mut ram = Ram::new(RAM);
    for _ in 0..20_000 {
        let mut file = good.clone();
        for _ in 0..next() % 4 + 1 {
            let at = (next() % 256) as usize;
            file[at] = next() as u8;
        }
        ram.0[0x100..0x110].fill(0x55);
        let place = place(&mut ram, &file);
        let _ = load(&mut ram, place);
        assert_eq!(ram.0[0x100..0x110], [0x55; 16], "nothing below 1 MiB is written");
    }
}

#[test]
fn what_would_take_for_ever_is_refused() {
    // Others wait until this VM has started.
    let over_each_other = std::vec![(0x10_0000, 0, 0x10_0000); 30];
    assert_eq!(try_load(&image(0x10_0000, &over_each_other)), Err(ImageError::Overlap));
    // A note segment of empty notes, the entry's note behind them.
    let mut file = image(0x10_0000, &[(0x10_0000, 100, 100)]);
    let (start, entry) = (file.len() as u64, file[64 + 112..64 + 132].to_vec());
    for (empty, loaded) in [(63, Ok(0x10_0000)), (64, Err(ImageError::NoEntry))] {
        file.truncate(start as usize);
        file.extend(std::vec![0; 12 * empty]);
        file.extend(&entry);
        file[64 + 8..64 + 16].copy_from_slice(&start.to_le_bytes());
        file[64 + 32..64 + 40].copy_from_slice(&(12 * empty as u64 + 20).to_le_bytes());
        assert_eq!(try_load(&file), loaded, "{empty}");
    }
}
