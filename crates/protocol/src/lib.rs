// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the parts say to each other: the framing of messages, one module per protocol, and the start page.
//!
//! Everything here is pure: encodings to and from words. Sending is the runtime's (`component`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod client;
pub mod config;
pub mod iommu;
pub mod kept;
pub mod look;
pub mod message;
pub mod pci;
pub mod ring;
pub mod start;
pub mod supervisor;
#[cfg(test)]
mod testing;
pub mod timer;

pub use message::{CallError, Protocol, Refusal, Request};
