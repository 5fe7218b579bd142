// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that firmware reserves for DMA (RMRR), for devices that go on reaching it: which device, in which frames.

use alloc::vec::Vec;

use pci::Location;
use pci::reserved::Policy;
use protocol::pci::{NotMapped, ReservedRegion};

use crate::layout::{LARGE, PAGE};

/// Regions that a device can have mapped.
pub const MAX_MAPPED: usize = 3;
/// Frames of a region.
pub const MAX_FRAMES: u64 = 512;

/// The frames of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Physical address, and IOVA.
    pub base: u64,
    /// Log2 of the bytes of a frame.
    pub size_bits: u8,
    /// How many.
    pub count: usize,
}

impl Extent {
    /// The frames of a region of whole pages; `None` if there are too many.
    pub fn of(region: &ReservedRegion) -> Option<Self> {
        let bytes = region.limit.checked_sub(region.base)?.checked_add(1)?;
        let large = (region.base | bytes).is_multiple_of(LARGE);
        let size_bits = if large { LARGE } else { PAGE as u64 }.ilog2() as u8;
        let count = bytes >> size_bits;
        (count <= MAX_FRAMES).then_some(Self { base: region.base, size_bits, count: count as usize })
    }

    /// The first address behind.
    pub const fn end(&self) -> u64 {
        self.base + ((self.count as u64) << self.size_bits)
    }

    /// The frames' addresses.
    pub fn frames(&self) -> impl Iterator<Item = u64> + use<> {
        let Self { base, size_bits, count } = *self;
        (0..count as u64).map(move |n| base + (n << size_bits))
    }

    /// I/O page tables that lead to them, on a machine whose tables have `levels` levels.
    pub fn tables(&self, levels: u64) -> usize {
        let leaf = u64::from(self.size_bits - 12) / 9 + 1;
        let touched = |level: u64| {
            let span = 12 + 9 * level;
            ((self.end() - 1) >> span) - (self.base >> span) + 1
        };
        (leaf..=levels).map(|level| touched(level) as usize).sum()
    }
}

/// Says of each region why nobody can have it mapped, beyond what is said already.
pub fn judge(regions: &mut [ReservedRegion]) {
    for index in 0..regions.len() {
        let region = &regions[index];
        let overlaps = |other: &ReservedRegion| {
            (other.base, other.limit) != (region.base, region.limit)
                && other.base <= region.limit
                && region.base <= other.limit
        };
        let why = if regions.iter().any(overlaps) {
            Some(NotMapped::Overlaps)
        } else if Extent::of(region).is_none() {
            Some(NotMapped::TooLarge)
        } else {
            None
        };
        let region = &mut regions[index];
        region.unfit = region.unfit.or(why);
    }
}

/// Which regions a device with this place gets mapped, by their indices.
pub fn mapped(regions: &[ReservedRegion], device: &Location, policy: Policy) -> Vec<usize> {
    let Location::Path(path) = device else { return Vec::new() };
    let names = |region: &ReservedRegion| {
        let of = &region.device;
        // A bridge stands for what is behind it.
        (of.segment, of.bus) == (path.segment, path.bus) && path.hops.starts_with(&of.hops)
    };
    let wanted = |(_, region): &(usize, &ReservedRegion)| {
        policy == Policy::Map && region.unfit.is_none() && names(region)
    };
    // One that is named twice, by the bridge and by itself, is mapped once.
    let mut found: Vec<usize> = Vec::new();
    for (index, region) in regions.iter().enumerate().filter(wanted) {
        if !found.iter().any(|other| regions[*other].base == region.base) {
            found.push(index);
        }
    }
    found.truncate(MAX_MAPPED);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(base: u64, limit: u64, device: &str) -> ReservedRegion {
        ReservedRegion { base, limit, device: device.parse().unwrap(), unfit: None }
    }

    fn extent(base: u64, limit: u64) -> Extent {
        Extent::of(&region(base, limit, "/00:04.0")).unwrap()
    }

    #[test]
    fn regions_come_in_few_frames() {
        assert_eq!(extent(0x7000_0000, 0x7000_2fff), Extent { base: 0x7000_0000, size_bits: 12, count: 3 });
        assert_eq!(extent(0x7000_0000, 0x77ff_ffff), Extent { base: 0x7000_0000, size_bits: 21, count: 64 });
        assert_eq!(Extent::of(&region(0x7000_1000, 0x77ff_ffff, "/00:04.0")), None);
        assert_eq!(Extent::of(&region(0, u64::MAX, "/00:04.0")), None);
        let frames: Vec<_> = extent(0x7000_0000, 0x7000_1fff).frames().collect();
        assert_eq!(frames, [0x7000_0000, 0x7000_1000]);
    }

    #[test]
    fn tables_suffice() {
        assert_eq!(extent(0x7000_0000, 0x7000_2fff).tables(3), 3);
        assert_eq!(extent(0x7000_0000, 0x7000_2fff).tables(4), 4);
        assert_eq!(extent(0x7000_0000, 0x77ff_ffff).tables(3), 2);
        // Over the end of a GiB, and of what a table of 4 KiB pages maps.
        assert_eq!(extent(0x7ff_ff000, 0x8000_0fff).tables(3), 5);
        assert_eq!(extent(0x7000_0000, 0x7000_2fff).tables(0), 0);
    }

    #[test]
    fn overlapping_and_large_regions_are_nobodys() {
        let mut regions = [
            region(0x7000_0000, 0x7000_0fff, "/00:04.0"),
            region(0x7000_0000, 0x7000_0fff, "/00:05.0"),
            region(0x7100_0000, 0x7100_1fff, "/00:04.0"),
            region(0x7100_1000, 0x7100_2fff, "/00:04.0"),
            region(0x10_0000_0000, 0x20_0000_0fff, "/00:04.0"),
        ];
        judge(&mut regions);
        let [a, b, c, d, e] = regions.map(|region| region.unfit);
        assert_eq!((a, b), (None, None), "the same region, for two devices");
        assert_eq!((c, d), (Some(NotMapped::Overlaps), Some(NotMapped::Overlaps)));
        assert_eq!(e, Some(NotMapped::TooLarge));
    }

    #[test]
    fn a_device_gets_what_names_it_or_a_bridge_above() {
        let regions = [
            region(0x7000_0000, 0x7000_0fff, "/00:04.0/00.0"),
            region(0x7100_0000, 0x7100_0fff, "/00:04.0"),
            region(0x7200_0000, 0x7200_0fff, "/00:05.0"),
            region(0x7300_0000, 0x7300_0fff, "/01:00.0"),
            region(0x7000_0000, 0x7000_0fff, "/00:04.0"),
        ];
        let ask = |place: &str, policy| mapped(&regions, &place.parse().unwrap(), policy);
        assert_eq!(ask("/00:04.0/00.0", Policy::Map), [0, 1]);
        assert_eq!(ask("/00:04.0/01.0", Policy::Map), [1, 4]);
        assert_eq!(ask("/00:05.0", Policy::Map), [2]);
        assert_eq!(ask("/00:06.0", Policy::Map), []);
        // Nobody knows which path this is.
        assert_eq!(ask("0000:01:00.0", Policy::Map), []);
        for policy in [Policy::Refuse, Policy::Accept] {
            assert_eq!(ask("/00:04.0/00.0", policy), []);
        }
        let many: Vec<_> = (0..9).map(|n| region(n << 24, (n << 24) + 0xfff, "/00:04.0")).collect();
        assert_eq!(mapped(&many, &"/00:04.0".parse().unwrap(), Policy::Map).len(), MAX_MAPPED);
    }
}
