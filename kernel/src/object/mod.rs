// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel objects. All-zero memory is the initial state of each.

pub mod cnode;
pub mod endpoint;
#[cfg(target_os = "none")]
pub mod iospace;
pub mod notification;
pub mod reply;
pub mod sched_context;
pub mod tcb;
pub mod untyped;
#[cfg(target_os = "none")]
pub mod vcpu;
