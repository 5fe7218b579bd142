// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest-physical memory as the memory map describes it.

/// A piece of the memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First guest-physical address.
    pub start: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// RAM that the guest may use; otherwise reserved.
    pub usable: bool,
}

const FOUR_GIB: u64 = 4 << 30;

impl Region {
    /// No memory.
    pub const EMPTY: Self = Self { start: 0, bytes: 0, usable: false };

    /// The address after the last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

#[cfg(target_os = "none")]
pub use crate::paging::map_gib;

/// Usable bytes in all.
pub fn usable_bytes(map: &[Region]) -> u64 {
    map.iter().filter(|region| region.usable).map(|region| region.bytes).sum()
}

/// The end of the highest usable region below 4 GiB.
pub fn top_below_4g(map: &[Region]) -> u64 {
    map.iter().filter(|region| region.usable && region.end() <= FOUR_GIB).map(Region::end).max().unwrap_or(0)
}

/// The largest usable range below 4 GiB that lies above `floor`: (start, end).
pub fn largest_above(map: &[Region], floor: u64) -> Option<(u64, u64)> {
    map.iter()
        .filter(|region| region.usable)
        .map(|region| (region.start.max(floor), region.end().min(FOUR_GIB)))
        .filter(|(start, end)| start < end)
        .max_by_key(|(start, end)| end - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [Region; 4] = [
        Region { start: 0, bytes: 0x9fc00, usable: true },
        Region { start: 0xe0000, bytes: 0x20000, usable: false },
        Region { start: 0x10_0000, bytes: 0x3f0_0000, usable: true },
        Region { start: 5 << 30, bytes: 1 << 30, usable: true },
    ];

    #[test]
    fn sums_and_tops() {
        assert_eq!(usable_bytes(&MAP), 0x9fc00 + 0x3f0_0000 + (1 << 30));
        assert_eq!(top_below_4g(&MAP), 64 << 20);
        assert_eq!(top_below_4g(&[]), 0);
    }

    #[test]
    fn heap_lies_above_the_image_and_below_4g() {
        assert_eq!(largest_above(&MAP, 0x20_0000), Some((0x20_0000, 64 << 20)));
        assert_eq!(largest_above(&MAP, 64 << 20), None);
    }
}
