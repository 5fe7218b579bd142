// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel, judged from inside a root task (`tests/kernel`), whose checks arrive as a line protocol.

use crate::runner::Case;

pub(super) const CASES: &[Case] = &[];
