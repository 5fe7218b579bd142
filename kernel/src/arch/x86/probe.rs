// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading a model-specific register that may not be there: then the processor raises a general-protection exception, which is expected at
//! one instruction of the kernel's and ends here.

use core::arch::global_asm;

use crate::arch::context::Context;

global_asm!(
    ".global postern_probe_msr, postern_probe_msr_at, postern_probe_resume",
    // EDI: the register. RAX: its value; RDX: 1, or 0 if it isn't there.
    "postern_probe_msr:",
    "mov ecx, edi",
    "postern_probe_msr_at:",
    "rdmsr",
    "shl rdx, 32",
    "or rax, rdx",
    "mov edx, 1",
    "ret",
    "2:",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
    // RDI: the frame of the exception.
    "postern_probe_resume:",
    "lea rax, [rip + 2b]",
    "mov [rdi + 17 * 8], rax",
    // What the caller of `postern_probe_msr` doesn't give up, the exception's handler has used.
    "mov r15, [rdi]",
    "mov r14, [rdi + 1 * 8]",
    "mov r13, [rdi + 2 * 8]",
    "mov r12, [rdi + 3 * 8]",
    "mov rbp, [rdi + 10 * 8]",
    "mov rbx, [rdi + 11 * 8]",
    "lea rsp, [rdi + 17 * 8]",
    "iretq",
);

#[repr(C)]
struct Answer {
    value: u64,
    there: u64,
}

unsafe extern "C" {
    fn postern_probe_msr(msr: u32) -> Answer;
    fn postern_probe_msr_at();
    fn postern_probe_resume(frame: *const Context) -> !;
}

const _: () = {
    assert!(core::mem::offset_of!(Context, rip) == 17 * 8);
    assert!(core::mem::offset_of!(Context, r12) == 3 * 8 && core::mem::offset_of!(Context, rbx) == 11 * 8);
};

/// The value of a model-specific register, `None` if the processor hasn't it.
pub fn read_msr(msr: u32) -> Option<u64> {
    // SAFETY: reading a register has no effect; the exception that may come instead is this file's.
    let answer = unsafe { postern_probe_msr(msr) };
    (answer.there != 0).then_some(answer.value)
}

/// Goes on behind a probe, if it was one that raised the general-protection exception with this frame.
pub fn resume(frame: &Context) {
    if frame.kind.get() == 13 && frame.rip.get() == postern_probe_msr_at as *const () as u64 {
        // SAFETY: the frame of an exception in `postern_probe_msr`, which changes only registers that its caller gives up: the others are the frame's.
        unsafe { postern_probe_resume(frame) }
    }
}
