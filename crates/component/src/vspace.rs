// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which table a mapping lacks.

/// A level of tables below the top one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    PageTable,
    PageDirectory,
    Pdpt,
}

impl Level {
    /// From message word 2 of a `FailedLookup`: log2 of the bytes that the missing table's entry covers.
    pub(crate) const fn from_word(bits: u64) -> Option<Self> {
        match bits {
            21 => Some(Self::PageTable),
            30 => Some(Self::PageDirectory),
            39 => Some(Self::Pdpt),
            _ => None,
        }
    }
}
