// SPDX-License-Identifier: MIT OR Apache-2.0
//! AMD's secure virtual machine (SVM) as data: the control block, exit codes, events, nested tables, permission maps,
//! and the rules by which a kernel lets an untrusted VMM touch them.
//!
//! Nothing here executes a privileged instruction; the kernel's `virt::svm` does. Sections are those of the AMD64
//! Architecture Programmer's Manual (APM), volume 2, "Secure Virtual Machine" (chapter 15) and appendices B and C.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod asid;
pub mod check;
pub mod event;
pub mod exit;
pub mod features;
pub mod field;
pub mod intercept;
pub mod limits;
pub mod npt;
pub mod permission;
pub mod tlb;
#[cfg(test)]
mod tlb_model_tests;
pub mod vmcb;

#[cfg(test)]
mod entry_tests;
