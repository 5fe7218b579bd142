// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the root task decides and computes, without the kernel: which memory goes where, what an image says, how
//! capability spaces are laid out, what the end of a VM demands.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
extern crate alloc;

pub mod desk;
pub mod elf;
pub mod held;
pub mod layout;
pub mod lifecycle;
pub mod memory_map;
pub mod need;
pub mod pieces;
pub mod pins;
pub mod ports;
pub mod regions;
pub mod sleep;
pub mod slots;
