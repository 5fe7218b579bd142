// SPDX-License-Identifier: MIT OR Apache-2.0
//! The booted tests, by area.

use crate::runner::Case;

mod edu;
mod http;
mod kernel;
mod refusals;
mod tool;

/// All of them, in the order in which they run: what the others stand on comes first.
#[must_use]
pub fn all() -> Vec<Case> {
    [kernel::CASES, edu::CASES, http::CASES, refusals::CASES, tool::CASES].concat()
}
