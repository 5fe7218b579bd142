// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's general registers, where the exit message has them: in the IPC buffer.
use sel4_abi::vcpu::MR_REGISTERS;
use vmm_devices::decode::{Register, RegisterFile};

/// Message words by the encoding's register numbers (RAX RCX RDX RBX RSP RBP RSI RDI R8..R15). RSP isn't in the message.
const WORD: [usize; 16] = {
    let place = [0, 2, 3, 1, 0, 6, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14];
    let mut words = [0; 16];
    let mut n = 0;
    while n < 16 {
        words[n] = MR_REGISTERS + place[n];
        n += 1;
    }
    words
};

/// RAX's number.
pub const RAX: u8 = 0;
/// RCX's number.
pub const RCX: u8 = 1;
/// RDX's number.
pub const RDX: u8 = 2;
/// RBX's number.
pub const RBX: u8 = 3;

/// The registers of the last exit.
pub struct Registers {
    /// RSP, if someone has fetched it.
    pub stack_pointer: u64,
}

impl RegisterFile for Registers {
    fn get(&self, index: u8) -> u64 {
        if index == Register::RSP { self.stack_pointer } else { get(index) }
    }
    fn set(&mut self, index: u8, value: u64) {
        if index == Register::RSP {
            self.stack_pointer = value;
        } else {
            set(index, value);
        }
    }
}

/// Reads a register other than RSP.
#[inline]
pub fn get(index: u8) -> u64 {
    sel4::with_ipc_buffer(|buffer| buffer.msg_regs()[WORD[usize::from(index & 15)]])
}

/// Writes a register other than RSP.
#[inline]
pub fn set(index: u8, value: u64) {
    sel4::with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut()[WORD[usize::from(index & 15)]] = value);
}
