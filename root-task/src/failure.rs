// SPDX-License-Identifier: MIT OR Apache-2.0
//! What keeps the root task from building a part.

use core::fmt;

/// What was being done, and what the kernel said to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    what: &'static str,
    error: Option<sel4::Error>,
}

impl Failure {
    /// Something of the root task's own.
    pub const fn new(what: &'static str) -> Self {
        Self { what, error: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Some(error) => write!(f, "{}: the kernel says {error:?}", self.what),
            None => f.write_str(self.what),
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
        self.map_err(|error| Failure { what, error: Some(error) })
    }
}

impl<T> During<T> for Option<T> {
    fn during(self, what: &'static str) -> Result<T, Failure> {
        self.ok_or(Failure { what, error: None })
    }
}
