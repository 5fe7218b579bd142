// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's physical address space as ranges: what the guest reaches without an exit, and what is trapped.
use core::ops::Range;

/// Something that lies in the address space.
#[derive(Clone, Debug)]
pub struct Area<T, P> {
    /// Guest-physical address of its first byte.
    pub start: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What it is.
    pub what: T,
    /// The offsets of its parts that are mapped.
    pub mapped: P,
}

/// A range of one area that is mapped as a whole, or trapped as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<T> {
    /// Guest-physical address of its first byte.
    pub start: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What it is.
    pub what: T,
    /// It is mapped.
    pub mapped: bool,
}

impl<T: Copy, P: Iterator<Item = Range<u64>> + Clone> Area<T, P> {
    /// The piece with the byte at `from`, from there on, or the first behind it.
    fn piece(&self, from: u64) -> Option<Piece<T>> {
        let start = from.saturating_sub(self.start);
        if start >= self.bytes {
            return None;
        }
        let within = |part: &Range<u64>, at| part.contains(&at);
        let mapped = self.mapped.clone().any(|part| within(&part, start));
        let mut end = start;
        if mapped {
            // Parts that follow each other are one.
            while let Some(part) = self.mapped.clone().find(|part| within(part, end)) {
                end = part.end;
            }
        } else {
            let next = self.mapped.clone().map(|part| part.start).filter(|next| *next > start).min();
            end = next.unwrap_or(self.bytes);
        }
        let bytes = end.min(self.bytes) - start;
        Some(Piece { start: self.start + start, bytes, what: self.what, mapped })
    }
}

/// The first piece of any area at `from` or behind it.
pub fn next<T: Copy, P: Iterator<Item = Range<u64>> + Clone>(
    areas: impl Iterator<Item = Area<T, P>>,
    from: u64,
) -> Option<Piece<T>> {
    areas.filter_map(|area| area.piece(from)).min_by_key(|piece| piece.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    type Parts = std::vec::IntoIter<Range<u64>>;

    /// The parts are those that are mapped: first offset, and the one behind the last.
    fn area(start: u64, bytes: u64, what: char, parts: &[(u64, u64)]) -> Area<char, Parts> {
        let mapped: Vec<_> = parts.iter().map(|(first, end)| *first..*end).collect();
        Area { start, bytes, what, mapped: mapped.into_iter() }
    }

    fn all(areas: &[Area<char, Parts>]) -> Vec<(u64, u64, char, bool)> {
        let mut from = 0;
        core::iter::from_fn(|| {
            let piece = next(areas.iter().cloned(), from)?;
            from = piece.start + piece.bytes;
            Some((piece.start, piece.bytes, piece.what, piece.mapped))
        })
        .collect()
    }

    #[test]
    fn pieces_come_in_order_whatever_the_order_of_the_areas() {
        let areas = [
            area(0xe000_0000, 0x10_0000, 'c', &[]),
            area(0xc000_0000, 0x4000, 'b', &[(0, 0x1000), (0x1000, 0x2000), (0x3000, 0x4000)]),
            area(0, 0x400_0000, 'r', &[(0, 0x400_0000)]),
        ];
        assert_eq!(
            all(&areas),
            [
                (0, 0x400_0000, 'r', true),
                (0xc000_0000, 0x2000, 'b', true),
                (0xc000_2000, 0x1000, 'b', false),
                (0xc000_3000, 0x1000, 'b', true),
                (0xe000_0000, 0x10_0000, 'c', false),
            ]
        );
        // From the middle of a piece on it is the rest of it.
        let rest = next(areas.iter().cloned(), 0xc000_1000).unwrap();
        assert_eq!((rest.start, rest.bytes, rest.mapped), (0xc000_1000, 0x1000, true));
    }

    #[test]
    fn neighbours_stay_apart_and_nothing_is_nothing() {
        let areas = [area(0x1000, 0x1000, 'a', &[(0, 0x1000)]), area(0x2000, 0x1000, 'b', &[(0, 0x1000)])];
        assert_eq!(all(&areas), [(0x1000, 0x1000, 'a', true), (0x2000, 0x1000, 'b', true)]);
        assert!(all(&[]).is_empty() && all(&[area(5, 0, 'x', &[])]).is_empty());
    }

    #[test]
    fn parts_in_any_order_and_beyond_the_end_are_cut() {
        let areas = [area(0, 0x3000, 'b', &[(0x2000, 0x8000), (0, 0x1000)])];
        assert_eq!(
            all(&areas),
            [(0, 0x1000, 'b', true), (0x1000, 0x1000, 'b', false), (0x2000, 0x1000, 'b', true)]
        );
    }
}
