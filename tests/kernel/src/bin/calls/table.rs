// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a row of the table says: a message to a capability, and the answer to the word.

use sel4::Error;
use sel4::abi::LookupFailure;

use crate::things::Thing;

/// The answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// Success, with so many words.
    Words(usize),
    /// An error, and its words: so many of them.
    Error(Error, [u64; 5], usize),
}

/// Success without words.
pub const DONE: Gives = Gives::Words(0);
/// `TruncatedMessage`.
pub const TRUNCATED: Gives = error(Error::TruncatedMessage, &[]);
/// `IllegalOperation`.
pub const ILLEGAL: Gives = error(Error::IllegalOperation, &[]);
/// `AlignmentError`.
pub const MISALIGNED: Gives = error(Error::AlignmentError, &[]);
/// `DeleteFirst`.
pub const DELETE_FIRST: Gives = error(Error::DeleteFirst, &[]);
/// `RevokeFirst`.
pub const REVOKE_FIRST: Gives = error(Error::RevokeFirst, &[]);

/// An error with its words.
pub const fn error(error: Error, words: &[u64]) -> Gives {
    let (mut all, mut i) = ([0; 5], 0);
    while i < words.len() {
        all[i] = words[i];
        i += 1;
    }
    Gives::Error(error, all, words.len())
}

/// `RangeError` and the limits.
pub const fn range(min: u64, max: u64) -> Gives {
    error(Error::RangeError, &[min, max])
}

/// `InvalidArgument` and the argument's number.
pub const fn argument(number: u64) -> Gives {
    error(Error::InvalidArgument, &[number])
}

/// `InvalidCapability` and the capability's number, 0 being the invoked one.
pub const fn capability(number: u64) -> Gives {
    error(Error::InvalidCapability, &[number])
}

/// `NotEnoughMemory` and the bytes that are free.
pub const fn memory(bytes: u64) -> Gives {
    error(Error::NotEnoughMemory, &[bytes])
}

/// `FailedLookup` and why; whether of the source.
pub const fn lookup(source: bool, failure: LookupFailure) -> Gives {
    let ([a, b, c, d], length) = failure.words();
    Gives::Error(Error::FailedLookup, [source as u64, a, b, c, d], length + 1)
}

/// `FailedLookup` because no capability is in the slot that was found; whether of the source.
pub const fn missing(source: bool, bits_left: u64) -> Gives {
    lookup(source, LookupFailure::MissingCapability { bits_left })
}

/// `FailedLookup` because a paging structure is missing: the address bits below its entry.
pub const fn level(bits: u64) -> Gives {
    missing(false, bits)
}

/// A message and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What is wrong with it.
    pub what: &'static str,
    /// The method, 0 for that of the group.
    pub label: u64,
    /// The invoked capability.
    pub on: Thing,
    /// Message words.
    pub words: &'static [u64],
    /// Extra capabilities.
    pub caps: &'static [Thing],
    /// The answer.
    pub gives: Gives,
}

/// A row with the group's method.
pub const fn row(
    what: &'static str,
    on: Thing,
    words: &'static [u64],
    caps: &'static [Thing],
    gives: Gives,
) -> Row {
    Row { what, label: 0, on, words, caps, gives }
}

/// The way it is meant.
pub const fn good(on: Thing, words: &'static [u64], caps: &'static [Thing], gives: Gives) -> Row {
    row("as it is meant", on, words, caps, gives)
}

impl Row {
    /// The same with another method.
    pub const fn of(self, label: u64) -> Self {
        Self { label, ..self }
    }
}

/// A slot that a message names by index and depth.
#[derive(Debug, Clone, Copy)]
pub struct SlotArgument {
    /// The extra capability from which the address counts; `None` for the invoked one.
    pub root: Option<usize>,
    /// The word that is the index; the depth is in the next.
    pub index: usize,
    /// The lookup is the source's.
    pub source: bool,
    /// Depth 0 is the root itself.
    pub zero_is_root: bool,
}

/// A destination slot below an extra capability.
pub const fn slot(root: usize, index: usize) -> SlotArgument {
    SlotArgument { root: Some(root), index, source: false, zero_is_root: false }
}

/// An extra capability of which every other kind is wrong.
#[derive(Debug, Clone, Copy)]
pub struct CapArgument {
    /// Which one.
    pub index: usize,
    /// The kinds that may be right (`sel4::abi::object::tag`).
    pub kinds: &'static [u8],
    /// The answer to the others.
    pub gives: Gives,
}

/// An extra capability.
pub const fn cap(index: usize, kinds: &'static [u8], gives: Gives) -> CapArgument {
    CapArgument { index, kinds, gives }
}

/// All rows of one method. Each group is judged in a world of its own, in this order.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The method.
    pub label: u64,
    /// What has to happen before: each a row that succeeds.
    pub before: &'static [Row],
    /// The way it is meant; comes after all misuses, which are variations of it: too short, without a capability, with another kind of one, on another kind.
    pub good: Row,
    /// The answer to a message that is too short.
    pub short: Gives,
    /// Slots that it names.
    pub slots: &'static [SlotArgument],
    /// The extra capabilities.
    pub caps: &'static [CapArgument],
    /// Misuses that are its own, none of which changes anything.
    pub misuses: &'static [Row],
    /// What follows when it was done.
    pub after: &'static [Row],
}

/// A group without anything of its own.
pub const fn group(label: u64, good: Row) -> Group {
    Group { label, before: &[], good, short: TRUNCATED, slots: &[], caps: &[], misuses: &[], after: &[] }
}
