// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the loader hands over: the PVH start information (`hvm_start_info`, version 1).

use crate::cell::IrqCell;
use crate::memory::Region;

/// Most memory map entries that are kept; further ones are dropped.
const MAX_REGIONS: usize = 32;
/// Longest command line in bytes; the rest is dropped.
const MAX_COMMAND_LINE: usize = 2048;

struct Boot {
    start_info: u64,
    rsdp: u64,
    regions: [Region; MAX_REGIONS],
    region_count: usize,
    command_line: [u8; MAX_COMMAND_LINE],
    command_line_length: usize,
}

static BOOT: IrqCell<Boot> = IrqCell::new(Boot {
    start_info: 0,
    rsdp: 0,
    regions: [Region::EMPTY; MAX_REGIONS],
    region_count: 0,
    command_line: [0; MAX_COMMAND_LINE],
    command_line_length: 0,
});

/// Copies everything out of the loader's structures, so that their memory doesn't matter afterwards.
///
/// # Safety
/// `start_info` must be the guest-physical address that a PVH loader passed, and its structures still intact and mapped.
#[cfg(target_os = "none")]
pub(crate) unsafe fn init(start_info: u64) {
    const MAGIC: u32 = 0x336e_c578;
    // SAFETY: offsets of the protocol's fields within the structure that the caller vouches for; volatile, since no Rust value lies there.
    let (word, long) = unsafe {
        (
            |offset: u64| ((start_info + offset) as *const u32).read_volatile(),
            |offset: u64| ((start_info + offset) as *const u64).read_volatile(),
        )
    };
    assert!(word(0) == MAGIC, "not started by a PVH loader");
    BOOT.with(|boot| {
        boot.start_info = start_info;
        boot.rsdp = long(32);
        let text = long(24);
        while text != 0 && boot.command_line_length < MAX_COMMAND_LINE {
            // SAFETY: a string that ends with NUL; each byte before it is the loader's.
            let byte = unsafe { ((text + boot.command_line_length as u64) as *const u8).read_volatile() };
            if byte == 0 {
                break;
            }
            boot.command_line[boot.command_line_length] = byte;
            boot.command_line_length += 1;
        }
        let entries = if word(4) >= 1 { word(48) as usize } else { 0 };
        for (index, region) in boot.regions.iter_mut().take(entries).enumerate() {
            let entry = long(40) + 24 * index as u64;
            // SAFETY: the start information says that this many entries of 24 bytes lie there.
            let read = |offset: u64| unsafe { ((entry + offset) as *const u64).read_volatile() };
            *region = Region { start: read(0), bytes: read(8), usable: read(16) as u32 == 1 };
        }
        boot.region_count = entries.min(MAX_REGIONS);
    });
}

/// The command line (`vm.args`); empty where it isn't UTF-8.
pub fn command_line() -> &'static str {
    BOOT.with(|boot| {
        let text = &raw const boot.command_line[..boot.command_line_length];
        // SAFETY: written by `init` alone, before anybody could ask; never again.
        core::str::from_utf8(unsafe { &*text }).unwrap_or("")
    })
}

/// The memory map, in the loader's order.
pub fn memory_map() -> &'static [Region] {
    BOOT.with(|boot| {
        let regions = &raw const boot.regions[..boot.region_count];
        // SAFETY: as in `command_line`.
        unsafe { &*regions }
    })
}

/// The guest-physical address of the start information.
pub fn start_info() -> u64 {
    BOOT.with(|boot| boot.start_info)
}

/// The guest-physical address of the ACPI root pointer; 0 if there is none.
pub fn rsdp() -> u64 {
    BOOT.with(|boot| boot.rsdp)
}
