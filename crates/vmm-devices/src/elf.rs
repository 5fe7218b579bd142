// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads the guest's image: a static ELF64 with a PVH entry note. The file lies in guest RAM, where the root task put it unread,
//! and its segments are copied to where they belong. It comes from whoever made the guest: nothing in it is believed.
use crate::layout::IMAGE_START;
use crate::memory::GuestMemory;
use core::fmt;

/// Most program headers that are looked at.
const MAX_HEADERS: u16 = 64;
/// Most notes of one segment that are looked at.
const MAX_NOTES: usize = 64;
const HEADER_BYTES: u64 = 64;
const PROGRAM_HEADER_BYTES: u16 = 56;
const MACHINE_X86_64: u16 = 62;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const ENTRY_NOTE: u32 = 18;

/// Why an image can't be booted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// The file's place isn't in RAM.
    Misplaced,
    /// Too short for an ELF header, or its magic is missing.
    NotElf,
    /// Another class, byte order or machine.
    NotX86_64,
    /// Program headers of another size, too many, or outside the file.
    BadHeaders,
    /// The header's number `segment` reaches outside the file, or holds more than it takes in memory.
    BadSegment {
        /// Its number, from 0.
        segment: u16,
    },
    /// The segment would lie outside the RAM that an image may take.
    OutsideMemory {
        /// Its number, from 0.
        segment: u16,
        /// Its physical address.
        address: u64,
        /// Its bytes in memory.
        bytes: u64,
    },
    /// The segment would overwrite the file that is being loaded.
    OverFile {
        /// Its number, from 0.
        segment: u16,
    },
    /// The segments together want more memory than there is: some lie over each other.
    Overlap,
    /// No segment to load.
    Empty,
    /// No PVH entry note.
    NoEntry,
    /// The entry isn't in any segment.
    EntryOutside {
        /// What the note says.
        entry: u64,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Misplaced => f.write_str("the image is larger than the VM's memory: raise vm.memory"),
            Self::NotElf => f.write_str("the image is not an ELF file"),
            Self::NotX86_64 => f.write_str("the image is an ELF file, but not a 64-bit one for x86-64"),
            Self::BadHeaders => f.write_str("the image's ELF program headers are damaged or cut off"),
            Self::BadSegment { segment } => {
                write!(f, "segment {segment} of the image reaches outside the file: it is damaged or cut off")
            }
            Self::OutsideMemory { segment, address, bytes } => write!(
                f,
                "segment {segment} of the image wants {bytes:#x} bytes at {address:#x}, outside 0x100000 and the end of the VM's memory: raise vm.memory or link it elsewhere"
            ),
            Self::OverFile { segment } => {
                write!(
                    f,
                    "segment {segment} of the image would lie over the image file at the top of memory: raise vm.memory"
                )
            }
            Self::Overlap => f.write_str("segments of the image lie over each other"),
            Self::Empty => f.write_str("the image has no segment to load"),
            Self::NoEntry => f.write_str("the image has no PVH entry note (owner Xen, type 18)"),
            Self::EntryOutside { entry } => {
                write!(f, "the image's PVH entry {entry:#x} is in none of its segments")
            }
        }
    }
}

/// Where the file lies in guest RAM.
#[derive(Clone, Copy)]
pub struct Place {
    /// Guest-physical address.
    pub gpa: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Place {
    /// The guest-physical address of `bytes` at `offset` in the file, if they are within it.
    fn at(&self, offset: u64, bytes: u64) -> Option<u64> {
        let end = offset.checked_add(bytes)?;
        (end <= self.bytes).then(|| self.gpa + offset)
    }
}

struct ProgramHeader {
    kind: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}
fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// The file's program headers: where they are and how many.
struct Headers {
    offset: u64,
    count: u16,
}

fn headers(memory: &impl GuestMemory, file: Place) -> Result<Headers, ImageError> {
    if file.gpa.checked_add(file.bytes).is_none_or(|end| end > memory.size()) {
        return Err(ImageError::Misplaced);
    }
    let mut header = [0; HEADER_BYTES as usize];
    file.at(0, HEADER_BYTES).and_then(|gpa| memory.read(gpa, &mut header)).ok_or(ImageError::NotElf)?;
    if header[..4] != *b"\x7fELF" {
        return Err(ImageError::NotElf);
    }
    let (class, order, machine) = (header[4], header[5], half(&header, 18));
    if (class, order, machine) != (2, 1, MACHINE_X86_64) {
        return Err(ImageError::NotX86_64);
    }
    let (offset, bytes, count) = (long(&header, 32), half(&header, 54), half(&header, 56));
    let all = u64::from(count) * u64::from(PROGRAM_HEADER_BYTES);
    if bytes != PROGRAM_HEADER_BYTES || count > MAX_HEADERS || file.at(offset, all).is_none() {
        return Err(ImageError::BadHeaders);
    }
    Ok(Headers { offset, count })
}

fn program_header(
    memory: &impl GuestMemory,
    file: Place,
    headers: &Headers,
    number: u16,
) -> Result<ProgramHeader, ImageError> {
    let mut raw = [0; PROGRAM_HEADER_BYTES as usize];
    let offset = headers.offset + u64::from(number) * u64::from(PROGRAM_HEADER_BYTES);
    file.at(offset, raw.len() as u64)
        .and_then(|gpa| memory.read(gpa, &mut raw))
        .ok_or(ImageError::BadHeaders)?;
    Ok(ProgramHeader {
        kind: word(&raw, 0),
        offset: long(&raw, 8),
        address: long(&raw, 24),
        file_bytes: long(&raw, 32),
        memory_bytes: long(&raw, 40),
    })
}

/// Loads the image that lies at `file` and gives the address to start at.
///
/// # Errors
/// [`ImageError`]; nothing may have been written, or some segments: the guest is not to be started.
pub fn load(memory: &mut impl GuestMemory, file: Place) -> Result<u32, ImageError> {
    let headers = headers(memory, file)?;
    let mut entry = None;
    let mut wanted = 0u64;
    // Everything is judged before anything is written, since writing may change what is read.
    for number in 0..headers.count {
        let header = program_header(memory, file, &headers, number)?;
        match header.kind {
            LOAD => {
                check(memory, file, &header, number)?;
                // Others wait for this VM to start, so nothing is written twice.
                wanted += header.memory_bytes;
                if wanted > memory.size() {
                    return Err(ImageError::Overlap);
                }
            }
            NOTE if entry.is_none() => entry = note(memory, file, &header),
            _ => {}
        }
    }
    let entry = entry.ok_or(ImageError::NoEntry)?;
    let (mut loaded, mut reached) = (false, false);
    for number in 0..headers.count {
        let header = program_header(memory, file, &headers, number)?;
        if header.kind != LOAD || header.memory_bytes == 0 {
            continue;
        }
        let bad = ImageError::BadSegment { segment: number };
        let from = file.at(header.offset, header.file_bytes).ok_or(bad)?;
        memory.copy(from, header.address, header.file_bytes).ok_or(bad)?;
        memory
            .zero(header.address + header.file_bytes, header.memory_bytes - header.file_bytes)
            .ok_or(bad)?;
        loaded = true;
        reached |= entry.checked_sub(header.address).is_some_and(|offset| offset < header.memory_bytes);
    }
    if !loaded {
        return Err(ImageError::Empty);
    }
    match u32::try_from(entry) {
        Ok(entry) if reached => Ok(entry),
        _ => Err(ImageError::EntryOutside { entry }),
    }
}

fn check(
    memory: &impl GuestMemory,
    file: Place,
    header: &ProgramHeader,
    segment: u16,
) -> Result<(), ImageError> {
    if header.memory_bytes == 0 && header.file_bytes == 0 {
        return Ok(());
    }
    if header.file_bytes > header.memory_bytes || file.at(header.offset, header.file_bytes).is_none() {
        return Err(ImageError::BadSegment { segment });
    }
    let (address, bytes) = (header.address, header.memory_bytes);
    let end = address.checked_add(bytes).filter(|&end| address >= IMAGE_START && end <= memory.size());
    let Some(end) = end else { return Err(ImageError::OutsideMemory { segment, address, bytes }) };
    if address < file.gpa + file.bytes && file.gpa < end {
        return Err(ImageError::OverFile { segment });
    }
    Ok(())
}

/// Looks for the PVH entry in a note segment.
fn note(memory: &impl GuestMemory, file: Place, header: &ProgramHeader) -> Option<u64> {
    let end = header.offset.checked_add(header.file_bytes)?;
    let mut at = header.offset;
    for _ in 0..MAX_NOTES {
        if at.checked_add(12)? > end {
            return None;
        }
        let mut raw = [0; 12];
        memory.read(file.at(at, 12)?, &mut raw)?;
        let (name, description) = (u64::from(word(&raw, 0)), u64::from(word(&raw, 4)));
        let name_at = at + 12;
        let description_at = name_at.checked_add(name.next_multiple_of(4))?;
        let next = description_at.checked_add(description.next_multiple_of(4))?;
        if word(&raw, 8) == ENTRY_NOTE && name == 4 && matches!(description, 4 | 8) {
            let mut owner = [0; 4];
            memory.read(file.at(name_at, 4)?, &mut owner)?;
            if &owner == b"Xen\0" {
                let mut value = [0; 8];
                memory.read(file.at(description_at, description)?, &mut value[..description as usize])?;
                return Some(u64::from_le_bytes(value));
            }
        }
        at = next;
    }
    None
}

#[cfg(test)]
mod tests;
