// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system description: its types, its checks, its compiled form, and the bundle that carries it.
//!
//! One crate for the host tool and the root task, so that what the tool accepts is what boots. The core needs no
//! allocator; the feature `host` adds what reads the TOML text ([`description`]) and what writes bundles.
//!
//! * [`compiled`]: the form that the root task reads, and the limits of a system;
//! * [`check`]: every rule that a description must obey, judged on the compiled form;
//! * [`path`]: physical paths and guest slots of PCI functions;
//! * [`bundle`]: description, parts and guests in one segment of the root task's image.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![forbid(unsafe_code)]

pub mod bundle;
pub mod check;
pub mod compiled;
#[cfg(feature = "host")]
pub mod description;
#[cfg(feature = "host")]
pub mod diagnostic;
#[cfg(feature = "host")]
mod language;
pub mod path;
#[cfg(feature = "host")]
mod reader;
pub mod units;
