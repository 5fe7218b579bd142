// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be wrong with a firmware table.

use crate::Signature;
use core::fmt;

/// Why a table can't be used. The text names the table, the place in it and what was expected there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No root pointer with a right checksum was found.
    NoRsdp,
    /// The memory that should hold the table can't be read.
    Unreadable {
        /// The table's signature.
        table: Signature,
        /// Its physical address.
        address: u64,
        /// The bytes that were wanted.
        length: usize,
    },
    /// Another table lies where this one was expected.
    WrongSignature {
        /// The signature that was expected.
        expected: Signature,
        /// The one that was found.
        found: Signature,
    },
    /// The bytes of the table don't add up to zero.
    BadChecksum {
        /// The table's signature.
        table: Signature,
    },
    /// The table is shorter than its fixed part, or its length field says more bytes than there are.
    Truncated {
        /// The table's signature.
        table: Signature,
        /// Bytes that are there.
        length: usize,
        /// Bytes that its fixed part or its length field asks for.
        needed: usize,
    },
    /// The table says that it is larger than any sensible one.
    TooLarge {
        /// The table's signature.
        table: Signature,
        /// The length it gives, in bytes.
        length: usize,
    },
    /// An entry is shorter than its kind needs, or reaches beyond what holds it.
    BadEntry {
        /// The table's signature.
        table: Signature,
        /// Where the entry begins, in bytes from the table's start.
        offset: usize,
        /// The length that the entry gives, in bytes.
        length: usize,
        /// Bytes left for it.
        available: usize,
    },
    /// A field holds a value that can't be right.
    BadValue {
        /// The table's signature.
        table: Signature,
        /// Where the field is, in bytes from the table's start.
        offset: usize,
        /// The value.
        value: u64,
    },
    /// More ranges of requester IDs are named than the caller has room for.
    TooManyRanges {
        /// The room there is.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::NoRsdp => write!(f, "firmware left no ACPI root pointer with a right checksum"),
            Error::Unreadable { table, address, length } => {
                write!(f, "the {table} table's {length} bytes at physical address {address:#x} can't be read")
            }
            Error::WrongSignature { expected, found } => {
                write!(f, "a table {found} lies where {expected} was expected")
            }
            Error::BadChecksum { table } => write!(f, "the {table} table's checksum is wrong"),
            Error::Truncated { table, length, needed } => {
                write!(f, "the {table} table has {length} bytes where {needed} are needed")
            }
            Error::TooLarge { table, length } => {
                write!(f, "the {table} table says that it has {length} bytes, which is too many to be true")
            }
            Error::BadEntry { table, offset, length, available } => write!(
                f,
                "the {table} table's entry at offset {offset:#x} gives its length as {length} bytes, with {available} left"
            ),
            Error::BadValue { table, offset, value } => {
                write!(f, "the {table} table's field at offset {offset:#x} can't hold {value:#x}")
            }
            Error::TooManyRanges { limit } => {
                write!(f, "the DMAR table names more than {limit} separate ranges of PCI functions")
            }
        }
    }
}

impl core::error::Error for Error {}
