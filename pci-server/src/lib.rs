// SPDX-License-Identifier: MIT OR Apache-2.0
//! What pci-server decides, without hardware: which devices may be given away, and each one's life.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod device;
pub mod judge;
pub mod passthrough;
pub mod platform;
pub mod promise;
pub mod recover;
pub mod show;
pub mod survey;
pub mod table;
pub mod virtuals;
