// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which steps a guest entry takes so that the guest finds nothing of others in the processor, and none of its predictions in them.
//!
//! | step | against | how |
//! | --- | --- | --- |
//! | L1D flush | L1 terminal fault (Intel, "L1 Terminal Fault", CVE-2018-3646) | `IA32_FLUSH_CMD`, or filling 64 KiB by software |
//! | buffer clearing | MDS, TAA, stale data of device registers, RFDS (Intel); transient scheduler attacks (AMD-SB-7036) | `VERW` |
//! | predictor barrier | branch target injection between guests (Spectre v2) | `IA32_PRED_CMD`, where the VM changes |
//!
//! And whether user level may have the kernel in its page tables (Meltdown).
//!
//! The rule: where the processor doesn't say that it needs no step, it needs it. So no list of models is kept, but for AMD's families, of
//! which the vendor says as a whole what they don't have. Sources: Intel, "CPUID Enumeration and Architectural MSRs" and the pages on the
//! single advisories; AMD, Architecture Programmer's Manual volume 3, appendix E, "Speculation Behavior in AMD Micro-Architectures" and
//! "Transient Scheduler Attacks".
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod decide;
pub mod fill;
pub mod processor;
#[cfg(test)]
mod processors_tests;

pub use decide::{Decision, Policy, Steps, Verdict};
pub use processor::{Leaf, Leaves, Processor};
