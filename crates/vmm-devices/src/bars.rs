// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the BARs of a VM lie, from what all of its registers say. A guest writes them one after the other, in halves, in any order;
//! after each write the places are computed anew, and the difference is what has to be mapped.
use crate::layout;

/// Where a BAR can lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// In the PCI window below 4 GiB.
    Memory,
    /// In either window: a 64-bit BAR.
    Wide,
    /// Among the ports.
    Ports,
}

impl Space {
    fn holds(self, first: u64, bytes: u64) -> bool {
        let is_in =
            |start, end| first >= start && first.checked_add(bytes).is_some_and(|behind| behind <= end);
        match self {
            Self::Memory => is_in(layout::PCI_WINDOW, layout::PCI_WINDOW_END),
            Self::Wide => {
                is_in(layout::PCI_WINDOW, layout::PCI_WINDOW_END)
                    || is_in(layout::HIGH_WINDOW, layout::HIGH_WINDOW_END)
            }
            Self::Ports => is_in(layout::PORTS, layout::PORTS_END),
        }
    }

    /// A place in one is another place than the same number in the other.
    fn is_apart_from(self, other: Self) -> bool {
        (self == Self::Ports) != (other == Self::Ports)
    }
}

/// A BAR: what its register says, and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Where it can lie.
    pub space: Space,
    /// Address or port in the guest's register.
    pub register: u64,
    /// Bytes or ports.
    pub bytes: u64,
    /// Its device decodes that space.
    pub decoding: bool,
    /// Where it is mapped; `None`: nowhere.
    pub place: Option<u64>,
}

impl Claim {
    /// The register names a place where a BAR may lie.
    fn is_good(&self) -> bool {
        self.decoding && self.space.holds(self.register, self.bytes)
    }

    /// It lies in the way of `other` at `place`.
    fn overlaps(&self, other: &Self, place: u64) -> bool {
        let is_over =
            |own: u64| own < place.saturating_add(other.bytes) && place < own.saturating_add(self.bytes);
        !self.space.is_apart_from(other.space) && self.place.is_some_and(is_over)
    }
}

/// Puts each BAR where it is to lie: those that are where their registers say stay; then the others go to theirs, if nobody with a
/// right to it is there; the rest stay where they were, if that is still free, and else are nowhere until their register is good.
pub fn settle(claims: &mut [Claim]) {
    let is_right = |claim: &Claim| claim.is_good() && claim.place == Some(claim.register);
    for number in 0..claims.len() {
        let claim = claims[number];
        let taken = || claims.iter().any(|other| is_right(other) && other.overlaps(&claim, claim.register));
        if claim.is_good() && !is_right(&claim) && !taken() {
            claims[number].place = Some(claim.register);
        }
    }
    for number in 0..claims.len() {
        let claim = claims[number];
        let Some(place) = claim.place.filter(|_| !is_right(&claim)) else { continue };
        // Those without a right don't overlap each other: they lie where they lay.
        if claims.iter().any(|other| is_right(other) && other.overlaps(&claim, place)) {
            claims[number].place = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::vec::Vec;

    const W: u64 = layout::PCI_WINDOW;

    fn at(register: u64, bytes: u64) -> Claim {
        Claim { space: Space::Memory, register, bytes, decoding: true, place: Some(register) }
    }

    fn places(claims: &[Claim]) -> Vec<Option<u64>> {
        claims.iter().map(|claim| claim.place).collect()
    }

    #[test]
    fn two_change_places() {
        let mut claims = [at(W, 0x4000), at(W + 0x4000, 0x4000)];
        claims[0].register = W + 0x4000;
        settle(&mut claims);
        assert_eq!(places(&claims), [Some(W), Some(W + 0x4000)], "the other is there by right");
        claims[1].register = W;
        settle(&mut claims);
        settle(&mut claims);
        assert_eq!(places(&claims), [Some(W + 0x4000), Some(W)]);
    }

    #[test]
    fn sizing_moves_nothing_unless_the_place_is_wanted() {
        let mut claims = [at(W, 0x4000), at(W + 0x8000, 0x4000)];
        claims[0].register = 0xffff_c000;
        settle(&mut claims);
        assert_eq!(claims[0].place, Some(W));
        claims[1].register = W;
        settle(&mut claims);
        assert_eq!(places(&claims), [None, Some(W)]);
        claims[0].register = W;
        settle(&mut claims);
        assert_eq!(places(&claims), [None, Some(W)]);
        claims[0].register = W + 0x4000;
        settle(&mut claims);
        assert_eq!(places(&claims), [Some(W + 0x4000), Some(W)]);
    }

    #[test]
    fn nothing_lies_outside_of_the_window() {
        for register in
            [0, 0x10_0000, W - 0x1000, layout::PCI_WINDOW_END - 0x1000, layout::APIC, 1 << 40, !0xfff]
        {
            let mut claims = [at(W, 0x2000)];
            claims[0].register = register;
            settle(&mut claims);
            assert_eq!(claims[0].place, Some(W), "{register:x}");
        }
        let mut claims = [at(W, 0x2000)];
        (claims[0].register, claims[0].decoding) = (W + 0x2000, false);
        settle(&mut claims);
        assert_eq!(claims[0].place, Some(W), "not decoding");
    }

    #[test]
    fn only_wide_ones_lie_above_4_gib() {
        let high = [layout::HIGH_WINDOW, 0x12_3456_0000, layout::HIGH_WINDOW_END - 0x2000];
        let nowhere = [layout::HIGH_WINDOW - 0x1000, layout::HIGH_WINDOW_END - 0x1000, 1 << 52, !0xfff];
        for (space, good) in [(Space::Memory, false), (Space::Wide, true)] {
            for register in high.into_iter().chain(nowhere) {
                let mut claims = [Claim { space, ..at(W, 0x2000) }];
                claims[0].register = register;
                settle(&mut claims);
                let moved = good && high.contains(&register);
                assert_eq!(claims[0].place, Some(if moved { register } else { W }), "{register:x}");
            }
        }
    }

    #[test]
    fn ports_are_another_space() {
        let ports = |register| Claim { space: Space::Ports, ..at(register, 0x100) };
        let mut claims = [ports(0xc000), ports(0xd000), at(W, 0x1000)];
        for register in [0, 0xf00, 0x3f8, 0xff80, 0x1_0000, W] {
            claims[0].register = register;
            settle(&mut claims);
            assert_eq!(claims[0].place, Some(0xc000), "{register:x}");
        }
        (claims[0].register, claims[1].register) = (0xff00, 0xc000);
        settle(&mut claims);
        assert_eq!(places(&claims), [Some(0xff00), Some(0xc000), Some(W)]);
    }

    /// Any writes of any width: BARs lie where BARs may lie and not in each other, and once all registers are good each is where its
    /// register says, whatever came before.
    #[test]
    fn random_writes_end_where_the_registers_say() {
        let mut random = Random(5);
        for _ in 0..500 {
            let mut claims: Vec<Claim> = Vec::new();
            for n in 0..1 + random.next() % 7 {
                claims.push(match random.next() % 4 {
                    1 => Claim { space: Space::Wide, ..at(W + n * 0x10_0000, 0x1000 << (random.next() % 5)) },
                    0 => Claim { space: Space::Ports, ..at(0x1000 + n * 0x100, 4 << (random.next() % 7)) },
                    _ => at(W + n * 0x10_0000, 0x1000 << (random.next() % 5)),
                });
            }
            for _ in 0..200 {
                let number = random.next() as usize % claims.len();
                let claim = &mut claims[number];
                let shift = 8 * (random.next() % 8);
                let near = match claim.space {
                    Space::Ports => 0x1000 + (random.next() % 16) * 0x40,
                    Space::Wide if random.next() & 1 == 0 => (1 << 32) + (random.next() % 16) * 0x4000,
                    _ => W + (random.next() % 16) * 0x4000,
                };
                let near = near & !(claim.bytes - 1);
                match random.next() % 4 {
                    0 => claim.register = near,
                    1 => claim.register = claim.register & !0xffff_ffff | near,
                    2 => {
                        claim.register = (claim.register & !(0xff << shift) | (random.next() & 0xff) << shift)
                            & !(claim.bytes - 1)
                    }
                    _ => claim.decoding = !claim.decoding,
                }
                settle(&mut claims);
                are_apart(&claims);
                let before = places(&claims);
                settle(&mut claims);
                assert_eq!(before, places(&claims), "nothing more to do");
            }
            let count = claims.len() as u64;
            for n in 0..count {
                let claim = &mut claims[n as usize];
                claim.register = match claim.space {
                    Space::Ports => 0x8000 + (count - 1 - n) * 0x100,
                    _ => W + (count - 1 - n) * 0x10_0000,
                };
                claim.decoding = true;
                settle(&mut claims);
            }
            assert!(claims.iter().all(|claim| claim.place == Some(claim.register)), "{claims:x?}");
        }
    }

    fn are_apart(claims: &[Claim]) {
        for (n, claim) in claims.iter().enumerate() {
            let Some(place) = claim.place else { continue };
            let (start, end) = match claim.space {
                Space::Ports => (0x1000, 0x1_0000),
                Space::Wide if place >= 1 << 32 => (1 << 32, 1 << 39),
                _ => (W, layout::PCI_WINDOW_END),
            };
            assert!(place >= start && place + claim.bytes <= end, "{claims:x?}");
            let is_port = |claim: &Claim| claim.space == Space::Ports;
            for other in claims[n + 1..].iter().filter(|other| is_port(other) == is_port(claim)) {
                let Some(there) = other.place else { continue };
                assert!(there + other.bytes <= place || place + claim.bytes <= there, "{claims:x?}");
            }
        }
    }
}
