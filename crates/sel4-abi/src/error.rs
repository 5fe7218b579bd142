// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error codes of invocations and the reasons of failed lookups.

/// Error code of an invocation: the label of the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Error {
    /// An argument is invalid; word 0 is its index.
    InvalidArgument = 1,
    /// A capability is of the wrong kind; word 0 is its index, 0 being the invoked one.
    InvalidCapability = 2,
    /// Not allowed in this state.
    IllegalOperation = 3,
    /// Out of range; words 0 and 1 are the limits, both inclusive.
    RangeError = 4,
    /// An address is not aligned.
    AlignmentError = 5,
    /// A slot or a table level was not found; words as in [`LookupFailure`].
    FailedLookup = 6,
    /// The message is too short or lacks capabilities.
    TruncatedMessage = 7,
    /// The destination is in use.
    DeleteFirst = 8,
    /// The object has derived capabilities, or the resource is already issued.
    RevokeFirst = 9,
    /// The untyped is too small; word 0 is the number of free bytes.
    NotEnoughMemory = 10,
}

impl Error {
    /// The error with code `code`, `None` for 0 (no error) and for unknown codes.
    pub const fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            1 => Self::InvalidArgument,
            2 => Self::InvalidCapability,
            3 => Self::IllegalOperation,
            4 => Self::RangeError,
            5 => Self::AlignmentError,
            6 => Self::FailedLookup,
            7 => Self::TruncatedMessage,
            8 => Self::DeleteFirst,
            9 => Self::RevokeFirst,
            10 => Self::NotEnoughMemory,
            _ => return None,
        })
    }
}

/// Why a capability address did not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupFailure {
    /// The root is not a CNode.
    InvalidRoot,
    /// The slot is empty, or a CNode was expected; bits not yet resolved.
    MissingCapability {
        /// Bits of the address left.
        bits_left: u64,
    },
    /// The address ends inside a CNode's guard or index, or before a CNode.
    DepthMismatch {
        /// Bits of the address left.
        bits_left: u64,
        /// Bits that this level needs.
        bits_found: u64,
    },
    /// The guard differs.
    GuardMismatch {
        /// Bits of the address left.
        bits_left: u64,
        /// The guard of the CNode capability.
        guard: u64,
        /// Size of that guard, bits.
        guard_bits: u64,
    },
}

impl LookupFailure {
    /// The message words: type, then the details.
    pub const fn words(self) -> ([u64; 4], usize) {
        match self {
            Self::InvalidRoot => ([1, 0, 0, 0], 1),
            Self::MissingCapability { bits_left } => ([2, bits_left, 0, 0], 2),
            Self::DepthMismatch { bits_left, bits_found } => ([3, bits_left, bits_found, 0], 3),
            Self::GuardMismatch { bits_left, guard, guard_bits } => ([4, bits_left, guard, guard_bits], 4),
        }
    }
}
