// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intel VT-d without hardware: the layouts of its registers, tables and messages, and the order in which they may be
//! changed.
//!
//! Sections cited are those of the *Intel Virtualization Technology for Directed I/O Architecture Specification*,
//! revision 4.1, legacy mode. Three layers, each of which a host test can see through:
//!
//! 1. Layouts: [`registers`], [`capability`], [`context`], [`pte`], [`irte`], [`descriptor`], [`fault`], [`message`];
//!    and in which order fault records are read: [`fault_log`].
//! 2. Walks over tables that are reached through [`Sink::load`]: [`walk`].
//! 3. Changes: [`Changes`] says every store, cache-line flush, invalidation and wait to a [`Sink`], in order. Nothing
//!    that a unit may still have cached is handed back before the wait.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod capability;
pub mod changes;
pub mod context;
pub mod descriptor;
pub mod fault;
pub mod fault_log;
pub mod irte;
pub mod message;
pub mod pte;
pub mod registers;
pub mod sink;
pub mod walk;

#[cfg(test)]
mod fault_log_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod parking_tests;
#[cfg(test)]
mod recorder;

pub use capability::{Capability, ExtendedCapability};
pub use changes::{Changes, Traits};
pub use sink::Sink;
pub use walk::{Conflict, Space};

/// Bytes of a table, and of the smallest page.
pub const PAGE_BYTES: u64 = 4096;

/// Bits 12–51 of an entry: the address of a table or page.
pub(crate) const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;
