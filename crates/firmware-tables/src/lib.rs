// SPDX-License-Identifier: MIT OR Apache-2.0
//! Readers for the ACPI tables that say where a machine's interrupt controllers, configuration space, timers and
//! IOMMUs are.
//!
//! Everything here is a pure function of bytes. The bytes come from firmware and are treated as hostile: a table that
//! is cut short, overlaps itself or has an entry of length zero gives an [`Error`] that says what and where, never a
//! panic and never an endless loop.
//!
//! Start with [`Rsdp::read`], open the [`RootTable`] it names, [`RootTable::find`] a table by its [`Signature`] and
//! hand it to the type of that table ([`Madt`], [`Mcfg`], [`Hpet`], [`Fadt`], [`Dmar`]).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod coverage;
mod dmar;
mod error;
mod fadt;
mod fit;
mod hpet;
mod madt;
mod mcfg;
mod memory;
mod place;
mod root;
mod rsdp;
mod scope;
mod sdt;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod hostile_tests;

pub use coverage::{Bridges, BusRange, Coverage, MAX_RANGES, NoBridges};
pub use dmar::{AcpiDevice, Dmar, RootPortAts, Structure, UnitAffinity};
pub use dmar::{RemappingUnit, ReservedMemory};
pub use error::Error;
pub use fadt::Fadt;
pub use fit::{MapEntry, Unfit, fit};
pub use hpet::Hpet;
pub use madt::{InterruptOverride, IoApic, LocalApic, Madt, MadtEntry, Polarity, Trigger};
pub use mcfg::{EcamRegion, Mcfg};
pub use memory::PhysicalMemory;
pub use place::{MAX_UNIT_BYTES, Misplaced, misplaced};
pub use root::RootTable;
pub use rsdp::Rsdp;
pub use scope::{DeviceScope, PathStep, ScopeKind};
pub use sdt::{Signature, Table};
