// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table, by object.

use crate::table::Group;

mod cnode;
mod tcb;
mod untyped;

/// All of it.
pub const ALL: &[&[Group]] = &[untyped::ROWS, cnode::ROWS, tcb::ROWS];
