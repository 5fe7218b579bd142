// SPDX-License-Identifier: MIT OR Apache-2.0
//! What console-server decides, without hardware: whose line is next, how it looks, what was typed and what it is answered.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod asked;
pub mod collector;
pub mod command;
pub mod input;
pub mod json;
pub mod look;
pub mod objects;
pub mod text;
