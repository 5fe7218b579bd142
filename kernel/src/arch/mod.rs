// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor and the machine, as the rest of the kernel sees them. On the host a stand-in lets the logic be tested.

pub mod context;

#[cfg(target_os = "none")]
mod x86;
#[cfg(target_os = "none")]
pub use x86::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
pub use host::*;
