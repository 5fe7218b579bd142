// SPDX-License-Identifier: MIT OR Apache-2.0
//! The image of a part: a static 64-bit ELF executable (System V ABI, "Object Files").
//!
//! The bundle's digest only finds damage, so the image is read as if it were hostile.

use alloc::vec::Vec;
use core::fmt;

use crate::layout::{IMAGE_END, IMAGE_START, PAGE};

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfError {
    /// No static ELF64 executable for x86-64.
    NotExecutable,
    /// It is cut short.
    Short,
    /// A segment lies outside the part's image area, or its file bytes exceed its memory.
    Segment(usize),
    /// Two segments share a page.
    Overlap(usize),
    /// The entry point is in no executable segment.
    Entry,
    /// A segment can be written and executed.
    Writable(usize),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotExecutable => f.write_str("the image is no static x86-64 executable"),
            Self::Short => f.write_str("the image is cut short"),
            Self::Segment(n) => write!(f, "segment {n} lies outside the part's image area"),
            Self::Overlap(n) => write!(f, "segment {n} shares a page with another"),
            Self::Entry => f.write_str("the entry point is in no executable segment"),
            Self::Writable(n) => write!(f, "segment {n} is writable and executable"),
        }
    }
}

/// A segment to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Virtual address.
    pub address: usize,
    /// Its first bytes; the rest is zero.
    pub data: &'a [u8],
    /// Its bytes in memory.
    pub bytes: usize,
    /// It can be written.
    pub write: bool,
}

impl<'a> Segment<'a> {
    /// Address of its first page.
    pub const fn first_page(&self) -> usize {
        self.address / PAGE * PAGE
    }

    /// How many pages it touches.
    pub const fn pages(&self) -> usize {
        (self.address + self.bytes - self.first_page()).div_ceil(PAGE)
    }

    /// The file's bytes in page `n`, and their offset in the page.
    pub fn page(&self, n: usize) -> (usize, &'a [u8]) {
        let start = self.first_page() + n * PAGE;
        let from = start.max(self.address);
        let to = (start + PAGE).min(self.address + self.data.len());
        if from >= to {
            return (0, &[]);
        }
        (from - start, &self.data[from - self.address..to - self.address])
    }
}

/// An image that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image<'a> {
    /// Virtual address of the first instruction.
    pub entry: usize,
    /// Its segments.
    pub segments: Vec<Segment<'a>>,
}

impl Image<'_> {
    /// Pages of all segments.
    pub fn pages(&self) -> usize {
        self.segments.iter().map(Segment::pages).sum()
    }

    /// Regions of 2 MiB from the first segment's to the last one's: page tables.
    pub fn tables(&self) -> usize {
        const REGION: usize = 2 << 20;
        let first = self.segments.iter().map(Segment::first_page).min().unwrap_or(0);
        let end = self.segments.iter().map(|s| s.first_page() + s.pages() * PAGE).max().unwrap_or(0);
        end.div_ceil(REGION) - first / REGION
    }
}

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const PT_LOAD: u32 = 1;
const EXECUTE: u32 = 1;
const WRITE: u32 = 2;

/// Reads an image.
pub fn parse(file: &[u8]) -> Result<Image<'_>, ElfError> {
    let header = file.get(..HEADER_BYTES).ok_or(ElfError::Short)?;
    // 64-bit, little-endian, version 1; executable, x86-64.
    if header[..7] != *b"\x7fELF\x02\x01\x01" || u16_at(header, 16) != 2 || u16_at(header, 18) != 62 {
        return Err(ElfError::NotExecutable);
    }
    if usize::from(u16_at(header, 54)) != PROGRAM_HEADER_BYTES {
        return Err(ElfError::NotExecutable);
    }
    let entry = u64_at(header, 24) as usize;
    let table = u64_at(header, 32);
    let mut segments: Vec<Segment> = Vec::new();
    let mut entry_found = false;
    for number in 0..usize::from(u16_at(header, 56)) {
        let at = table.checked_add((number * PROGRAM_HEADER_BYTES) as u64).ok_or(ElfError::Short)?;
        let raw = slice(file, at, PROGRAM_HEADER_BYTES as u64).ok_or(ElfError::Short)?;
        let bytes = u64_at(raw, 40);
        if u32_at(raw, 0) != PT_LOAD || bytes == 0 {
            continue;
        }
        let flags = u32_at(raw, 4);
        let data = slice(file, u64_at(raw, 8), u64_at(raw, 32)).ok_or(ElfError::Short)?;
        let address = u64_at(raw, 16);
        let end = address.checked_add(bytes).filter(|end| *end <= IMAGE_END as u64);
        if address < IMAGE_START as u64 || end.is_none() || data.len() as u64 > bytes {
            return Err(ElfError::Segment(number));
        }
        if flags & (EXECUTE | WRITE) == EXECUTE | WRITE {
            return Err(ElfError::Writable(number));
        }
        let segment =
            Segment { address: address as usize, data, bytes: bytes as usize, write: flags & WRITE != 0 };
        let end_page = |s: &Segment| s.first_page() + s.pages() * PAGE;
        let overlaps =
            |s: &Segment| s.first_page() < end_page(&segment) && segment.first_page() < end_page(s);
        if segments.iter().any(overlaps) {
            return Err(ElfError::Overlap(number));
        }
        entry_found |= flags & EXECUTE != 0 && (address..address + bytes).contains(&(entry as u64));
        segments.push(segment);
    }
    if entry_found { Ok(Image { entry, segments }) } else { Err(ElfError::Entry) }
}

fn slice(file: &[u8], at: u64, bytes: u64) -> Option<&[u8]> {
    let end = at.checked_add(bytes)?;
    file.get(usize::try_from(at).ok()?..usize::try_from(end).ok()?)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable with these segments: flags, address, file bytes, memory bytes.
    fn image(entry: u64, segments: &[(u32, u64, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0; HEADER_BYTES + segments.len() * PROGRAM_HEADER_BYTES];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = 62;
        file[24..32].copy_from_slice(&entry.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = segments.len() as u8;
        for (number, (flags, address, data, bytes)) in segments.iter().enumerate() {
            let at = HEADER_BYTES + number * PROGRAM_HEADER_BYTES;
            let offset = file.len() as u64;
            file[at] = 1;
            file[at + 4..at + 8].copy_from_slice(&flags.to_le_bytes());
            for (field, value) in [(8, offset), (16, *address), (32, *data), (40, *bytes)] {
                file[at + field..at + field + 8].copy_from_slice(&value.to_le_bytes());
            }
            file.extend((0..*data).map(|i| i as u8 | 1));
        }
        file
    }
    const CODE: (u32, u64, u64, u64) = (5, 0x401000, 0x1800, 0x1800);
    const DATA: (u32, u64, u64, u64) = (6, 0x403800, 0x100, 0x2000);

    #[test]
    fn segments_and_their_pages() {
        let file = image(0x401010, &[CODE, DATA]);
        let image = parse(&file).unwrap();
        assert_eq!((image.entry, image.pages(), image.tables()), (0x401010, 5, 1));
        let data = image.segments[1];
        assert_eq!((data.first_page(), data.pages(), data.write), (0x403000, 3, true));
        assert_eq!(data.page(0).0, 0x800);
        assert_eq!(data.page(0).1.len(), 0x100);
        assert_eq!(data.page(1), (0, &[][..]));
        let code = image.segments[0];
        assert!(!code.write);
        assert_eq!((code.page(0).1.len(), code.page(1).1.len()), (0x1000, 0x800));
        assert_eq!(code.page(1).1[0], code.data[0x1000]);
    }

    #[test]
    fn bad_images_are_refused() {
        let bad = |entry, segments: &[_]| parse(&image(entry, segments)).unwrap_err();
        assert_eq!(bad(0x400000, &[CODE]), ElfError::Entry);
        assert_eq!(bad(0x403800, &[CODE, DATA]), ElfError::Entry, "data isn't executable");
        assert_eq!(bad(0x401000, &[(7, 0x401000, 1, 1)]), ElfError::Writable(0));
        assert_eq!(bad(0x401000, &[CODE, (6, 0x402fff, 1, 1)]), ElfError::Overlap(1));
        assert_eq!(bad(0x1000, &[(5, 0x1000, 1, 1)]), ElfError::Segment(0));
        assert_eq!(bad(0x401000, &[CODE, (6, 0xfff_ffff, 0, 2)]), ElfError::Segment(1));
        assert_eq!(bad(0x401000, &[CODE, (6, u64::MAX, 0, 2)]), ElfError::Segment(1));
        assert_eq!(bad(0x401000, &[(5, 0x401000, 2, 1)]), ElfError::Segment(0));
        assert_eq!(parse(b"\x7fELF"), Err(ElfError::Short));
        assert_eq!(parse(&[0; 64]), Err(ElfError::NotExecutable));
    }

    #[test]
    fn damage_never_panics() {
        let file = image(0x401010, &[CODE, DATA]);
        for cut in 0..file.len() {
            let _ = parse(&file[..cut]);
        }
        for bit in 0..(HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES) * 8 {
            let mut file = file.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            if let Ok(image) = parse(&file) {
                image
                    .segments
                    .iter()
                    .for_each(|s| (0..s.pages().min(64)).for_each(|n| assert!(s.page(n).1.len() <= PAGE)));
            }
        }
    }
}
