// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the BARs of a VM lie, from what all of its registers say. A guest writes them one after the other, in halves, in any order;
//! after each write the places are computed anew, and the difference is what has to be mapped.
use crate::layout;

/// A BAR: what its register says, and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Address in the guest's register.
    pub register: u64,
    /// Bytes.
    pub bytes: u64,
    /// Its device decodes memory.
    pub decoding: bool,
    /// Where it is mapped; `None`: nowhere.
    pub place: Option<u64>,
}

impl Claim {
    /// The register names a place where a BAR may lie.
    fn is_good(&self) -> bool {
        let end = self.register.checked_add(self.bytes);
        self.decoding
            && self.register >= layout::PCI_WINDOW
            && end.is_some_and(|end| end <= layout::PCI_WINDOW_END)
    }

    fn overlaps(&self, place: u64, bytes: u64) -> bool {
        self.place
            .is_some_and(|own| own < place.saturating_add(bytes) && place < own.saturating_add(self.bytes))
    }
}

/// Puts each BAR where it is to lie: those that are where their registers say stay; then the others go to theirs, if nobody with a
/// right to it is there; the rest stay where they were, if that is still free, and else are nowhere until their register is good.
pub fn settle(claims: &mut [Claim]) {
    let is_right = |claim: &Claim| claim.is_good() && claim.place == Some(claim.register);
    for number in 0..claims.len() {
        let claim = claims[number];
        let taken =
            || claims.iter().any(|other| is_right(other) && other.overlaps(claim.register, claim.bytes));
        if claim.is_good() && !is_right(&claim) && !taken() {
            claims[number].place = Some(claim.register);
        }
    }
    for number in 0..claims.len() {
        let claim = claims[number];
        let Some(place) = claim.place.filter(|_| !is_right(&claim)) else { continue };
        // Those without a right don't overlap each other: they lie where they lay.
        if claims.iter().any(|other| is_right(other) && other.overlaps(place, claim.bytes)) {
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
        Claim { register, bytes, decoding: true, place: Some(register) }
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

    /// Any writes of any width: BARs lie in the window and not in each other, and once all registers are good each is where its
    /// register says, whatever came before.
    #[test]
    fn random_writes_end_where_the_registers_say() {
        let mut random = Random(5);
        for _ in 0..500 {
            let mut claims: Vec<Claim> = Vec::new();
            for n in 0..1 + random.next() % 7 {
                claims.push(at(W + n * 0x10_0000, 0x1000 << (random.next() % 5)));
            }
            for _ in 0..200 {
                let number = random.next() as usize % claims.len();
                let claim = &mut claims[number];
                let shift = 8 * (random.next() % 8);
                let near = (W + (random.next() % 16) * 0x4000) & !(claim.bytes - 1);
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
                let mapped: Vec<_> = claims.iter().filter_map(|c| Some((c.place?, c.bytes))).collect();
                for (n, &(place, bytes)) in mapped.iter().enumerate() {
                    assert!(place >= W && place + bytes <= layout::PCI_WINDOW_END);
                    let apart =
                        |&(other, length): &(u64, u64)| other + length <= place || place + bytes <= other;
                    assert!(mapped[n + 1..].iter().all(apart), "{claims:x?}");
                }
                let before = places(&claims);
                settle(&mut claims);
                assert_eq!(before, places(&claims), "nothing more to do");
            }
            let count = claims.len() as u64;
            for n in 0..count {
                let claim = &mut claims[n as usize];
                (claim.register, claim.decoding) = (W + (count - 1 - n) * 0x10_0000, true);
                settle(&mut claims);
            }
            assert!(claims.iter().all(|claim| claim.place == Some(claim.register)), "{claims:x?}");
        }
    }
}
