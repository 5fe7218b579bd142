// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capabilities that guests may know of, and of each which bits they read and write. What isn't in these tables is hidden.
//!
//! A guest's writes change its picture only. MSI and MSI-X, whose words depend on the vectors that the guest gets, are
//! [`crate::view`]'s.

use crate::address::Address;
use crate::capability::{Capability, extended_id, find_extended, id};
use crate::config::ConfigSpace;

/// A double word of a capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word {
    /// Offset in the capability, a multiple of 4.
    pub offset: u16,
    /// Bits that are the device's.
    pub read: u32,
    /// Bits that are always one. All others are zero at first.
    pub set: u32,
    /// Bits that the guest can change.
    pub write: u32,
}

impl Word {
    const fn new(offset: u16, read: u32, set: u32, write: u32) -> Self {
        Self { offset, read, set, write }
    }
}

/// A known capability. Its header, the ID and the link, isn't in `words`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Bytes that it takes in the picture. What no word names of them is zero.
    pub length: u16,
    /// Its words.
    pub words: &'static [Word],
    /// A bit that starts a function-level reset: byte offset in the capability, and mask.
    pub reset: Option<(u16, u8)>,
}

/// Power management (PCI Bus Power Management 1.2, section 3.2): version and "device specific initialisation"; neither D1,
/// D2 nor wake-up events. The state is D0 and stays it.
const POWER: Shown =
    Shown { length: 8, words: &[Word::new(0, 0x0027_0000, 0, 0), Word::new(4, 0, 1 << 3, 0)], reset: None };

/// Device Capabilities (PCI Express Base 4.0, section 7.5.3.3): not phantom functions, which would be requester IDs of
/// others, nor what a port says of its slot's power.
const DEVICE_CAPABILITIES: u32 = 0x1000_8fe7;
/// A device with a function-level reset.
const CAN_RESET: u32 = 1 << 28;

/// PCI Express, version 1, up to Root Status: an endpoint of the root complex, without a link.
const EXPRESS_1: &[Word] = &[
    Word::new(0, 0, 9 << 20 | 1 << 16, 0),
    Word::new(4, DEVICE_CAPABILITIES, 0, 0),
    Word::new(8, 0, 0, 0x7fff),
];
/// Version 2, with a second set of registers, which are zero.
const EXPRESS_2: &[Word] = &[
    Word::new(0, 0x000f_0000, 9 << 20, 0),
    Word::new(4, DEVICE_CAPABILITIES, 0, 0),
    Word::new(8, 0, 0, 0x7fff),
];
/// Bytes of version 1, as far as an endpoint has them.
const EXPRESS_1_BYTES: u16 = 0x14;
/// Bytes of version 2.
const EXPRESS_2_BYTES: u16 = 0x3c;

/// Conventional advanced features (PCI-SIG ECN "Advanced Capabilities for Conventional PCI"): the reset, never
/// anything pending.
const ADVANCED_FEATURES: Shown = Shown {
    length: 6,
    words: &[Word::new(0, 0x0300_0000, 6 << 16, 0), Word::new(4, 0, 0, 1)],
    reset: Some((4, 1)),
};
/// Both the bits "transactions pending" and "function-level reset".
const ADVANCED_FEATURES_ALL: u8 = 3;

/// How a capability is shown; `None` if it is hidden, is vendor-specific or an interrupt's.
pub fn known<C: ConfigSpace + ?Sized>(space: &C, at: Address, capability: Capability) -> Option<Shown> {
    let offset = capability.offset;
    match capability.id {
        id::POWER if offset <= 0xf8 => Some(POWER),
        id::EXPRESS if offset <= 0x100 - EXPRESS_1_BYTES => {
            let second = offset <= 0x100 - EXPRESS_2_BYTES && space.read16(at, offset + 2) & 0xf >= 2;
            let reset = (space.read32(at, offset + 4) & CAN_RESET != 0).then_some((9, 0x80));
            Some(match second {
                true => Shown { length: EXPRESS_2_BYTES, words: EXPRESS_2, reset },
                false => Shown { length: EXPRESS_1_BYTES, words: EXPRESS_1, reset },
            })
        }
        id::ADVANCED_FEATURES if offset <= 0xf8 => {
            let whole = space.read8(at, offset + 2) == 6
                && space.read8(at, offset + 3) & ADVANCED_FEATURES_ALL == ADVANCED_FEATURES_ALL;
            whole.then_some(ADVANCED_FEATURES)
        }
        _ => None,
    }
}

/// Kinds of virtio's vendor-specific capabilities that only say where registers lie (Virtio 1.2, section 4.1.4): common,
/// notifications, interrupt status, device, shared memory. Not the door to the BARs (5), nor what another vendor adds (9).
pub const fn says_where(kind: u8) -> bool {
    matches!(kind, 1..=4 | 8)
}

/// Words of extended space that are shown.
pub const EXTENDED_WORDS: usize = 4;

/// Extended space, the words that aren't zero. One capability is known: the serial number, which is read-only. The list
/// begins at 0x100, whatever lies there; if that is hidden a null capability stands in (PCI Express Base 4.0, section 7.9.28).
pub fn extended<C: ConfigSpace + ?Sized>(
    space: &C,
    at: Address,
) -> heapless::Vec<(u16, u32), EXTENDED_WORDS> {
    const HEAD: u16 = 0x100;
    const VERSION_1: u32 = 1 << 16;
    let mut words = heapless::Vec::new();
    let found = find_extended(space, at, extended_id::SERIAL_NUMBER);
    let Some(offset) = found.filter(|offset| (HEAD..=0x1000 - 12).contains(offset)) else { return words };
    // There is room for the four.
    if offset != HEAD {
        let _ = words.push((HEAD, u32::from(offset) << 20));
    }
    let _ = words.push((offset, u32::from(extended_id::SERIAL_NUMBER) | VERSION_1));
    let _ = words.push((offset + 4, space.read32(at, offset + 4)));
    let _ = words.push((offset + 8, space.read32(at, offset + 8)));
    words
}
