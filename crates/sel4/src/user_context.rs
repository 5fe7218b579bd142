// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers of threads and of virtual CPUs.

use crate::Word;

/// Registers of a thread, in the order in which messages carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct UserContext {
    pub rip: Word,
    pub rsp: Word,
    pub rflags: Word,
    pub rax: Word,
    pub rbx: Word,
    pub rcx: Word,
    pub rdx: Word,
    pub rsi: Word,
    pub rdi: Word,
    pub rbp: Word,
    pub r8: Word,
    pub r9: Word,
    pub r10: Word,
    pub r11: Word,
    pub r12: Word,
    pub r13: Word,
    pub r14: Word,
    pub r15: Word,
    pub fs_base: Word,
    pub gs_base: Word,
}

impl UserContext {
    /// Number of registers.
    pub const WORDS: usize = 20;

    /// As message words.
    pub const fn to_words(&self) -> [Word; Self::WORDS] {
        [
            self.rip,
            self.rsp,
            self.rflags,
            self.rax,
            self.rbx,
            self.rcx,
            self.rdx,
            self.rsi,
            self.rdi,
            self.rbp,
            self.r8,
            self.r9,
            self.r10,
            self.r11,
            self.r12,
            self.r13,
            self.r14,
            self.r15,
            self.fs_base,
            self.gs_base,
        ]
    }

    /// From message words.
    pub const fn from_words(w: [Word; Self::WORDS]) -> Self {
        Self {
            rip: w[0],
            rsp: w[1],
            rflags: w[2],
            rax: w[3],
            rbx: w[4],
            rcx: w[5],
            rdx: w[6],
            rsi: w[7],
            rdi: w[8],
            rbp: w[9],
            r8: w[10],
            r9: w[11],
            r10: w[12],
            r11: w[13],
            r12: w[14],
            r13: w[15],
            r14: w[16],
            r15: w[17],
            fs_base: w[18],
            gs_base: w[19],
        }
    }

    /// The instruction pointer, to be written.
    pub fn pc_mut(&mut self) -> &mut Word {
        &mut self.rip
    }

    /// The stack pointer, to be written.
    pub fn sp_mut(&mut self) -> &mut Word {
        &mut self.rsp
    }

    /// Argument `i` of a C function that begins at the instruction pointer, to be written.
    ///
    /// # Panics
    /// If `i` is above 5: no more arguments travel in registers.
    pub fn c_param_mut(&mut self, i: usize) -> &mut Word {
        match i {
            0 => &mut self.rdi,
            1 => &mut self.rsi,
            2 => &mut self.rdx,
            3 => &mut self.rcx,
            4 => &mut self.r8,
            5 => &mut self.r9,
            _ => panic!("argument {i} doesn't travel in a register"),
        }
    }
}

/// General registers of a virtual CPU, in the order in which messages carry them. RSP is in the control block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
#[allow(missing_docs)]
pub struct VCpuContext {
    pub rax: Word,
    pub rbx: Word,
    pub rcx: Word,
    pub rdx: Word,
    pub rsi: Word,
    pub rdi: Word,
    pub rbp: Word,
    pub r8: Word,
    pub r9: Word,
    pub r10: Word,
    pub r11: Word,
    pub r12: Word,
    pub r13: Word,
    pub r14: Word,
    pub r15: Word,
}

impl VCpuContext {
    /// Number of registers.
    pub const WORDS: usize = 15;

    /// As message words.
    pub const fn to_words(&self) -> [Word; Self::WORDS] {
        [
            self.rax, self.rbx, self.rcx, self.rdx, self.rsi, self.rdi, self.rbp, self.r8, self.r9, self.r10,
            self.r11, self.r12, self.r13, self.r14, self.r15,
        ]
    }

    /// From message words.
    pub const fn from_words(w: [Word; Self::WORDS]) -> Self {
        Self {
            rax: w[0],
            rbx: w[1],
            rcx: w[2],
            rdx: w[3],
            rsi: w[4],
            rdi: w[5],
            rbp: w[6],
            r8: w[7],
            r9: w[8],
            r10: w[9],
            r11: w[10],
            r12: w[11],
            r13: w[12],
            r14: w[13],
            r15: w[14],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        let words = core::array::from_fn(|i| i as Word * 3 + 1);
        let context = UserContext::from_words(words);
        assert_eq!(context.to_words(), words);
        assert_eq!((context.rip, context.rdi, context.gs_base), (1, 25, 58));
        let words = core::array::from_fn(|i| i as Word);
        assert_eq!(VCpuContext::from_words(words).to_words(), words);
        assert_eq!(VCpuContext::from_words(words).r15, 14);
    }
}
