// SPDX-License-Identifier: MIT OR Apache-2.0
//! Firmware's memory map, and where PCI devices' registers may lie.
//!
//! The host bridge's windows stand in AML, which nobody here interprets. Instead: what is neither RAM nor reserved by
//! firmware, above RAM and below the chipset's own registers, or above 4 GiB.

use alloc::vec::Vec;

/// Type of an entry that is RAM.
pub const RAM: u32 = 1;
const FOUR_GIB: u64 = 1 << 32;
/// The I/O APIC, the HPET and other registers of the chipset lie from here to 4 GiB.
const CHIPSET: u64 = 0xfec0_0000;

/// An entry of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Physical address.
    pub base: u64,
    /// First address behind it.
    pub end: u64,
    /// 1 is RAM, everything else is not to be used.
    pub kind: u32,
}

/// Reads the boot information's chunk: bytes used (u32), then packed entries of {u32 20, u64 base, u64 length, u32 type}.
/// What is cut short ends the list.
pub fn parse(chunk: &[u8]) -> Vec<Entry> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let Some((used, entries)) = chunk.split_at_checked(4) else { return Vec::new() };
    let used = (word(used) as usize).min(entries.len());
    entries[..used]
        .chunks_exact(24)
        .map(|entry| {
            let (base, length) = (word(&entry[4..12]), word(&entry[12..20]));
            Entry { base, end: base.saturating_add(length), kind: word(&entry[20..24]) as u32 }
        })
        .filter(|entry| entry.base < entry.end)
        .collect()
}

/// Ranges of physical addresses where BARs may lie, ascending. `physical_bits` is what the processor can address.
pub fn windows(map: &[Entry], physical_bits: u8) -> Vec<(u64, u64)> {
    let ram_end = |limit: u64| {
        map.iter().filter(|e| e.kind == RAM && e.base < limit).map(|e| e.end.min(limit)).max().unwrap_or(0)
    };
    let low = (ram_end(FOUR_GIB), CHIPSET);
    let high = (ram_end(u64::MAX).max(FOUR_GIB), 1 << physical_bits.clamp(32, 46));
    let mut windows = Vec::new();
    for (start, end) in [low, high] {
        let mut reserved: Vec<Entry> =
            map.iter().copied().filter(|e| e.kind != RAM && e.base < end && e.end > start).collect();
        reserved.sort_by_key(|entry| entry.base);
        let mut at = start.next_multiple_of(4096);
        for entry in reserved {
            let stop = entry.base / 4096 * 4096;
            if stop > at {
                windows.push((at, stop));
            }
            at = at.max(entry.end.next_multiple_of(4096));
        }
        if at < end {
            windows.push((at, end));
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(entries: &[(u64, u64, u32)]) -> Vec<u8> {
        let mut bytes = (entries.len() as u32 * 24).to_le_bytes().to_vec();
        for (base, length, kind) in entries {
            bytes.extend(20u32.to_le_bytes());
            bytes.extend(base.to_le_bytes());
            bytes.extend(length.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
        }
        bytes
    }
    fn q35() -> Vec<Entry> {
        parse(&chunk(&[
            (0, 0x9fc00, 1),
            (0x9fc00, 0x400, 2),
            (0xf0000, 0x10000, 2),
            (0x10_0000, 0x3fed_f000, 1),
            (0x3ffd_f000, 0x2_1000, 2),
            (0xb000_0000, 0x1000_0000, 2),
            (0xfed1_c000, 0x4000, 2),
            (0xfffc_0000, 0x4_0000, 2),
            (0xfd_0000_0000, 0x3_0000_0000, 2),
        ]))
    }

    #[test]
    fn q35_has_these_windows() {
        let expected =
            [(0x4000_0000, 0xb000_0000), (0xc000_0000, 0xfec0_0000), (0x1_0000_0000, 0xfd_0000_0000)];
        assert_eq!(windows(&q35(), 40), expected);
    }

    #[test]
    fn ram_above_4_gib_moves_the_high_window() {
        let mut map = q35();
        map.push(Entry { base: FOUR_GIB, end: 0x1_8000_0000, kind: 1 });
        assert!(windows(&map, 40).contains(&(0x1_8000_0000, 0xfd_0000_0000)));
        assert!(windows(&map, 32).iter().all(|w| w.1 <= FOUR_GIB));
    }

    #[test]
    fn chunks_may_be_cut_or_lie() {
        let bytes = chunk(&[(0, 1, 1), (5, 0, 1), (u64::MAX - 1, u64::MAX, 2)]);
        let entries = parse(&bytes);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1].end, u64::MAX);
        assert_eq!(parse(&bytes[..30]).len(), 1);
        assert_eq!(parse(&bytes[..3]), []);
        let mut long = bytes.clone();
        long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(parse(&long).len(), 2);
        windows(&entries, 255);
        windows(&[], 0);
    }
}
