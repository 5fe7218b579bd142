// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI as pure logic: addresses and physical paths, configuration space, capabilities, BARs, the tree of bridges,
//! reset methods, and the filtered configuration space that a guest sees of a device.
//!
//! Nothing here touches hardware. Whoever has a configuration space implements [`ConfigSpace`] for it; the tests do so
//! with arrays. Every walk is bounded, since a device's configuration space is hostile input.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "testing")]
extern crate std;

pub mod access;
pub mod address;
pub mod bar;
pub mod bridge;
pub mod capability;
pub mod carve;
pub mod config;
mod effect;
mod groups;
mod image;
pub mod interrupt;
pub mod life;
pub mod line;
pub mod matching;
pub mod path;
pub mod reserved;
pub mod reset;
mod shown;
pub mod sriov;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topology;
pub mod view;

pub use address::{Address, DevFn, RequesterId};
pub use bar::{Bar, Bars};
pub use config::{ConfigSpace, Header, Width};
pub use interrupt::{Message, Msi, MsiX};
pub use matching::{Identity, Match};
pub use path::{Location, Path};
pub use topology::Topology;
pub use view::View;
