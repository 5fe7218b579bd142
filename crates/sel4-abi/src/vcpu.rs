// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages of `VMEnter` (extension X1): word numbers of the exit message.
//!
//! In: MR0 guest RIP, MR1 controls, MR2 EVENTINJ; RSI bit 0 set: general registers from MR10..=MR24.
//! Out: RSI 1 exit, 0 notification (badge in RDI).

/// Guest RIP, in and out.
pub const MR_RIP: usize = 0;
/// In: controls, see [`CONTROL_INTERRUPT_WINDOW`]; out: as given.
pub const MR_CONTROL: usize = 1;
/// In: EVENTINJ; out: the event whose delivery the exit interrupted, ready to be given again (bit 31: valid).
pub const MR_EVENT: usize = 2;
/// EXITCODE.
pub const MR_EXIT_CODE: usize = 3;
/// EXITINFO1.
pub const MR_EXIT_INFO1: usize = 4;
/// Instruction length in bytes, 0 if not known.
pub const MR_INSTRUCTION_LENGTH: usize = 5;
/// EXITINFO2: the guest-physical address of a nested page fault.
pub const MR_EXIT_INFO2: usize = 6;
/// RFLAGS.
pub const MR_RFLAGS: usize = 7;
/// Interrupt shadow: 1 if active.
pub const MR_INTERRUPT_SHADOW: usize = 8;
/// CR3.
pub const MR_CR3: usize = 9;
/// First general register: RAX RBX RCX RDX RSI RDI RBP R8..R15.
pub const MR_REGISTERS: usize = 10;
/// General registers of the message; RSP is in the control block.
pub const REGISTERS: usize = 15;
/// Words of an exit message.
pub const EXIT_WORDS: usize = 25;
/// MR1: exit (VINTR, code 0x64) as soon as the guest can take an interrupt.
pub const CONTROL_INTERRUPT_WINDOW: u64 = 1 << 2;
/// RSI on entry: take the guest's general registers from the message.
pub const ENTER_WITH_REGISTERS: u64 = 1;
/// RSI on return: the guest exited.
pub const RETURN_EXIT: u64 = 1;
/// RSI on return: a notification arrived; RDI is the badge.
pub const RETURN_NOTIFICATION: u64 = 0;
