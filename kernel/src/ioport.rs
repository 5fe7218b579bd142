// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which I/O ports have been issued.

/// A bit per port.
pub struct PortTable {
    issued: [u64; 1024],
}

impl PortTable {
    /// Nothing issued.
    pub const fn new() -> Self {
        Self { issued: [0; 1024] }
    }
    /// Issues `first..=last`, which [are free](PortTable::is_free).
    pub fn issue(&mut self, first: u16, last: u16) {
        debug_assert!(self.is_free(first, last));
        self.set(first, last, true);
    }
    /// True when none of the ports is issued.
    pub fn is_free(&self, first: u16, last: u16) -> bool {
        let r = Words::of(first, last);
        self.issued[r.first] & r.of_first == 0
            && self.issued[r.last] & r.of_last == 0
            && self.issued[r.between()].iter().all(|word| *word == 0)
    }
    /// Takes ports back.
    pub fn free(&mut self, first: u16, last: u16) {
        self.set(first, last, false);
    }

    fn set(&mut self, first: u16, last: u16, issued: bool) {
        let r = Words::of(first, last);
        for (word, bits) in [(r.first, r.of_first), (r.last, r.of_last)] {
            if issued {
                self.issued[word] |= bits;
            } else {
                self.issued[word] &= !bits;
            }
        }
        self.issued[r.between()].fill(if issued { u64::MAX } else { 0 });
    }
}

/// Words that hold the bits of a range: not one bit at a time, since a range may be all of them.
struct Words {
    first: usize,
    of_first: u64,
    last: usize,
    of_last: u64,
}

impl Words {
    /// The words of bits `first..=last`.
    fn of(first: u16, last: u16) -> Self {
        let (above, below) = (u64::MAX << (first % 64), u64::MAX >> (63 - last % 64));
        let (first, last) = (usize::from(first / 64), usize::from(last / 64));
        let both = above & below;
        let (of_first, of_last) = if first == last { (both, both) } else { (above, below) };
        Self { first, of_first, last, of_last }
    }
    /// Those of which all bits are meant.
    fn between(&self) -> core::ops::Range<usize> {
        self.first + 1..self.last.max(self.first + 1)
    }
}

impl Default for PortTable {
    fn default() -> Self {
        Self::new()
    }
}

/// Most I/O permission maps that are attached to VCPUs at a time.
const MAPS: usize = 64;
/// Bits of an identifier that are the place in the table; the others count how often the place was used.
const PLACE_BITS: u32 = MAPS.trailing_zeros();

/// The attached I/O permission maps. A port capability names the map in which it opened ports by an identifier that is not used
/// again, so it can outlive the map.
pub struct MapTable {
    /// Physical address, 0 for a free place; the place's last identifier.
    places: [(u64, u32); MAPS],
}

impl MapTable {
    /// Nothing attached.
    pub const fn new() -> Self {
        Self { places: [(0, 0); MAPS] }
    }
    /// Enters the map at `paddr`: its identifier, never 0; `None` if there are too many.
    pub fn enter(&mut self, paddr: u64) -> Option<u32> {
        let n = self.places.iter().position(|p| p.0 == 0)?;
        let uses = (self.places[n].1 >> PLACE_BITS) + 1;
        // After all identifiers of a place it begins anew, with 1: a forgotten capability could then close ports, never open them.
        let uses = if uses >> (u32::BITS - PLACE_BITS) == 0 { uses } else { 1 };
        let id = uses << PLACE_BITS | n as u32;
        self.places[n] = (paddr, id);
        Some(id)
    }
    /// The map with identifier `id`, if it is attached still.
    pub fn find(&self, id: u32) -> Option<u64> {
        let (paddr, current) = self.places[id as usize % MAPS];
        (paddr != 0 && current == id).then_some(paddr)
    }
    /// Takes the map out.
    pub fn leave(&mut self, id: u32) {
        if self.find(id).is_some() {
            self.places[id as usize % MAPS].0 = 0;
        }
    }
}

impl Default for MapTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{MAPS, MapTable, PortTable};

    #[test]
    fn a_range_is_issued_once_and_whole_or_not_at_all() {
        let mut t = PortTable::new();
        t.issue(0x3f8, 0x3ff);
        assert!(!t.is_free(0x3f0, 0x3f8));
        t.issue(0x3f0, 0x3f7);
        t.free(0x3f8, 0x3ff);
        t.issue(0x3f8, 0x3f8);
        t.issue(0xffff, 0xffff);
        assert!(t.is_free(0x3f9, 0xfffe));
    }

    #[test]
    fn ranges_of_any_length_hold_their_ports_and_no_others() {
        let edges = [0, 1, 63, 64, 65, 127, 128, 700, 1023, 1024, 0xffbf, 0xffc0, 0xfffe, 0xffff];
        for first in edges {
            for last in edges.into_iter().filter(|last| *last >= first) {
                let mut t = PortTable::new();
                t.issue(first, last);
                for port in edges {
                    assert_eq!(
                        !t.is_free(port, port),
                        (first..=last).contains(&port),
                        "{first}..={last}: {port}"
                    );
                }
                let around =
                    [(0, first.wrapping_sub(1), first > 0), (last.saturating_add(1), 0xffff, last < 0xffff)];
                for (a, b, is) in around {
                    assert!(!is || t.is_free(a, b), "{first}..={last}: not {a}..={b}");
                }
                t.free(first, last);
                assert!(t.is_free(0, 0xffff));
            }
        }
    }

    #[test]
    fn identifiers_of_maps_outlive_them() {
        let mut t = MapTable::new();
        let first = t.enter(0x4000).unwrap();
        assert_ne!(first, 0);
        assert_eq!(t.find(first), Some(0x4000));
        t.leave(first);
        assert_eq!(t.find(first), None);
        let second = t.enter(0x8000).unwrap();
        assert_ne!(first, second);
        t.leave(first);
        assert_eq!(t.find(second), Some(0x8000), "an old identifier takes nothing out");
        assert_eq!(t.find(0), None);
        for n in 1..MAPS {
            assert!(t.enter(n as u64 * 0x4000).is_some());
        }
        assert_eq!(t.enter(0x4000), None);
    }

    #[test]
    fn identifiers_never_become_0() {
        let mut t = MapTable::new();
        t.places[0].1 = u32::MAX - (MAPS as u32 - 1);
        let id = t.enter(0x4000).unwrap();
        assert_eq!(id, MAPS as u32);
    }
}
