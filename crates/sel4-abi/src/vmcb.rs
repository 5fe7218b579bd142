// SPDX-License-Identifier: MIT OR Apache-2.0
//! Field numbers of `VCPU_ReadVMCB` and `VCPU_WriteVMCB` (extension X1): byte offsets in the control block
//! (AMD64 Architecture Programmer's Manual, volume 2, appendix B). Only these are allowed.
#![allow(missing_docs)]
/// Intercepts that the VMM may add to those of the kernel: exception vectors, 32 bits.
pub const EXCEPTION_INTERCEPTS: u64 = 0x008;
/// TSC offset, added to the guest's RDTSC.
pub const TSC_OFFSET: u64 = 0x050;
/// Interrupt shadow, bit 0.
pub const INTERRUPT_SHADOW: u64 = 0x068;
pub const ES_SELECTOR: u64 = 0x400;
/// A segment register is at `ES_SELECTOR + 16 * n`: selector u16 +0, attributes u16 +2, limit u32 +4, base u64 +8,
/// for n: ES 0, CS 1, SS 2, DS 3, FS 4, GS 5, GDTR 6, LDTR 7, IDTR 8, TR 9.
pub const SEGMENT_STRIDE: u64 = 16;
pub const CPL: u64 = 0x4cb;
pub const EFER: u64 = 0x4d0;
pub const CR4: u64 = 0x548;
pub const CR3: u64 = 0x550;
pub const CR0: u64 = 0x558;
pub const DR7: u64 = 0x560;
pub const DR6: u64 = 0x568;
pub const RFLAGS: u64 = 0x570;
pub const RIP: u64 = 0x578;
pub const RSP: u64 = 0x5d8;
pub const RAX: u64 = 0x5f8;
pub const STAR: u64 = 0x600;
pub const LSTAR: u64 = 0x608;
pub const CSTAR: u64 = 0x610;
pub const SFMASK: u64 = 0x618;
pub const KERNEL_GS_BASE: u64 = 0x620;
pub const SYSENTER_CS: u64 = 0x628;
pub const SYSENTER_ESP: u64 = 0x630;
pub const SYSENTER_EIP: u64 = 0x638;
pub const CR2: u64 = 0x640;
pub const G_PAT: u64 = 0x668;
/// Not in the control block: the guest's XCR0, kept by the VCPU object.
pub const XCR0: u64 = 0x1000;
/// Not in the control block, and never written: how often an entry of this VCPU flushed or filled the L1 data cache.
pub const L1D_FLUSHES: u64 = 0x1010;
/// As [`L1D_FLUSHES`]: how often one cleared the processor's buffers.
pub const BUFFER_CLEARS: u64 = 0x1018;
/// As [`L1D_FLUSHES`]: how often one began with a barrier for branch predictions.
pub const PREDICTOR_BARRIERS: u64 = 0x1020;
/// As [`L1D_FLUSHES`]: how often one found nothing of the guest's in the translation cache, since its tables had changed.
pub const TLB_RENEWALS: u64 = 0x1028;
/// As [`L1D_FLUSHES`]: how often the processor had to flush for that.
pub const TLB_FLUSHES: u64 = 0x1030;
