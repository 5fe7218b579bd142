// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which reserved memory (RMRR, VT-d specification 4.1, section 8.4) may be given to a device for its DMA.
//!
//! The table is firmware's word, and firmware errs: memory of this kind must be what the memory map reserves as well, or
//! a device would reach RAM that somebody else has, or another device's registers.

const PAGE: u64 = 4096;
/// Registers of the chipset, of local APICs and the range of messages lie from here to 4 GiB.
const CHIPSET: u64 = 0xfec0_0000;
const FOUR_GIB: u64 = 1 << 32;

/// Why a region can't be given to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It begins or ends within a page.
    Unaligned,
    /// A part of it is RAM by the memory map.
    Ram,
    /// The memory map doesn't reserve all of it, in one entry.
    NotReserved,
    /// It has registers of the chipset, or configuration space.
    Registers,
}

/// An entry of the memory map: first byte, first byte behind, and whether it is RAM that anybody may use.
pub type MapEntry = (u64, u64, bool);

/// Judges the region from the byte `base` to the byte `limit`. `registers`: other places where no such memory can be
/// (first byte, first byte behind).
///
/// # Errors
/// [`Unfit`], in its order.
pub fn fit(
    (base, limit): (u64, u64),
    map: impl Iterator<Item = MapEntry> + Clone,
    registers: impl IntoIterator<Item = (u64, u64)>,
) -> Result<(), Unfit> {
    let Some(end) = limit.checked_add(1) else { return Err(Unfit::Unaligned) };
    if !base.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) || base >= end {
        return Err(Unfit::Unaligned);
    }
    if map.clone().any(|(from, to, ram)| ram && from < end && base < to) {
        return Err(Unfit::Ram);
    }
    if !map.clone().any(|(from, to, ram)| !ram && from <= base && end <= to) {
        return Err(Unfit::NotReserved);
    }
    let mut registers = registers.into_iter().chain([(CHIPSET, FOUR_GIB)]);
    if registers.any(|(from, to)| from < end && base < to) { Err(Unfit::Registers) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A q35's map: low RAM, RAM, what firmware keeps, configuration space, the chipset.
    const MAP: [MapEntry; 5] = [
        (0, 0x9_fc00, true),
        (0x10_0000, 0x3ffd_f000, true),
        (0x3ffd_f000, 0x4000_0000, false),
        (0xb000_0000, 0xc000_0000, false),
        (0xfed1_c000, 0xfed2_0000, false),
    ];

    fn judge(base: u64, limit: u64) -> Result<(), Unfit> {
        fit((base, limit), MAP.into_iter(), [(0xb000_0000, 0xc000_0000)])
    }

    #[test]
    fn what_the_memory_map_reserves_is_fit() {
        assert_eq!(judge(0x3ffe_0000, 0x3ffe_ffff), Ok(()));
        assert_eq!(judge(0x3ffd_f000, 0x3fff_ffff), Ok(()));
    }

    #[test]
    fn anything_else_is_not() {
        assert_eq!(judge(0x3ffe_0000, 0x3ffe_fffe), Err(Unfit::Unaligned));
        assert_eq!(judge(0x3ffe_0800, 0x3ffe_ffff), Err(Unfit::Unaligned));
        assert_eq!(judge(0, u64::MAX), Err(Unfit::Unaligned));
        assert_eq!(judge(0x100_0000, 0x100_ffff), Err(Unfit::Ram));
        assert_eq!(judge(0x3ffd_e000, 0x3ffe_0fff), Err(Unfit::Ram), "it begins in RAM");
        assert_eq!(judge(0x3fff_f000, 0x4000_0fff), Err(Unfit::NotReserved), "it ends in a hole");
        assert_eq!(judge(0x8000_0000, 0x8000_ffff), Err(Unfit::NotReserved), "BARs may lie there");
        assert_eq!(judge(0xb010_0000, 0xb010_0fff), Err(Unfit::Registers), "configuration space");
        assert_eq!(judge(0xfed1_c000, 0xfed1_cfff), Err(Unfit::Registers), "the chipset");
    }
}
