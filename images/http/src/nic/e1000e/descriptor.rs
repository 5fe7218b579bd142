// SPDX-License-Identifier: MIT OR Apache-2.0
//! Legacy descriptors (82574 datasheet, sections 7.1.4 and 7.2.10): an address, and a word whose upper half the card fills in when it is done.

use core::sync::atomic::{AtomicU64, Ordering};

/// Descriptors of a ring.
pub const ENTRIES: usize = 64;

/// The card is done with it: in the same place for both directions.
const DONE: u64 = 1 << 32;

/// A descriptor, shared with the card.
#[repr(C, align(16))]
pub struct Descriptor {
    address: AtomicU64,
    word: AtomicU64,
}

/// A ring of them. The card wants 16 bytes of alignment; a page of its own is kinder.
#[repr(C, align(4096))]
pub struct Descriptors(pub [Descriptor; ENTRIES]);

/// A frame that the card has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of it.
    pub bytes: u16,
    /// It is whole in this one buffer and without an error.
    pub good: bool,
}

impl Descriptor {
    const fn empty() -> Self {
        Self { address: AtomicU64::new(0), word: AtomicU64::new(0) }
    }

    /// Gives a buffer for a frame; the card owns it once the tail is past it.
    pub fn offer(&self, address: u64) {
        self.address.store(address, Ordering::Relaxed);
        self.word.store(0, Ordering::Release);
    }

    /// Gives a frame to send: whole, with the card's checksum, with word when it is done.
    pub fn send(&self, address: u64, bytes: u16) {
        const WHOLE: u64 = 1 << 24;
        const WITH_CHECKSUM: u64 = 1 << 25;
        const TELL: u64 = 1 << 27;
        self.address.store(address, Ordering::Relaxed);
        self.word.store(u64::from(bytes) | WHOLE | WITH_CHECKSUM | TELL, Ordering::Release);
    }

    /// Whether the card is done with it.
    pub fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) & DONE != 0
    }

    /// What was received, if something was.
    pub fn received(&self) -> Option<Received> {
        const LAST: u64 = 1 << 33;
        const ERRORS: u64 = 0xff << 40;
        let word = self.word.load(Ordering::Acquire);
        (word & DONE != 0).then_some(Received { bytes: word as u16, good: word & (LAST | ERRORS) == LAST })
    }
}

impl Descriptors {
    /// Descriptors that say nothing.
    pub const fn empty() -> Self {
        Self([const { Descriptor::empty() }; ENTRIES])
    }
}
