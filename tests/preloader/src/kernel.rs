// SPDX-License-Identifier: MIT OR Apache-2.0
//! Puts the kernel's file where it belongs, as a PVH loader does.

use crate::memory::{copy, fill, read};

const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const ENTRY_NOTE: u32 = 18;

/// Loads the 64-bit ELF file at `file`; its PVH entry.
pub fn load(file: u64) -> Result<u32, &'static str> {
    if file == 0 || read::<[u8; 5]>(file) != *b"\x7fELF\x02" {
        return Err("there is no kernel where the command line says");
    }
    let headers = file + read::<u64>(file + 32);
    let (bytes, count): (u16, u16) = (read(file + 54), read(file + 56));
    let mut entry = None;
    for n in 0..u64::from(count) {
        let header = headers + n * u64::from(bytes);
        let from = file + read::<u64>(header + 8);
        let to: u64 = read(header + 24);
        let (in_file, in_memory): (u64, u64) = (read(header + 32), read(header + 40));
        match read::<u32>(header) {
            LOAD => {
                copy(from, to, in_file);
                fill(to + in_file, 0, (in_memory - in_file) as usize);
            }
            NOTE => entry = entry.or_else(|| note(from, in_file)),
            _ => {}
        }
    }
    entry.ok_or("the kernel has no PVH entry")
}

fn note(start: u64, bytes: u64) -> Option<u32> {
    let mut at = start;
    while at + 12 <= start + bytes {
        let [name, length, kind]: [u32; 3] = read(at);
        let value = at + 12 + u64::from(name.next_multiple_of(4));
        if kind == ENTRY_NOTE && length >= 4 {
            return Some(read(value));
        }
        at = value + u64::from(length.next_multiple_of(4));
    }
    None
}
