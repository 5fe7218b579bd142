// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a remapping unit's registers can't be, whatever the DMAR table says.

use core::fmt;

use crate::RemappingUnit;

/// Most bytes of a unit's registers: a page for itself, one for fault records, and then some.
pub const MAX_UNIT_BYTES: u64 = 64 << 10;

/// Why a unit's registers can't be where the table has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// The processor has no such addresses; it has so many bits.
    Beyond(u8),
    /// There is RAM.
    Ram,
    /// There are another unit's.
    Another(u64),
    /// They would take so many bytes.
    Large(u64),
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beyond(bits) => {
                write!(f, "lies beyond the {bits} address bits of the processor")
            }
            Self::Ram => f.write_str("lies in RAM"),
            Self::Another(base) => write!(f, "lies over that at {base:#x}"),
            Self::Large(bytes) => {
                write!(f, "would have {bytes:#x} bytes of registers, more than {MAX_UNIT_BYTES:#x}")
            }
        }
    }
}

/// What speaks against a unit's place: the processor's `address_bits`, the units `before` it in the table, RAM as the
/// memory map has it (first byte, first byte behind).
pub fn misplaced<'a>(
    unit: &RemappingUnit<'_>,
    address_bits: u8,
    mut before: impl Iterator<Item = RemappingUnit<'a>>,
    mut ram: impl Iterator<Item = (u64, u64)>,
) -> Option<Misplaced> {
    let (start, length) = (unit.base, unit.length);
    if length > MAX_UNIT_BYTES {
        return Some(Misplaced::Large(length));
    }
    // The table's reader takes no address of more than 52 bits.
    let end = start + length;
    if end > 1u64.checked_shl(address_bits.into()).unwrap_or(u64::MAX) {
        return Some(Misplaced::Beyond(address_bits));
    }
    if ram.any(|(from, to)| from < end && start < to) {
        return Some(Misplaced::Ram);
    }
    let other = before.find(|other| other.base < end && start < other.base.saturating_add(other.length));
    other.map(|other| Misplaced::Another(other.base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dmar;
    use crate::fixture::{dmar, drhd};

    const RAM: [(u64, u64); 2] = [(0, 0x9_fc00), (0x10_0000, 0x4000_0000)];

    fn judge(bases: &[u64]) -> Option<Misplaced> {
        let structures: Vec<_> = bases.iter().map(|base| drhd(0, 0, *base, &[])).collect();
        let bytes = dmar(&structures);
        let table = Dmar::parse(&bytes).unwrap();
        let last = table.units().last().unwrap();
        misplaced(&last, 40, table.units().take(bases.len() - 1), RAM.into_iter())
    }

    #[test]
    fn units_lie_outside_of_ram_and_apart() {
        assert_eq!(judge(&[0xfed9_0000]), None);
        assert_eq!(judge(&[0xfed9_0000, 0xfed9_1000]), None);
        assert_eq!(judge(&[0xfed9_0000, 0xfed9_0000]), Some(Misplaced::Another(0xfed9_0000)));
        assert_eq!(judge(&[0x300_0000]), Some(Misplaced::Ram));
        assert_eq!(judge(&[0x9_f000]), Some(Misplaced::Ram), "a page that begins in RAM");
        assert_eq!(judge(&[0x3fff_f000]), Some(Misplaced::Ram));
        assert_eq!(judge(&[0x4000_0000]), None);
    }

    #[test]
    fn units_lie_where_the_processor_reaches() {
        assert_eq!(judge(&[0xff_ffff_f000]), None);
        assert_eq!(judge(&[0x100_0000_0000]), Some(Misplaced::Beyond(40)));
        assert_eq!(judge(&[0xf_ffff_ffff_f000]), Some(Misplaced::Beyond(40)));
    }

    #[test]
    fn units_arent_large() {
        let mut unit = drhd(0, 0, 0xfed8_0000, &[]);
        for (size, misplaced_so) in [(0, None), (4, None), (5, Some(Misplaced::Large(0x2_0000)))] {
            // The size field follows kind, length and flags.
            unit[5] = size;
            let bytes = dmar(&[unit.clone()]);
            let table = Dmar::parse(&bytes).unwrap();
            let only = table.units().next().unwrap();
            assert_eq!(misplaced(&only, 40, core::iter::empty(), RAM.into_iter()), misplaced_so);
        }
    }
}
