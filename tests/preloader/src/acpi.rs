// SPDX-License-Identifier: MIT OR Apache-2.0
//! Puts another DMAR table in the place of firmware's (ACPI 6.5, section 5.2).

use crate::memory::{bytes, copy, read, write};
use crate::start_info;

/// Room for the new table.
pub const ROOM: usize = 4096;

#[repr(C, align(4096))]
struct Table([u8; ROOM]);

static mut DMAR: Table = Table([0; ROOM]);

/// Copies firmware's DMAR table, has `edit` change the copy (it gives the new length), and has the root table name the copy.
pub fn replace_dmar(
    info: u64,
    edit: impl FnOnce(&mut [u8; ROOM]) -> Result<usize, &'static str>,
) -> Result<(), &'static str> {
    let Entry { root, entry, width } = find_dmar(info)?;
    let old = address(entry, width);
    let old_length = read::<u32>(old + 4) as usize;
    if old_length > ROOM {
        return Err("firmware's DMAR table is too long");
    }
    let place = &raw mut DMAR;
    let new = place as u64;
    copy(old, new, old_length as u64);
    // SAFETY: nobody else has the table.
    let Table(table) = unsafe { &mut *place };
    let length = edit(table)?;
    table[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    balance(new, length);
    match width {
        4 => write(entry, new as u32),
        _ => write(entry, new),
    }
    balance(root, read::<u32>(root + 4) as usize);
    Ok(())
}

/// Where the root table names the DMAR table: the root table, the entry, and the entry's bytes.
struct Entry {
    root: u64,
    entry: u64,
    width: usize,
}

fn find_dmar(info: u64) -> Result<Entry, &'static str> {
    let rsdp: u64 = read(info + start_info::RSDP);
    if rsdp == 0 {
        return Err("the loader gives no RSDP");
    }
    let revision: u8 = read(rsdp + 15);
    let root: u64 = match revision {
        0 | 1 => read::<u32>(rsdp + 16).into(),
        _ => read(rsdp + 24),
    };
    let width = if revision < 2 { 4 } else { 8 };
    let length: u32 = read(root + 4);
    let entry = (root + 36..root + u64::from(length)).step_by(width).find(|entry| {
        let table = address(*entry, width);
        read::<[u8; 4]>(table) == *b"DMAR"
    });
    let entry = entry.ok_or("firmware has no DMAR table")?;
    Ok(Entry { root, entry, width })
}

/// The registers of the first remapping unit that the DMAR table names.
pub fn first_unit(info: u64) -> Result<u64, &'static str> {
    let Entry { entry, width, .. } = find_dmar(info)?;
    Ok(read(address(entry, width) + 48 + 8))
}

fn address(entry: u64, width: usize) -> u64 {
    if width == 4 { read::<u32>(entry).into() } else { read(entry) }
}

/// Makes a table's bytes sum up to zero.
fn balance(table: u64, length: usize) {
    write(table + 9, 0u8);
    let sum = bytes(table, length).iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    write(table + 9, sum.wrapping_neg());
}
