// SPDX-License-Identifier: MIT OR Apache-2.0
//! Labels of fault messages (MCS).

/// An ordinary message.
pub const NULL_FAULT: u64 = 0;
/// A capability did not resolve.
pub const CAP_FAULT: u64 = 1;
/// A system call number that the kernel doesn't know.
pub const UNKNOWN_SYSCALL: u64 = 2;
/// A processor exception.
pub const USER_EXCEPTION: u64 = 3;
/// A debug exception (not in this configuration).
pub const DEBUG_EXCEPTION: u64 = 4;
/// A scheduling context ran out of budget.
pub const TIMEOUT: u64 = 5;
/// A page fault.
pub const VM_FAULT: u64 = 6;
/// Words of an UnknownSyscall message.
pub const UNKNOWN_SYSCALL_WORDS: usize = 19;
/// Words of a UserException message.
pub const USER_EXCEPTION_WORDS: usize = 5;
/// Words of a VMFault message.
pub const VM_FAULT_WORDS: usize = 4;
