// SPDX-License-Identifier: MIT OR Apache-2.0
//! A web server as a unikernel: one page, which says who answers and what it sees. The network card is a virtio function of the machine,
//! driven by the guest itself, with MSI-X; between requests the guest sleeps in HLT.
//!
//! Command line: `ip=10.0.2.15/24 gw=10.0.2.2` (the default).
#![cfg_attr(not(test), no_std, no_main)]
// The network driver shares memory with a device; nothing else here needs `unsafe`.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(dead_code))]

extern crate alloc;

mod alarm;
mod connection;
mod page;
mod request;
mod response;
mod server;
mod settings;

#[cfg(target_os = "none")]
#[allow(unsafe_code)]
mod nic;
#[cfg(target_os = "none")]
mod run;

#[cfg(target_os = "none")]
guest_runtime::entry!(run::main);
