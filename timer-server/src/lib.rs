// SPDX-License-Identifier: MIT OR Apache-2.0
//! What timer-server decides, without hardware: who is due when, and what that is on the timer's clock.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod deadlines;
pub mod scale;
