// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fault messages: a thread that faults sends one to its fault endpoint.

use sel4_abi::LookupFailure;
use sel4_abi::fault as label;

use crate::{IpcBuffer, MessageInfo, Word, error};

/// A message that a fault made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not a fault: an ordinary message with label 0.
    NullFault,
    /// A capability address did not resolve.
    CapFault(CapFault),
    /// A system call that doesn't exist.
    UnknownSyscall(UnknownSyscall),
    /// A processor exception.
    UserException(UserException),
    /// The scheduling context ran out of budget.
    Timeout(TimeoutFault),
    /// A page fault.
    VmFault(VmFault),
}

impl Fault {
    /// The fault that the message in `buffer` tells of; `None` when its label is no fault's.
    pub fn new(buffer: &IpcBuffer, info: &MessageInfo) -> Option<Self> {
        Self::from_words(info.label(), buffer.msg_regs())
    }

    /// The fault with this label and these message words.
    pub fn from_words(label: Word, words: &[Word; 120]) -> Option<Self> {
        Some(match label {
            label::NULL_FAULT => Self::NullFault,
            label::CAP_FAULT => Self::CapFault(CapFault {
                ip: words[0],
                address: words[1],
                in_receive: words[2] != 0,
                failure: error::lookup_failure([words[3], words[4], words[5], words[6]]),
            }),
            label::UNKNOWN_SYSCALL => {
                let mut registers = [0; 18];
                registers.copy_from_slice(&words[..18]);
                Self::UnknownSyscall(UnknownSyscall { registers, number: words[18] })
            }
            label::USER_EXCEPTION => Self::UserException(UserException {
                ip: words[0],
                sp: words[1],
                flags: words[2],
                number: words[3],
                code: words[4],
            }),
            label::TIMEOUT => Self::Timeout(TimeoutFault { data: words[0], consumed: words[1] }),
            label::VM_FAULT => Self::VmFault(VmFault {
                ip: words[0],
                addr: words[1],
                is_prefetch: words[2] != 0,
                fsr: words[3],
            }),
            _ => return None,
        })
    }
}

/// A capability address did not resolve. Any reply restarts the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapFault {
    /// Instruction pointer.
    pub ip: Word,
    /// The capability address.
    pub address: Word,
    /// It was to be received from.
    pub in_receive: bool,
    /// Why it did not resolve; `None` for a type that isn't known.
    pub failure: Option<LookupFailure>,
}

/// A system call that doesn't exist. A reply with label 0 restarts the thread and may rewrite the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSyscall {
    /// RAX RBX RCX RDX RSI RDI RBP R8..R15, IP, SP, FLAGS.
    pub registers: [Word; 18],
    /// The number.
    pub number: Word,
}

impl UnknownSyscall {
    /// Instruction pointer of the call.
    pub fn fault_ip(&self) -> Word {
        self.registers[15]
    }
}

/// A processor exception. A reply with label 0 restarts the thread and may rewrite IP, SP and FLAGS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserException {
    /// Instruction pointer.
    pub ip: Word,
    /// Stack pointer.
    pub sp: Word,
    /// Flags.
    pub flags: Word,
    /// The vector.
    pub number: Word,
    /// The error code.
    pub code: Word,
}

/// The scheduling context ran out of budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeoutFault {
    /// Badge of the scheduling context.
    pub data: Word,
    /// Time consumed, microseconds.
    pub consumed: Word,
}

/// A page fault. Any reply restarts the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmFault {
    /// Instruction pointer.
    pub ip: Word,
    /// The address that was touched.
    pub addr: Word,
    /// It was to be executed.
    pub is_prefetch: bool,
    /// Error code of the page fault (x86: present 1, write 2, user 4, reserved 8, fetch 16).
    pub fsr: Word,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_tell_the_kind() {
        let mut words: [Word; 120] = core::array::from_fn(|i| 100 + i as Word);
        assert_eq!(Fault::from_words(0, &words), Some(Fault::NullFault));
        assert_eq!(Fault::from_words(7, &words), None);
        let expected = VmFault { ip: 100, addr: 101, is_prefetch: true, fsr: 103 };
        assert_eq!(Fault::from_words(6, &words), Some(Fault::VmFault(expected)));
        let Some(Fault::UnknownSyscall(unknown)) = Fault::from_words(2, &words) else { panic!() };
        assert_eq!((unknown.fault_ip(), unknown.number), (115, 118));
        words[3] = 4;
        let Some(Fault::CapFault(cap)) = Fault::from_words(1, &words) else { panic!() };
        let failure = LookupFailure::GuardMismatch { bits_left: 104, guard: 105, guard_bits: 106 };
        assert_eq!((cap.address, cap.failure), (101, Some(failure)));
    }
}
