// SPDX-License-Identifier: MIT OR Apache-2.0
//! ELF images (64-bit, little-endian, static): what the tool reads of them, and how it appends the bundle.
//! (Tool Interface Standard ELF 1.2 and the System V ABI's 64-bit object format.)

use system_spec::bundle::{LOCATOR_MAGIC, PAGE};

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_LOAD: u32 = 1;
const PT_PHDR: u32 = 6;
const READ_ONLY: u32 = 4;

/// One program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`: 1 execute, 2 write, 4 read.
    pub flags: u32,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Virtual address.
    pub vaddr: u64,
    /// Physical address.
    pub paddr: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// Alignment, bytes.
    pub align: u64,
}

/// An ELF image's bytes and program headers.
#[derive(Clone, Debug)]
pub struct Elf {
    bytes: Vec<u8>,
    segments: Vec<Segment>,
}

impl Elf {
    /// Reads an image's headers.
    ///
    /// # Errors
    /// A sentence, if it is no static 64-bit x86 executable or its headers point outside of it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.len() < HEADER || bytes[..6] != *b"\x7fELF\x02\x01" {
            return Err("this is no 64-bit little-endian ELF file".into());
        }
        let (kind, machine) = (u16_at(&bytes, 16), u16_at(&bytes, 18));
        if kind != 2 || machine != 62 {
            return Err(format!(
                "this ELF file is no static x86-64 executable (type {kind}, machine {machine})"
            ));
        }
        let (offset, count) = (u64_at(&bytes, 32), usize::from(u16_at(&bytes, 56)));
        let size = usize::from(u16_at(&bytes, 54));
        if count > 0 && size != PROGRAM_HEADER {
            return Err(format!("the program headers have {size} bytes each"));
        }
        let mut segments = Vec::new();
        for index in 0..count {
            let start =
                usize::try_from(offset).ok().and_then(|offset| offset.checked_add(index * PROGRAM_HEADER));
            let header = start.and_then(|start| bytes.get(start..start.checked_add(PROGRAM_HEADER)?));
            let segment = Segment::read(header.ok_or("the program headers lie outside the file")?);
            let end = segment.offset.checked_add(segment.file_size);
            if end.is_none_or(|end| end > bytes.len() as u64) {
                return Err(format!("segment {index} lies outside the file"));
            }
            segments.push(segment);
        }
        Ok(Self { bytes, segments })
    }

    /// The file's bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Virtual address of the first instruction.
    #[must_use]
    pub fn entry(&self) -> u64 {
        u64_at(&self.bytes, 24)
    }

    /// All segments that are loaded.
    pub fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// Bytes in memory of all loaded segments.
    #[must_use]
    pub fn memory_size(&self) -> u64 {
        self.loads().map(|segment| segment.memory_size).sum()
    }

    /// Drops everything that no program header covers: sections, symbols, debug information.
    pub fn shrink(&mut self) {
        let table = u64_at(&self.bytes, 32) + (self.segments.len() * PROGRAM_HEADER) as u64;
        let ends = self.segments.iter().map(|segment| segment.offset + segment.file_size);
        let end = ends.max().unwrap_or(0).max(table).max(HEADER as u64);
        self.bytes.truncate(end as usize);
        // e_shoff, and e_shentsize, e_shnum, e_shstrndx: no section headers.
        self.bytes[40..48].fill(0);
        self.bytes[58..64].fill(0);
    }

    /// Appends `data` as a read-only segment on the page after the last loaded one and patches the locator.
    /// Gives the segment's virtual address.
    ///
    /// # Errors
    /// A sentence, if the image has no loaded segment or not exactly one locator in the file bytes of one.
    pub fn append(&mut self, data: &[u8]) -> Result<u64, String> {
        self.shrink();
        let page = PAGE as u64;
        let end = self.loads().map(|segment| segment.vaddr + segment.memory_size).max();
        let vaddr = end.ok_or("the root task's image has no loaded segment")?.next_multiple_of(page);
        self.patch_locator(vaddr, data.len() as u64)?;

        let offset = self.bytes.len().next_multiple_of(PAGE);
        self.bytes.resize(offset, 0);
        self.bytes.extend_from_slice(data);
        let size = data.len() as u64;
        let segment = Segment {
            kind: PT_LOAD,
            flags: READ_ONLY,
            offset: offset as u64,
            vaddr,
            paddr: vaddr,
            file_size: size,
            memory_size: size,
            align: page,
        };
        // Loaded segments stand in the order of their addresses, so the new one comes after the last of them. The
        // table grows, so it moves to the end of the file, where nothing is in its way.
        self.segments.retain(|segment| segment.kind != PT_PHDR);
        let last = self.segments.iter().rposition(|segment| segment.kind == PT_LOAD).map_or(0, |at| at + 1);
        self.segments.insert(last, segment);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let table = self.bytes.len() as u64;
        for segment in &self.segments {
            segment.write(&mut self.bytes);
        }
        self.bytes[32..40].copy_from_slice(&table.to_le_bytes());
        self.bytes[54..56].copy_from_slice(&(PROGRAM_HEADER as u16).to_le_bytes());
        self.bytes[56..58].copy_from_slice(&(self.segments.len() as u16).to_le_bytes());
        Ok(vaddr)
    }

    fn patch_locator(&mut self, vaddr: u64, length: u64) -> Result<(), String> {
        let mut found = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.kind == PT_LOAD) {
            let (start, size) = (segment.offset as usize, segment.file_size as usize);
            let chunks = self.bytes[start..start + size].windows(LOCATOR_MAGIC.len() + 16).enumerate();
            let hits = chunks.filter(|(_, window)| window[..LOCATOR_MAGIC.len()] == LOCATOR_MAGIC);
            found.extend(hits.map(|(at, _)| start + at).filter(|at| {
                let address = segment.vaddr + (*at as u64 - segment.offset);
                address.is_multiple_of(16)
            }));
        }
        found.dedup();
        let [at] = found[..] else {
            return Err(format!("the root task's image has {} bundle locators instead of one", found.len()));
        };
        let at = at + LOCATOR_MAGIC.len();
        self.bytes[at..at + 8].copy_from_slice(&vaddr.to_le_bytes());
        self.bytes[at + 8..at + 16].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

impl Segment {
    fn read(bytes: &[u8]) -> Self {
        Self {
            kind: u32_at(bytes, 0),
            flags: u32_at(bytes, 4),
            offset: u64_at(bytes, 8),
            vaddr: u64_at(bytes, 16),
            paddr: u64_at(bytes, 24),
            file_size: u64_at(bytes, 32),
            memory_size: u64_at(bytes, 40),
            align: u64_at(bytes, 48),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.kind.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        let words = [self.offset, self.vaddr, self.paddr, self.file_size, self.memory_size, self.align]
            .map(u64::to_le_bytes);
        out.extend_from_slice(words.as_flattened());
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An executable with one segment of 0x2345 bytes in memory at 0x400000, a locator in it, and a trailing section.
    fn sample(locators: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16] = 2;
        bytes[18] = 62;
        bytes[32] = HEADER as u8;
        bytes[54] = PROGRAM_HEADER as u8;
        bytes[56] = 1;
        bytes[40..48].copy_from_slice(&0x300_u64.to_le_bytes());
        bytes[60] = 3;
        let file_size = 0x200;
        let segment = Segment {
            kind: PT_LOAD,
            flags: 6,
            offset: 0,
            vaddr: 0x40_0000,
            paddr: 0x40_0000,
            file_size,
            memory_size: 0x2345,
            align: 4096,
        };
        segment.write(&mut bytes);
        bytes.resize(0x100, 0);
        for _ in 0..locators {
            bytes.extend_from_slice(&LOCATOR_MAGIC);
            bytes.extend_from_slice(&[0; 16]);
        }
        bytes.resize(file_size as usize, 0);
        bytes.extend_from_slice(b"symbols that nobody loads");
        bytes
    }

    #[test]
    fn the_bundle_follows_on_the_next_page() {
        let mut elf = Elf::parse(sample(1)).unwrap();
        let data = vec![7; 8192];
        assert_eq!(elf.append(&data).unwrap(), 0x40_3000);
        let bytes = elf.into_bytes();
        assert!(!bytes.windows(7).any(|window| window == b"symbols"));
        let again = Elf::parse(bytes.clone()).unwrap();
        let loads: Vec<_> = again.loads().collect();
        assert_eq!(loads.len(), 2);
        assert_eq!((loads[1].vaddr, loads[1].memory_size, loads[1].flags), (0x40_3000, 8192, READ_ONLY));
        assert_eq!(loads[1].offset % 4096, loads[1].vaddr % 4096);
        assert_eq!(&bytes[loads[1].offset as usize..][..8192], data);
        assert_eq!(u64_at(&bytes, 0x110), 0x40_3000);
        assert_eq!(u64_at(&bytes, 0x118), 8192);
        assert_eq!(u64_at(&bytes, 40), 0, "no section headers remain");
    }

    #[test]
    fn no_or_two_locators_are_refused() {
        for count in [0, 2] {
            let error = Elf::parse(sample(count)).unwrap().append(&[0; 4096]).unwrap_err();
            assert!(error.contains(&format!("{count} bundle locators")), "{error}");
        }
    }

    #[test]
    fn what_is_no_executable_is_refused() {
        assert!(Elf::parse(Vec::new()).is_err());
        assert!(Elf::parse(b"#!/bin/sh\n".repeat(20)).is_err());
        let mut relocatable = sample(1);
        relocatable[16] = 1;
        assert!(Elf::parse(relocatable).is_err());
        let mut outside = sample(1);
        outside[32 + 7] = 0xff;
        assert!(Elf::parse(outside).is_err());
        let mut too_long = sample(1);
        too_long[HEADER + 32 + 6] = 0xff;
        assert!(Elf::parse(too_long).is_err());
    }
}
