// SPDX-License-Identifier: MIT OR Apache-2.0
//! Untyped memory in pieces of powers of two, split by halves, so that a piece can be had at an address of its own.
//!
//! An untyped's watermark only moves forward, so objects are never made from a piece that may still be split: a piece
//! is either free, or split into two, or given away whole.

use alloc::vec::Vec;

/// Smallest piece that is split off, log2 of bytes: a page.
pub const SMALLEST: u8 = 12;

/// Untyped memory that nothing was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Physical address, a multiple of its size.
    pub address: u64,
    /// Log2 of its bytes.
    pub bits: u8,
    /// The slot of its capability.
    pub slot: usize,
}

impl Piece {
    /// Its bytes.
    pub const fn bytes(&self) -> u64 {
        1 << self.bits
    }

    /// The first address behind it.
    pub const fn end(&self) -> u64 {
        self.address + self.bytes()
    }

    /// Whether all of `address..end` lies in it.
    pub const fn contains(&self, address: u64, end: u64) -> bool {
        self.address <= address && end <= self.end()
    }
}

/// Makes two halves of an untyped.
pub trait Split {
    /// What goes wrong with it.
    type Error;
    /// Retypes the untyped in `slot` into two of 2^`half_bits` bytes each; their slots, the lower one's first.
    fn split(&mut self, slot: usize, half_bits: u8) -> Result<[usize; 2], Self::Error>;
}

/// The free pieces, in no particular order.
#[derive(Debug, Default)]
pub struct Pieces(Vec<Piece>);

impl Pieces {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: Piece) {
        self.0.push(piece);
    }

    /// The free ones.
    pub fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.0.iter()
    }

    /// Bytes that are free.
    pub fn bytes(&self) -> u64 {
        self.bytes_in(0)
    }

    /// Bytes that are free in pieces of at least 2^`bits` bytes.
    pub fn bytes_in(&self, bits: u8) -> u64 {
        self.0.iter().filter(|piece| piece.bits >= bits).map(Piece::bytes).sum()
    }

    /// Takes pieces of the sizes `wanted`, largest first; where one of a size above 2^`down_to` bytes is missing, two
    /// halves will do. `Ok(None)` if there is not enough, and then nothing is taken.
    pub fn take_all<S: Split>(
        &mut self,
        mut wanted: Vec<u8>,
        down_to: u8,
        by: &mut S,
    ) -> Result<Option<Vec<Piece>>, S::Error> {
        wanted.sort_unstable();
        let mut taken = Vec::new();
        while let Some(bits) = wanted.pop() {
            match self.take(bits, by) {
                Ok(Some(piece)) => taken.push(piece),
                Ok(None) if bits > down_to => wanted.extend([bits - 1; 2]),
                other => {
                    self.0.extend(taken);
                    return other.map(|_| None);
                }
            }
        }
        Ok(Some(taken))
    }

    /// Whether all of `address..end` is free.
    pub fn hold(&self, address: u64, end: u64) -> bool {
        let part = |piece: &Piece| piece.end().min(end).saturating_sub(piece.address.max(address));
        address < end && self.0.iter().map(part).sum::<u64>() == end - address
    }

    /// Takes a piece of 2^`bits` bytes, from the smallest that is large enough, the lowest of these.
    /// `Ok(None)` if there is none.
    pub fn take<S: Split>(&mut self, bits: u8, by: &mut S) -> Result<Option<Piece>, S::Error> {
        let best = (0..self.0.len())
            .filter(|i| self.0[*i].bits >= bits)
            .min_by_key(|i| (self.0[*i].bits, self.0[*i].address));
        let Some(best) = best else { return Ok(None) };
        let address = self.0[best].address;
        self.cut(best, address, bits, by).map(Some)
    }

    /// Takes the piece of 2^`bits` bytes at `address`, a multiple of that. `Ok(None)` if not all of it is free.
    pub fn take_at<S: Split>(
        &mut self,
        address: u64,
        bits: u8,
        by: &mut S,
    ) -> Result<Option<Piece>, S::Error> {
        let end = address.saturating_add(1 << bits);
        match self.0.iter().position(|piece| piece.contains(address, end)) {
            Some(at) => self.cut(at, address, bits, by).map(Some),
            None => Ok(None),
        }
    }

    /// Takes all that lies in `address..end`, cut as coarsely as possible.
    pub fn take_range<S: Split>(
        &mut self,
        address: u64,
        end: u64,
        by: &mut S,
    ) -> Result<Vec<Piece>, S::Error> {
        let mut taken = Vec::new();
        let mut rest = core::mem::take(&mut self.0);
        while let Some(piece) = rest.pop() {
            if piece.address >= address && piece.end() <= end {
                taken.push(piece);
            } else if piece.end() <= address || piece.address >= end || piece.bits <= SMALLEST {
                self.0.push(piece);
            } else {
                match halves(piece, by) {
                    Ok(halves) => rest.extend(halves),
                    Err(error) => {
                        self.0.push(piece);
                        self.0.append(&mut rest);
                        self.0.append(&mut taken);
                        return Err(error);
                    }
                }
            }
        }
        taken.sort_by_key(|piece| piece.address);
        Ok(taken)
    }

    /// Splits piece number `at` until one of 2^`bits` bytes begins at `address`, and takes that.
    fn cut<S: Split>(&mut self, at: usize, address: u64, bits: u8, by: &mut S) -> Result<Piece, S::Error> {
        let mut piece = self.0[at];
        while piece.bits > bits {
            let [low, high] = halves(piece, by)?;
            let (wanted, other) = if address < high.address { (low, high) } else { (high, low) };
            self.0.retain(|free| free.slot != piece.slot);
            self.0.extend([other, wanted]);
            piece = wanted;
        }
        self.0.retain(|free| free.slot != piece.slot);
        Ok(piece)
    }
}

fn halves<S: Split>(piece: Piece, by: &mut S) -> Result<[Piece; 2], S::Error> {
    let bits = piece.bits - 1;
    let [low, high] = by.split(piece.slot, bits)?;
    Ok([
        Piece { address: piece.address, bits, slot: low },
        Piece { address: piece.address + (1 << bits), bits, slot: high },
    ])
}

/// The powers of two that `bytes` is a sum of, largest first, none above 2^`largest`; a multiple of 2^`smallest`.
/// This is how a VM's RAM is made up.
pub fn chunks(bytes: u64, largest: u8, smallest: u8) -> Vec<u8> {
    let mut chunks = Vec::new();
    let mut rest = bytes >> smallest << smallest;
    while rest != 0 {
        let bits = (63 - rest.leading_zeros() as u8).min(largest);
        chunks.push(bits);
        rest -= 1 << bits;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter {
        next: usize,
        left: usize,
    }
    impl Split for Counter {
        type Error = ();
        fn split(&mut self, _: usize, _: u8) -> Result<[usize; 2], ()> {
            self.left = self.left.checked_sub(1).ok_or(())?;
            self.next += 2;
            Ok([self.next - 2, self.next - 1])
        }
    }
    fn by() -> Counter {
        Counter { next: 100, left: 1000 }
    }
    fn pool(pieces: &[(u64, u8)]) -> Pieces {
        let mut pool = Pieces::new();
        for (slot, (address, bits)) in pieces.iter().enumerate() {
            pool.add(Piece { address: *address, bits: *bits, slot });
        }
        pool
    }
    fn assert_disjoint(all: &[Piece]) {
        for (i, a) in all.iter().enumerate() {
            assert_eq!(a.address % a.bytes(), 0);
            for b in &all[i + 1..] {
                assert!(a.end() <= b.address || b.end() <= a.address, "{a:x?} {b:x?}");
                assert_ne!(a.slot, b.slot);
            }
        }
    }

    #[test]
    fn the_smallest_that_fits_is_split() {
        let mut pool = pool(&[(0x10_0000, 20), (0x40_0000, 22), (0x20_0000, 20)]);
        let piece = pool.take(12, &mut by()).unwrap().unwrap();
        assert_eq!((piece.address, piece.bits), (0x10_0000, 12));
        assert_eq!(pool.bytes(), (1 << 22) + (2 << 20) - 4096);
        assert_disjoint(&pool.0);
        assert_eq!(pool.take(23, &mut by()).unwrap(), None);
        assert_eq!(pool.take(22, &mut by()).unwrap().unwrap().slot, 1, "whole pieces aren't split");
    }

    #[test]
    fn a_page_comes_out_at_its_address() {
        let mut pool = pool(&[(0, 47)]);
        let mut by = by();
        let hpet = pool.take_at(0xfed0_0000, 12, &mut by).unwrap().unwrap();
        assert_eq!((hpet.address, hpet.bits), (0xfed0_0000, 12));
        assert_eq!(pool.take_at(0xfed0_0000, 12, &mut by), Ok(None), "it is taken");
        let ecam = pool.take_at(0xb000_0000, 28, &mut by).unwrap().unwrap();
        assert_eq!((ecam.address, ecam.bits), (0xb000_0000, 28));
        assert!(pool.hold(0xc000_0000, 0xfed0_0000) && pool.hold(0xfed0_1000, 0xfed0_2000));
        assert!(!pool.hold(0xafff_f000, 0xb000_0000 + 1) && !pool.hold(0xfecf_f000, 0xfed0_2000));
        assert!(!pool.hold(0x1000, 0x1000) && !pool.hold(1 << 46, (1 << 47) + 1));
        let mut all = pool.0.clone();
        all.extend([hpet, ecam]);
        assert_disjoint(&all);
        assert_eq!(all.iter().map(Piece::bytes).sum::<u64>(), 1 << 47);
    }

    #[test]
    fn a_range_is_cut_coarsely() {
        let mut pool = pool(&[(0, 32)]);
        let taken = pool.take_range(0x4000_3000, 0xb000_0000, &mut by()).unwrap();
        assert_eq!(taken.iter().map(Piece::bytes).sum::<u64>(), 0xb000_0000 - 0x4000_3000);
        assert_eq!(taken.first().unwrap().address, 0x4000_3000);
        assert!(taken.iter().any(|piece| piece.bits == 29));
        let mut all = pool.0.clone();
        all.extend(&taken);
        assert_disjoint(&all);
        assert_eq!(all.iter().map(Piece::bytes).sum::<u64>(), 1 << 32);
        assert!(pool.take_range(0x4000_3000, 0xb000_0000, &mut by()).unwrap().is_empty());
    }

    #[test]
    fn what_is_missing_in_one_piece_comes_in_halves() {
        let sizes = |taken: Option<Vec<Piece>>| {
            let mut bits: Vec<_> = taken.unwrap().iter().map(|piece| piece.bits).collect();
            bits.sort();
            bits
        };
        // 64 MiB, 32 MiB and twice 2 MiB are free.
        let free = [(0, 26), (0x800_0000, 25), (0xc00_0000, 21), (0xc40_0000, 21)];
        assert_eq!(sizes(pool(&free).take_all(chunks(66 << 20, 30, 21), 21, &mut by()).unwrap()), [21, 26]);
        let mut whole = pool(&free);
        let taken = whole.take_all(chunks(100 << 20, 30, 21), 21, &mut by()).unwrap();
        assert_eq!(sizes(taken), [21, 21, 25, 26]);
        assert_eq!(whole.bytes(), 0);
        // 128 MiB aren't there: nothing is gone.
        let mut short = pool(&free);
        assert_eq!(short.take_all(chunks(102 << 20, 30, 21), 21, &mut by()), Ok(None));
        assert_eq!((short.bytes(), short.bytes_in(22)), (100 << 20, 96 << 20));
        assert_disjoint(&short.0);
        // A larger object than any piece can't be cut.
        assert_eq!(pool(&[(0, 16), (0x10_0000, 16)]).take_all([17].to_vec(), 17, &mut by()), Ok(None));
        let mut full = Counter { next: 0, left: 1 };
        assert_eq!(pool(&[(0, 30)]).take_all(chunks(66 << 20, 30, 21), 21, &mut full), Err(()));
    }

    /// VMs of all sizes one after the other, and some of them back: never more than there is, never less.
    #[test]
    fn many_vms_share_a_machine() {
        let mut x = 0x1234_5678_9abc_def1u64;
        for _ in 0..200 {
            let mut pool = pool(&[(0, 20), (0x100_0000, 24), (0x1000_0000, 28), (0x2000_0000, 29)]);
            let large = pool.bytes_in(21);
            let mut by = Counter { next: 100, left: 100_000 };
            let mut vms: Vec<Vec<Piece>> = Vec::new();
            for _ in 0..30 {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                let memory = (x % 128 + 1) << 21;
                let used: u64 = vms.iter().flatten().map(Piece::bytes).sum();
                let taken = pool.take_all(chunks(memory, 30, 21), 21, &mut by).unwrap();
                assert_eq!(taken.is_some(), memory <= large - used, "{} MiB", memory >> 20);
                vms.extend(taken);
                if x & 1 << 40 != 0 && !vms.is_empty() {
                    let back = vms.swap_remove(x as usize % vms.len());
                    back.into_iter().for_each(|piece| pool.add(piece));
                }
                let mut all = pool.0.clone();
                all.extend(vms.iter().flatten());
                assert_disjoint(&all);
            }
        }
    }

    #[test]
    fn without_slots_nothing_is_lost() {
        let mut full = Counter { next: 0, left: 3 };
        let mut pool = pool(&[(0, 32)]);
        assert_eq!(pool.take_range(0x4000_3000, 0xb000_0000, &mut full), Err(()));
        assert_eq!(pool.bytes(), 1 << 32);
        assert_eq!(pool.take_at(0x1000, 12, &mut full), Err(()));
        assert_eq!(pool.bytes(), 1 << 32);
    }

    #[test]
    fn memory_is_a_sum_of_powers_of_two() {
        assert_eq!(chunks(64 << 20, 30, 21), [26]);
        assert_eq!(chunks(70 << 20, 30, 21), [26, 22, 21]);
        assert_eq!(chunks(3 << 30, 30, 21), [30, 30, 30]);
        assert_eq!(chunks(0, 30, 21), []);
    }
}
