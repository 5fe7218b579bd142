// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a PVH guest finds at entry: start information, memory map and command line (Xen's `hvm/start_info.h`, version 1).
use crate::layout::{self, tables};
use crate::memory::GuestMemory;

const MAGIC: u32 = 0x336e_c578;
const VERSION: u32 = 1;
const USABLE: u32 = 1;
const RESERVED: u32 = 2;
const MAP_ENTRY_BYTES: u64 = 24;

/// Ranges beside RAM that a memory map has room for.
pub const MAX_RESERVED: usize = 64;

/// Writes start information, memory map and command line; the ACPI root pointer is at [`tables::RSDP`]. `None` if RAM is too small,
/// or `reserved` too long: what the map shows as reserved beyond RAM, first and last byte.
///
/// Of a command line longer than [`layout::MAX_COMMAND_LINE`] the rest is left out.
#[must_use]
pub fn write(memory: &mut impl GuestMemory, command_line: &[u8], reserved: &[(u64, u64)]) -> Option<()> {
    let map = [
        (0, layout::LOW_RAM_END, USABLE),
        (layout::TABLES, layout::IMAGE_START - layout::TABLES, RESERVED),
        (layout::IMAGE_START, memory.size().checked_sub(layout::IMAGE_START)?, USABLE),
    ];
    if reserved.len() > MAX_RESERVED {
        return None;
    }
    let reserved_entries = reserved
        .iter()
        .map(|(first, last)| (*first, last.saturating_sub(*first).saturating_add(1), RESERVED));
    let mut at = tables::MEMORY_MAP;
    for (address, bytes, kind) in map.into_iter().chain(reserved_entries) {
        let mut entry = [0; MAP_ENTRY_BYTES as usize];
        entry[..8].copy_from_slice(&u64::to_le_bytes(address));
        entry[8..16].copy_from_slice(&u64::to_le_bytes(bytes));
        entry[16..20].copy_from_slice(&u32::to_le_bytes(kind));
        memory.write(at, &entry)?;
        at += MAP_ENTRY_BYTES;
    }
    let line = &command_line[..command_line.len().min(layout::MAX_COMMAND_LINE)];
    memory.write(tables::COMMAND_LINE, line)?;
    memory.write(tables::COMMAND_LINE + line.len() as u64, &[0])?;

    let mut info = [0; 56];
    info[..4].copy_from_slice(&MAGIC.to_le_bytes());
    info[4..8].copy_from_slice(&VERSION.to_le_bytes());
    info[24..32].copy_from_slice(&tables::COMMAND_LINE.to_le_bytes());
    info[32..40].copy_from_slice(&tables::RSDP.to_le_bytes());
    info[40..48].copy_from_slice(&tables::MEMORY_MAP.to_le_bytes());
    info[48..52].copy_from_slice(&((map.len() + reserved.len()) as u32).to_le_bytes());
    memory.write(tables::START_INFO, &info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::Ram;

    #[test]
    fn everything_is_where_it_says() {
        let mut ram = Ram::new(2 << 20);
        write(&mut ram, b"ip=10.0.2.15/24", &[(0xfee0_0000, 0xfeef_ffff)]).unwrap();
        let start = tables::START_INFO;
        assert_eq!(ram.read_u32(start), Some(MAGIC));
        assert_eq!(ram.read_u32(start + 48), Some(4));
        let line = ram.read_u64(start + 24).unwrap();
        let mut text = [0; 16];
        ram.read(line, &mut text).unwrap();
        assert_eq!(&text, b"ip=10.0.2.15/24\0");
        let map = ram.read_u64(start + 40).unwrap();
        let entry = |n: u64| {
            (ram.read_u64(map + 24 * n), ram.read_u64(map + 24 * n + 8), ram.read_u32(map + 24 * n + 16))
        };
        assert_eq!(entry(0), (Some(0), Some(0x9_fc00), Some(1)));
        assert_eq!(entry(1), (Some(0xe_0000), Some(0x2_0000), Some(2)));
        assert_eq!(entry(2), (Some(0x10_0000), Some(0x10_0000), Some(1)));
        assert_eq!(entry(3), (Some(0xfee0_0000), Some(0x10_0000), Some(2)));
    }

    #[test]
    fn long_lines_are_cut_and_small_memory_is_refused() {
        let mut ram = Ram::new(2 << 20);
        write(&mut ram, &[b'x'; 5000], &[(1 << 32, 1 << 33); MAX_RESERVED]).unwrap();
        assert_eq!(ram.read_u32(tables::START_INFO), Some(MAGIC));
        assert_eq!(write(&mut ram, b"", &[(0, 0); MAX_RESERVED + 1]), None);
        assert_eq!(ram.0[tables::COMMAND_LINE as usize + layout::MAX_COMMAND_LINE], 0);
        assert!(tables::COMMAND_LINE + (layout::MAX_COMMAND_LINE as u64) < layout::IMAGE_START);
        assert_eq!(write(&mut Ram::new(0x1000), b"", &[]), None);
    }
}
