// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of invocations.

use sel4_abi::LookupFailure;

use crate::{IpcBuffer, MessageInfo, Word};

pub use sel4_abi::Error;

/// Result of an invocation.
///
/// Behind an error, the reply's words (limits, lookup failure, free bytes) are message words 0 to 4 of the IPC buffer.
pub type Result<T> = core::result::Result<T, Error>;

/// The error that a reply's label means; `Ok` for 0.
///
/// A label that is no error's counts as `IllegalOperation`: the capability was an endpoint's, and someone else answered.
#[inline(always)]
pub(crate) fn check(info: MessageInfo) -> Result<()> {
    if info.label() == 0 { Ok(()) } else { Err(from_label(info.label())) }
}

#[cold]
fn from_label(label: Word) -> Error {
    Error::from_code(label).unwrap_or(Error::IllegalOperation)
}

/// Where a lookup failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedLookup {
    /// The address of the source did not resolve; otherwise that of the destination or the root.
    pub source: bool,
    /// Why.
    pub failure: LookupFailure,
}

impl FailedLookup {
    /// From the words of the reply; `None` if they aren't those of a failed capability lookup.
    pub const fn from_words(source: Word, words: [Word; 4]) -> Option<Self> {
        let failure = match lookup_failure(words) {
            Some(failure) => failure,
            None => return None,
        };
        Some(Self { source: source != 0, failure })
    }

    /// From the IPC buffer, after an invocation that failed with `FailedLookup`.
    pub fn get(buffer: &IpcBuffer) -> Option<Self> {
        let [source, a, b, c, d, ..] = *buffer.msg_regs();
        Self::from_words(source, [a, b, c, d])
    }
}

/// A lookup failure from its words: type, then details.
pub const fn lookup_failure([kind, a, b, c]: [Word; 4]) -> Option<LookupFailure> {
    Some(match kind {
        1 => LookupFailure::InvalidRoot,
        2 => LookupFailure::MissingCapability { bits_left: a },
        3 => LookupFailure::DepthMismatch { bits_left: a, bits_found: b },
        4 => LookupFailure::GuardMismatch { bits_left: a, guard: b, guard_bits: c },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_failures_round_trip() {
        for failure in [
            LookupFailure::InvalidRoot,
            LookupFailure::MissingCapability { bits_left: 3 },
            LookupFailure::DepthMismatch { bits_left: 3, bits_found: 9 },
            LookupFailure::GuardMismatch { bits_left: 3, guard: 9, guard_bits: 4 },
        ] {
            assert_eq!(lookup_failure(failure.words().0), Some(failure));
        }
        assert_eq!(lookup_failure([0; 4]), None);
        assert_eq!(lookup_failure([5, 0, 0, 0]), None);
    }

    #[test]
    fn labels_are_errors() {
        assert_eq!(check(MessageInfo::new(0, 0, 0, 0)), Ok(()));
        assert_eq!(check(MessageInfo::new(10, 0, 0, 0)), Err(Error::NotEnoughMemory));
        assert_eq!(check(MessageInfo::new(4711, 0, 0, 0)), Err(Error::IllegalOperation));
    }
}
