// SPDX-License-Identifier: MIT OR Apache-2.0
//! The microkernel: capabilities, address spaces, threads, messages, interrupts, DMA remapping, virtual CPUs. No policy.
//!
//! Principles:
//! 1. The API and binary interface are seL4 16.0.0's (`sel4-abi`), plus the extensions of `docs/abi.md`.
//! 2. No allocation: after boot every object lies in memory that user level made from untyped memory.
//! 3. One kernel stack, interrupts off: a system call runs to its end or to a preemption point, where it can be restarted.
//! 4. Objects are structures of cells, reached through [`ptr::Ptr`]. A `Ptr` is made from a capability (or another object's
//!    link), and whoever deletes an object severs all links first; that invariant is what the `unsafe` in `ptr` rests on.
//! 5. What decides or computes is host-tested; what touches hardware is in `arch`, `iommu` and `virt`.
#![cfg_attr(target_os = "none", no_std)]

pub mod arch;
pub mod asid;
#[cfg(target_os = "none")]
pub mod boot;
pub mod cap;
pub mod cdt;
pub mod cores;
pub mod cspace;
pub mod delete;
pub mod describe;
pub mod domains;
pub mod error;
pub mod fastpath;
pub mod fault;
pub mod invoke;
#[cfg(target_os = "none")]
pub mod iommu;
pub mod ioport;
pub mod ipc;
pub mod irq;
pub mod kernel;
pub mod log;
pub mod object;
pub mod postponed;
pub mod processors;
pub mod ptr;
pub mod sched;
#[cfg(any(test, feature = "debug-syscalls"))]
pub mod snapshot;
pub mod stretch;
pub mod sync;
pub mod syscall;
#[cfg(any(test, feature = "debug-syscalls"))]
pub mod threads;
pub mod transfer;
#[cfg(target_os = "none")]
pub mod virt;
pub mod vspace;

#[cfg(test)]
mod model_tests;
