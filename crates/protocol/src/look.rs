// SPDX-License-Identifier: MIT OR Apache-2.0
//! What console-server shows of the inside. It may look; nothing here changes anything.
//!
//! Capabilities and the lives of VMs are the root task's to tell. What others know of their devices and guests is asked by
//! [`ask`]: nobody calls anybody beneath.

use heapless::Vec;
use serde::{Deserialize, Serialize};

pub mod ask;
pub mod device;
pub mod guest;

/// Most runs of one [`Held`].
pub const MAX_HELD: usize = 14;
/// Slots that the root task looks at for one [`Held`] at most: it works above everybody's priority.
pub const MAX_LOOKED_AT: u32 = 64;

/// Asks what the slots of a part from `slot` on hold. Reply: [`Held`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListHeld {
    /// The part, as `client::index` counts; 0 is the root task.
    pub part: u8,
    /// Capability address of the first slot; of the root task the index in its CNode.
    pub slot: u32,
}

/// Capabilities of a part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    /// Those in the slots that were looked at, empty slots left out.
    pub runs: Vec<Run, MAX_HELD>,
    /// Where to go on, if that wasn't all.
    pub next: Option<u32>,
}

/// Capabilities of one kind in slots that follow each other, whose memory and mappings follow each other too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Run {
    /// Capability address of the first.
    pub slot: u32,
    /// How many.
    pub count: u32,
    /// Their kind: `sel4_abi::object::tag`.
    pub tag: u8,
    /// Their rights: write 1, read 2, grant 4, grant reply 8.
    pub rights: u8,
    /// Log2 of the bytes of each (frames, untyped memory), or of the slots (CNodes).
    pub size_bits: u8,
    /// Memory of a device.
    pub device: bool,
    /// Physical address of the first.
    pub address: u64,
    /// Badge, guard, interrupt's number (of the first), ports, domain.
    pub word: u64,
    /// Where the first is mapped.
    pub mapped: Mapped,
}

/// Where a capability is mapped. Of top-level tables and I/O spaces: which space they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mapped {
    /// Nowhere.
    #[default]
    Nowhere,
    /// In the CPU address space of this number, at this address.
    Vspace(u16, u64),
    /// In the nested tables of this number, at this guest-physical address.
    Nested(u16, u64),
    /// In the I/O space of this requester, at this IOVA.
    Io(u16, u64),
}

impl Mapped {
    /// The same `bytes` behind.
    const fn behind(self, bytes: u64) -> Self {
        match self {
            Self::Nowhere => Self::Nowhere,
            Self::Vspace(space, at) => Self::Vspace(space, at.wrapping_add(bytes)),
            Self::Nested(space, at) => Self::Nested(space, at.wrapping_add(bytes)),
            Self::Io(space, at) => Self::Io(space, at.wrapping_add(bytes)),
        }
    }
}

impl Run {
    /// Adds the capability `next` to the run, if it is of the same kind and what it names follows what the run names. `step` is by
    /// how much `address` and mapping of neighbours are apart, and `word_step` by how much their words are; `None`: such
    /// capabilities stand for themselves.
    pub fn join(&mut self, next: &Self, step: Option<(u64, u64)>) -> bool {
        let Some((bytes, words)) = step else { return false };
        let count = u64::from(self.count);
        let behind = Self {
            slot: self.slot.wrapping_add(self.count),
            count: 1,
            address: self.address.wrapping_add(bytes.wrapping_mul(count)),
            word: self.word.wrapping_add(words.wrapping_mul(count)),
            mapped: self.mapped.behind(bytes.wrapping_mul(count)),
            ..*self
        };
        let joins = behind == *next;
        self.count += u32::from(joins);
        joins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fits, full};

    #[test]
    fn largest_encodings_fit_a_message() {
        fits(ListHeld { part: u8::MAX, slot: u32::MAX });
        let run = Run {
            slot: u32::MAX,
            count: u32::MAX,
            tag: u8::MAX,
            rights: u8::MAX,
            size_bits: u8::MAX,
            device: true,
            address: u64::MAX,
            word: u64::MAX,
            mapped: Mapped::Io(u16::MAX, u64::MAX),
        };
        fits(Held { runs: full(run), next: Some(u32::MAX) });
    }

    #[test]
    fn neighbours_join() {
        let first = Run {
            slot: 10,
            count: 1,
            tag: 1,
            rights: 3,
            size_bits: 12,
            address: 0x1000,
            mapped: Mapped::Vspace(3, 0x40_0000),
            ..Run::default()
        };
        let second = Run { slot: 11, address: 0x2000, mapped: Mapped::Vspace(3, 0x40_1000), ..first };
        let page = Some((0x1000, 0));
        let mut run = first;
        assert!(run.join(&second, page));
        assert_eq!(run, Run { count: 2, ..first });
        assert!(!run.join(&second, page), "once");
        let others = [
            Run { slot: 12, ..second },
            Run { rights: 1, ..second },
            Run { address: 0x3000, ..second },
            Run { mapped: Mapped::Vspace(3, 0x40_2000), ..second },
            Run { mapped: Mapped::Vspace(4, 0x40_1000), ..second },
            Run { mapped: Mapped::Nowhere, ..second },
            Run { device: true, ..second },
        ];
        for other in others {
            assert!(!first.clone().join(&other, page), "{other:?}");
        }
        assert!(!first.clone().join(&second, None));
        let handler = Run { slot: 1, count: 1, tag: 16, word: 20, ..Run::default() };
        let next = Run { slot: 2, word: 21, ..handler };
        assert!(handler.clone().join(&next, Some((0, 1))) && !handler.clone().join(&next, Some((0, 0))));
    }
}
