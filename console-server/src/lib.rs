// SPDX-License-Identifier: MIT OR Apache-2.0
//! What console-server decides, without hardware: whose line is next, and how it looks.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod collector;
pub mod text;
