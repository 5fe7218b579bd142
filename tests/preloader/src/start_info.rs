// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start information (`hvm_start_info`, Xen's boot ABI for x86/HVM guests): read, and made anew for the kernel.

use crate::memory::{bytes, copy as copy_memory, read, write};
use crate::plan::Plan;

const MAGIC: u32 = 0x336e_c578;
/// Offsets.
const COMMAND_LINE: u64 = 24;
/// Where the address of the RSDP stands.
pub const RSDP: u64 = 32;
const MAP: u64 = 40;
const MAP_ENTRIES: u64 = 48;
const BYTES: u64 = 56;
const ENTRY_BYTES: u64 = 24;
const MOST_ENTRIES: usize = 64;

const RAM: u32 = 1;
const RESERVED: u32 = 2;

#[repr(C, align(4096))]
struct Room([u8; 4096]);

/// What the kernel is told. Nobody but this program has it.
static mut ROOM: Room = Room([0; 4096]);

unsafe extern "C" {
    static preloader_start: u8;
    static preloader_end: u8;
}

/// The command line that QEMU gave.
pub fn command_line(info: u64) -> &'static str {
    let at: u64 = read(info + COMMAND_LINE);
    if at == 0 {
        return "";
    }
    let length = (0..2048).take_while(|n| read::<u8>(at + n) != 0).count();
    core::str::from_utf8(bytes(at, length)).unwrap_or("")
}

/// Start information for the kernel: the same, with the kernel's command line, and with what this program keeps taken out
/// of RAM. Its address.
pub fn copy(info: u64, plan: &Plan<'_>) -> Result<u64, &'static str> {
    if read::<u32>(info) != MAGIC {
        return Err("this is no PVH loader");
    }
    let new = &raw mut ROOM as u64;
    copy_memory(info, new, BYTES);
    let line = new + 64;
    for (n, byte) in plan.rest.bytes().take(255).chain([0]).enumerate() {
        write(line + n as u64, byte);
    }
    write(new + COMMAND_LINE, line);
    let map = new + 512;
    let mut entries = Map { at: map, count: 0 };
    let old: u64 = read(info + MAP);
    for n in 0..u64::from(read::<u32>(info + MAP_ENTRIES)) {
        let entry = old + n * ENTRY_BYTES;
        let (start, length, kind) = (read::<u64>(entry), read::<u64>(entry + 8), read::<u32>(entry + 16));
        entries.add(start, start + length, kind, &holes(plan))?;
    }
    for (start, end) in holes(plan).into_iter().flatten() {
        entries.push(start, end, RESERVED)?;
    }
    write(new + MAP, map);
    write(new + MAP_ENTRIES, entries.count as u32);
    Ok(new)
}

type Holes = [Option<(u64, u64)>; crate::plan::MOST + 2];

/// What is taken out of RAM: first byte, and first behind.
fn holes(plan: &Plan<'_>) -> Holes {
    let mut holes = Holes::default();
    holes[0] = Some((&raw const preloader_start as u64, &raw const preloader_end as u64));
    holes[1] = plan.canary.map(|canary| (canary, canary + 4096));
    for (hole, reserved) in holes[2..].iter_mut().zip(plan.reserved) {
        *hole = reserved.map(|(base, limit)| (base, limit + 1));
    }
    holes
}

struct Map {
    at: u64,
    count: usize,
}

impl Map {
    /// Adds an entry without the holes.
    fn add(&mut self, start: u64, end: u64, kind: u32, holes: &Holes) -> Result<(), &'static str> {
        let mut start = start;
        loop {
            let next = holes.iter().flatten().filter(|hole| kind == RAM && hole.0 < end && hole.1 > start);
            let Some(hole) = next.min_by_key(|hole| hole.0) else { break };
            if start < hole.0 {
                self.push(start, hole.0, kind)?;
            }
            start = hole.1;
        }
        if start < end { self.push(start, end, kind) } else { Ok(()) }
    }

    fn push(&mut self, start: u64, end: u64, kind: u32) -> Result<(), &'static str> {
        if self.count == MOST_ENTRIES {
            return Err("the memory map is too long");
        }
        let entry = self.at + self.count as u64 * ENTRY_BYTES;
        write(entry, start);
        write(entry + 8, end - start);
        write(entry + 16, kind);
        write(entry + 20, 0u32);
        self.count += 1;
        Ok(())
    }
}
