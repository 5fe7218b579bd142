// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose line is next: the rings in turn, a line each.

use protocol::config::RingOwner;
use protocol::ring::Ring;

use crate::text::{PIECE, Text};

/// Most rings.
pub const MAX: usize = protocol::client::MAX_CLIENTS;

/// All rings, and what is known of them.
pub struct Collector<'a> {
    rings: &'a [Ring],
    owners: &'a [RingOwner],
    /// Rings that may have lines, by their place.
    pending: u64,
    /// Whose turn it is.
    turn: usize,
}

/// What [`Collector::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Every ring is empty.
    Nothing,
    /// A line is in the text.
    Line,
    /// The notice that lines were lost is in the text; the owner with this client index can go on.
    Lost(u8),
}

impl<'a> Collector<'a> {
    /// Over `rings`, which belong to `owners`, in the same order. All may have lines.
    pub fn new(rings: &'a [Ring], owners: &'a [RingOwner]) -> Self {
        let count = rings.len().min(owners.len()).min(MAX);
        let rings = &rings[..count];
        Self { rings, owners, pending: (1u64 << count) - 1, turn: 0 }
    }

    /// Those whose bit (client index) is set in `bits` have written lines.
    pub fn signalled(&mut self, bits: u64) {
        for (place, owner) in self.owners.iter().enumerate().take(self.rings.len()) {
            if bits & 1 << (owner.index & 63) != 0 {
                self.pending |= 1 << place;
            }
        }
    }

    /// Takes the next line into `text`. Every ring that has one gets its turn before any gets its second.
    pub fn next(&mut self, text: &mut Text) -> Next {
        let mut piece = [0; PIECE];
        while self.pending != 0 {
            let place = self.turn();
            let (ring, owner) = (&self.rings[place], &self.owners[place]);
            if let Some(length) = ring.take(&mut piece) {
                text.set(&owner.name, &piece[..length]);
                return Next::Line;
            }
            self.pending &= !(1 << place);
            let new = ring.take_lost();
            if new != 0 {
                text.set_lost(&owner.name, new);
                return Next::Lost(owner.index);
            }
        }
        Next::Nothing
    }

    /// The next pending ring from the one on whose turn it is; the turn passes on.
    fn turn(&mut self) -> usize {
        let count = self.rings.len();
        let place = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|place| self.pending & 1 << place != 0)
            .unwrap_or(0);
        self.turn = (place + 1) % count;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners() -> Vec<RingOwner> {
        [("root-task", 0, false), ("web", 8, true), ("hello", 9, true)]
            .map(|(name, index, is_vm)| RingOwner { index, name: name.try_into().unwrap(), is_vm })
            .to_vec()
    }
    fn rings() -> Vec<Ring> {
        (0..3).map(|_| Ring::new()).collect()
    }
    fn put(ring: &Ring, text: &str) -> bool {
        let mut line = ring.line();
        line.push(text.as_bytes());
        line.finish()
    }
    fn all(collector: &mut Collector) -> Vec<String> {
        let mut text = Text::new();
        let mut lines = Vec::new();
        while collector.next(&mut text) != Next::Nothing {
            lines.push(String::from_utf8(text.bytes().to_vec()).unwrap().trim_end().to_string());
        }
        lines
    }

    #[test]
    fn the_rings_take_turns() {
        let (rings, owners) = (rings(), owners());
        for _ in 0..3 {
            put(&rings[1], "w");
        }
        put(&rings[2], "h");
        put(&rings[0], "r");
        let mut collector = Collector::new(&rings, &owners);
        let lines = all(&mut collector);
        assert_eq!(lines, ["[root-task] r", "[web] w", "[hello] h", "[web] w", "[web] w"]);
    }

    #[test]
    fn only_who_signalled_is_looked_at() {
        let (rings, owners) = (rings(), owners());
        let mut collector = Collector::new(&rings, &owners);
        assert!(all(&mut collector).is_empty());
        put(&rings[1], "w");
        assert!(all(&mut collector).is_empty());
        collector.signalled(1 << 9);
        assert!(all(&mut collector).is_empty());
        collector.signalled(1 << 8);
        assert_eq!(all(&mut collector), ["[web] w"]);
    }

    #[test]
    fn losses_are_told_once_when_the_ring_is_empty() {
        let (rings, owners) = (rings(), owners());
        while put(&rings[2], "0123456789012345678901234567890123456789") {}
        put(&rings[2], "0123456789012345678901234567890123456789");
        let mut collector = Collector::new(&rings, &owners);
        let lines = all(&mut collector);
        assert_eq!(lines.last().unwrap(), "[hello] (2 lines lost: the log ring was full)");
        collector.signalled(u64::MAX);
        assert!(all(&mut collector).is_empty());
    }

    #[test]
    fn whoever_starts_anew_repeats_nothing() {
        let (rings, owners) = (rings(), owners());
        while put(&rings[1], "0123456789012345678901234567890123456789") {}
        let mut first = Collector::new(&rings, &owners);
        let mut text = Text::new();
        assert_eq!(first.next(&mut text), Next::Line);
        let rest = all(&mut Collector::new(&rings, &owners));
        assert_eq!(rest.last().unwrap(), "[web] (1 lines lost: the log ring was full)");
        assert!(all(&mut Collector::new(&rings, &owners)).is_empty());
    }

    #[test]
    fn no_rings_no_lines() {
        let mut collector = Collector::new(&[], &[]);
        collector.signalled(u64::MAX);
        assert!(all(&mut collector).is_empty());
    }
}
