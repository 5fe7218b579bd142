// SPDX-License-Identifier: MIT OR Apache-2.0
//! End-to-end tests: each boots a tiny system of its own in QEMU with VT-d and judges what it does, by the log on COM1,
//! by QEMU's monitor, and from the network.
//!
//! * [`machine`]: a running QEMU, its log as events, its monitor ([`qmp`]), everything it said on failure;
//! * [`qtest`]: devices driven from outside, as a hostile one would be;
//! * [`vtd`]: the remapping unit's registers and tables, read from outside;
//! * [`bochs`]: a running Bochs, for processors that QEMU hasn't; [`checks`]: what the kernel's own checks write;
//! * [`runner`]: runs cases and prints `N passed, N failed`;
//! * [`cases`]: the tests; [`bench`]: the figures, [`figures`]: their table.
#![forbid(unsafe_code)]

pub mod authority;
pub mod bench;
pub mod bochs;
pub mod build;
pub mod cases;
pub mod checks;
pub mod figures;
pub mod gdb;
pub mod machine;
pub mod qmp;
pub mod qtest;
pub mod runner;
pub mod transcript;
pub mod vtd;
