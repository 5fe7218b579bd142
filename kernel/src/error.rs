// SPDX-License-Identifier: MIT OR Apache-2.0
//! Outcomes of invocations.

use sel4_abi::{Error, LookupFailure};

/// Why an invocation did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysError {
    /// Argument number.
    InvalidArgument(u64),
    /// Capability number, 0 being the invoked one.
    InvalidCapability(u64),
    /// Not allowed in this state.
    IllegalOperation,
    /// Limits, inclusive.
    Range(u64, u64),
    /// Misaligned address.
    Alignment,
    /// A lookup failed; true if it was the source's.
    Lookup(bool, LookupFailure),
    /// A translation level is missing: bits of address below the missing level's entry.
    MissingLevel(u64),
    /// Too short.
    Truncated,
    /// In use.
    DeleteFirst,
    /// Has children, or is issued.
    RevokeFirst,
    /// Bytes free.
    NotEnoughMemory(u64),
    /// Not an error: [`Preempted`].
    Preempted,
}

/// A preemption point was reached with an interrupt pending: the system call is to be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preempted;

impl From<Preempted> for SysError {
    fn from(_: Preempted) -> Self {
        Self::Preempted
    }
}

/// Result of an invocation.
pub type SysResult<T = ()> = Result<T, SysError>;

impl SysError {
    /// The error code and the message words of the reply.
    pub fn encode(self) -> (Error, [u64; 5], usize) {
        let w = |e, a: &[u64]| {
            let mut words = [0; 5];
            words[..a.len()].copy_from_slice(a);
            (e, words, a.len())
        };
        match self {
            Self::InvalidArgument(n) => w(Error::InvalidArgument, &[n]),
            Self::InvalidCapability(n) => w(Error::InvalidCapability, &[n]),
            Self::IllegalOperation | Self::Preempted => w(Error::IllegalOperation, &[]),
            Self::Range(a, b) => w(Error::RangeError, &[a, b]),
            Self::Alignment => w(Error::AlignmentError, &[]),
            Self::Lookup(source, failure) => {
                let (f, n) = failure.words();
                let mut words = [u64::from(source), 0, 0, 0, 0];
                words[1..=n].copy_from_slice(&f[..n]);
                (Error::FailedLookup, words, n + 1)
            }
            // Source flag 0, MissingCapability, bits left.
            Self::MissingLevel(bits) => w(Error::FailedLookup, &[0, 2, bits]),
            Self::Truncated => w(Error::TruncatedMessage, &[]),
            Self::DeleteFirst => w(Error::DeleteFirst, &[]),
            Self::RevokeFirst => w(Error::RevokeFirst, &[]),
            Self::NotEnoughMemory(n) => w(Error::NotEnoughMemory, &[n]),
        }
    }
}
