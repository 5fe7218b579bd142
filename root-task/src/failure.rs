// SPDX-License-Identifier: MIT OR Apache-2.0
//! What keeps the root task from building a part.

use core::fmt;

/// What was being done, and what the kernel said to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// What was being done, and the kernel's word if it has said one.
    During(&'static str, Option<sel4::Error>),
    /// There is no such processor.
    Processor {
        /// The number that the description says.
        wanted: u8,
        /// How many there are.
        there: usize,
    },
    /// There is less memory than it takes.
    Memory {
        /// Bytes of RAM wanted, a multiple of 2 MiB.
        ram: u64,
        /// Bytes wanted beside it.
        beside: u64,
        /// Bytes that are free.
        free: u64,
        /// Those of them in pieces that RAM can be made of.
        large: u64,
    },
}

impl Failure {
    /// Something of the root task's own.
    pub const fn new(what: &'static str) -> Self {
        Self::During(what, None)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::During(what, Some(error)) => write!(f, "{what}: the kernel says {error:?}"),
            Self::During(what, None) => f.write_str(what),
            Self::Processor { wanted, there } => write!(
                f,
                "`cpus` says processor {wanted}, and the machine has 0 to {} (one thread of each core): write one of these, \
                 or leave it out",
                there - 1
            ),
            Self::Memory { ram: 0, beside, free, .. } => {
                write!(f, "not enough memory: it takes {} KiB, and {} KiB are free", beside >> 10, free >> 10)
            }
            Self::Memory { ram, beside, free, large } => write!(
                f,
                "not enough memory: it takes {} MiB of RAM and {} KiB beside it; {} MiB are free in the pieces of \
                 2 MiB that RAM is made of, and {} KiB in smaller ones",
                ram >> 20,
                beside >> 10,
                large >> 20,
                (free - large) >> 10
            ),
        }
    }
}

/// Says what an invocation was for.
pub trait During<T> {
    /// The result with `what` in its error.
    fn during(self, what: &'static str) -> Result<T, Failure>;
}

impl<T> During<T> for sel4::Result<T> {
    fn during(self, what: &'static str) -> Result<T, Failure> {
        self.map_err(|error| Failure::During(what, Some(error)))
    }
}

impl<T> During<T> for Option<T> {
    fn during(self, what: &'static str) -> Result<T, Failure> {
        self.ok_or(Failure::During(what, None))
    }
}
