// SPDX-License-Identifier: MIT OR Apache-2.0
//! The binary interface between kernel and user level: numbers and layouts only.
//!
//! seL4 16.0.0, x86_64, MCS, IOMMU, VT-x with 64-bit guests, plus Postern's extensions (`docs/abi.md`). The kernel and
//! the bindings are both built on this crate, so that neither can drift from the other.
#![no_std]
#![forbid(unsafe_code)]

pub mod bootinfo;
pub mod describe;
pub mod error;
pub mod fault;
pub mod label;
pub mod message;
pub mod method;
pub mod object;
pub mod slot;
pub mod syscall;
pub mod vcpu;
pub mod vmcb;

pub use error::{Error, LookupFailure};
pub use message::MessageInfo;

/// Bits of [`Rights`](message::CapRights) and other small constants of scheduling.
pub mod sched {
    /// Number of priorities, and the highest one plus one.
    pub const NUM_PRIORITIES: usize = 256;
    /// Smallest budget, microseconds.
    pub const MIN_BUDGET_US: u64 = 20;
    /// Time slice of the initial thread, milliseconds.
    pub const BOOT_TIME_SLICE_MS: u64 = 5;
    /// `SchedControl_ConfigureFlags` flag: sporadic.
    pub const FLAG_SPORADIC: u64 = 1;
    /// Most scheduling domains.
    pub const MAX_DOMAINS: u16 = 256;
    /// Entries of the domain schedule where there is more than one domain; the last one is an end marker for ever.
    pub const DOMAIN_SCHEDULES: usize = 100;
    /// Longest duration of an entry, in ticks of the time-stamp counter.
    pub const MAX_DOMAIN_DURATION: u64 = (1 << 56) - 1;
}

/// User interrupt numbers.
pub mod irq {
    /// Largest user interrupt number.
    pub const MAX_USER_IRQ: u64 = 107;
    /// CPU vector = user interrupt + this.
    pub const VECTOR_BASE: u8 = 0x30;
    /// First user interrupt for messages; 0..16 are for pins (extension X3).
    pub const FIRST_MSI: u64 = 16;
}

/// Attributes of `X86_Page_Map`.
pub mod vm_attributes {
    /// Write-back, the default.
    pub const WRITE_BACK: u64 = 0;
    /// Write-through.
    pub const WRITE_THROUGH: u64 = 1;
    /// Uncached minus.
    pub const CACHE_DISABLED: u64 = 2;
    /// Uncacheable.
    pub const UNCACHEABLE: u64 = 3;
    /// Write-combining.
    pub const WRITE_COMBINING: u64 = 4;
}

/// Attributes of `X86_Page_MapEPT`.
pub mod ept_attributes {
    /// Uncacheable.
    pub const UNCACHEABLE: u64 = 0;
    /// Write-combining.
    pub const WRITE_COMBINING: u64 = 1;
    /// Write-through.
    pub const WRITE_THROUGH: u64 = 4;
    /// Write-protected.
    pub const WRITE_PROTECTED: u64 = 5;
    /// Write-back, the default.
    pub const WRITE_BACK: u64 = 6;
    /// Extension X1, beside any of the types: the guest can't execute what is there. seL4 ignores this bit.
    pub const NO_EXECUTE: u64 = 1 << 8;
}

/// How guests on a nested root are entered: the word of `ASIDPool_Assign` (extension X1).
pub mod entry_flush {
    /// With every step against speculation that the processor needs; the meaning of no word, too.
    pub const AUTO: u64 = 0;
    /// With every step that it can take.
    pub const ON: u64 = 1;
    /// With none.
    pub const OFF: u64 = 2;
}

/// End of user virtual addresses: the first address that is not the user's.
pub const USER_TOP: u64 = 0x7fff_ffff_f000;
/// `TCB_SetFlags`: the thread may not use the floating-point unit.
pub const TCB_FLAG_FPU_DISABLED: u64 = 1;
