// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a server finds again after its death: a value in pages that the root task leaves alone when it starts the server anew.
//!
//! There are two places, written in turn. Of those that are whole the later one counts, so a death while one is written leaves the one before.
//! A digest finds what was cut off or spoilt by accident; whether the value makes sense is for its reader to judge.

use core::sync::atomic::{AtomicU8, Ordering};

use serde::{Serialize, de::DeserializeOwned};

use crate::client;

/// Bytes of a server's pages; whole pages.
pub const fn bytes(client: u64) -> usize {
    match client {
        client::PCI => PCI_VALUE_BYTES * PCI_VALUES,
        client::IOMMU => IOMMU_BYTES,
        _ => 0,
    }
}

/// What iommu-server keeps is one value, with both places.
pub const IOMMU_BYTES: usize = 16 * 1024;
/// Each of pci-server's values, with both places.
pub const PCI_VALUE_BYTES: usize = 4096;
/// What pci-server keeps: a value for each device, and one for what it holds beside them.
pub const PCI_VALUES: usize = crate::pci::MAX_PROMISED + 1;
/// Bytes of the longest value that fits into `bytes` with both places.
pub const fn longest(bytes: usize) -> usize {
    bytes / 2 - HEADER
}
/// Number (0: nothing is there), length, digest of both and of the value.
const HEADER: usize = 24;

/// Both places.
#[derive(Debug)]
pub struct Kept<'a> {
    places: [&'a [AtomicU8]; 2],
    /// Number of the last value.
    number: u64,
}

impl<'a> Kept<'a> {
    /// The places in `bytes`, the halves of it. `None` if they are too small.
    pub fn new(bytes: &'a [AtomicU8]) -> Option<Self> {
        let half = bytes.len() / 2;
        let (first, second) = bytes.split_at(half);
        let places = [first, second.get(..half).filter(|_| half > HEADER)?];
        let number = places.iter().filter_map(|place| whole(place)).map(|(number, _)| number).max();
        Some(Self { places, number: number.unwrap_or(0) })
    }

    /// Whether nothing was ever begun to be written.
    pub fn is_untouched(&self) -> bool {
        self.places.iter().all(|place| place.iter().all(|byte| byte.load(Ordering::Relaxed) == 0))
    }

    /// The last value. `buffer` takes its bytes meanwhile; if it is too short there is none.
    pub fn load<T: DeserializeOwned>(&self, buffer: &mut [u8]) -> Option<T> {
        let found = self.places.iter().filter_map(|place| Some((place, whole(place)?)));
        let (place, (_, length)) = found.max_by_key(|(_, (number, _))| *number)?;
        let buffer = buffer.get_mut(..length)?;
        for (to, from) in buffer.iter_mut().zip(&place[HEADER..]) {
            *to = from.load(Ordering::Relaxed);
        }
        let (value, rest) = postcard::take_from_bytes(buffer).ok()?;
        rest.is_empty().then_some(value)
    }

    /// Writes a value in the place of the one before the last. False if it is too long: then the last one stays.
    pub fn save<T: Serialize>(&mut self, value: &T) -> bool {
        let number = self.number.wrapping_add(1).max(1);
        let place = self.places[(number % 2) as usize];
        put(place, 0, 0);
        let writer = Writer { place, length: 0 };
        let Ok(length) = postcard::serialize_with_flavor(value, writer) else { return false };
        put(place, 8, length as u64);
        put(place, 16, digest(place, number, length));
        put(place, 0, number);
        self.number = number;
        true
    }
}

/// Number and length of the value, if one is there that is whole.
fn whole(place: &[AtomicU8]) -> Option<(u64, usize)> {
    let (number, length) = (get(place, 0), usize::try_from(get(place, 8)).ok()?);
    let there = number != 0 && length <= place.len() - HEADER;
    (there && get(place, 16) == digest(place, number, length)).then_some((number, length))
}

/// FNV-1a, 64 bits.
fn digest(place: &[AtomicU8], number: u64, length: usize) -> u64 {
    let head = number.to_le_bytes().into_iter().chain((length as u64).to_le_bytes());
    let value = place[HEADER..][..length].iter().map(|byte| byte.load(Ordering::Relaxed));
    head.chain(value)
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn get(place: &[AtomicU8], at: usize) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|n| place[at + n].load(Ordering::Acquire)))
}

fn put(place: &[AtomicU8], at: usize, value: u64) {
    for (to, byte) in place[at..].iter().zip(value.to_le_bytes()) {
        to.store(byte, Ordering::Release);
    }
}

/// Where postcard's bytes go.
struct Writer<'a> {
    place: &'a [AtomicU8],
    length: usize,
}

impl postcard::ser_flavors::Flavor for Writer<'_> {
    type Output = usize;
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        let to = self.place.get(HEADER + self.length).ok_or(postcard::Error::SerializeBufferFull)?;
        to.store(byte, Ordering::Relaxed);
        self.length += 1;
        Ok(())
    }
    fn finalize(self) -> postcard::Result<usize> {
        Ok(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = IOMMU_BYTES;
    const PLACE: usize = BYTES / 2;
    type Many = heapless::Vec<u64, 2048>;

    fn many(value: u64, count: usize) -> Many {
        core::iter::repeat_n(value, count).collect()
    }
    fn memory() -> Vec<AtomicU8> {
        (0..BYTES).map(|_| AtomicU8::new(0)).collect()
    }
    fn load(memory: &[AtomicU8]) -> Option<Many> {
        Kept::new(memory).unwrap().load(&mut [0; longest(BYTES)])
    }

    #[test]
    fn the_last_value_is_found_again() {
        let memory = memory();
        assert_eq!(load(&memory), None);
        for n in 1..10u64 {
            // Each life saves once.
            assert!(Kept::new(&memory).unwrap().save(&many(n, n as usize)));
            assert_eq!(load(&memory), Some(many(n, n as usize)));
        }
        assert!(Kept::new(&memory[..2 * HEADER]).is_none());
        assert_eq!(Kept::new(&memory).unwrap().load::<Many>(&mut [0; 8]), None, "a short buffer");
        assert!(!Kept::new(&memory).unwrap().is_untouched());
        assert!(Kept::new(&self::memory()).unwrap().is_untouched());
    }

    #[test]
    fn a_value_that_is_too_long_leaves_the_last() {
        let memory = memory();
        let mut kept = Kept::new(&memory).unwrap();
        assert!(kept.save(&many(7, 3)));
        assert!(!kept.save(&many(u64::MAX, 2000)));
        assert_eq!(load(&memory), Some(many(7, 3)));
        assert!(kept.save(&many(8, 3)));
        assert_eq!(load(&memory), Some(many(8, 3)));
    }

    #[test]
    fn a_death_at_any_byte_leaves_the_value_before_or_the_new_one() {
        let memory = memory();
        let mut kept = Kept::new(&memory).unwrap();
        assert!(kept.save(&many(1, 5)) && kept.save(&many(2, 6)));
        let before: Vec<u8> = memory.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        assert!(kept.save(&many(3, 7)));
        let after: Vec<u8> = memory.iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        let changed: Vec<usize> = (0..BYTES).filter(|at| before[*at] != after[*at]).collect();
        for upto in 0..=changed.len() {
            let cut: Vec<_> = before.iter().map(|byte| AtomicU8::new(*byte)).collect();
            changed[..upto].iter().for_each(|at| cut[*at].store(after[*at], Ordering::Relaxed));
            let found = load(&cut);
            assert!(found == Some(many(2, 6)) || found == Some(many(3, 7)), "{upto}: {found:?}");
        }
    }

    #[test]
    fn what_is_spoilt_is_not_believed() {
        let memory = memory();
        assert!(Kept::new(&memory).unwrap().save(&many(5, 5)));
        for at in 0..HEADER + 6 {
            for place in [0, PLACE] {
                memory[place + at].fetch_xor(0x10, Ordering::Relaxed);
            }
            assert_eq!(load(&memory), None, "byte {at}");
            for place in [0, PLACE] {
                memory[place + at].fetch_xor(0x10, Ordering::Relaxed);
            }
        }
        assert_eq!(load(&memory), Some(many(5, 5)));
    }
}
