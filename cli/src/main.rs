// SPDX-License-Identifier: MIT OR Apache-2.0
//! `postern`, the host-side tool.
fn main() {}
