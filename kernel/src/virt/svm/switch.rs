// SPDX-License-Identifier: MIT OR Apache-2.0
//! The world switch (APM 15.5, 15.6): from the kernel into the guest and back, once.
//!
//! VMRUN and #VMEXIT switch the segments CS, SS, DS, ES, the descriptor tables, the control registers, EFER, RIP, RSP, RAX
//! and RFLAGS. VMLOAD and VMSAVE switch FS, GS, TR, LDTR, KernelGSBase and the system-call registers. The rest of the
//! general registers is done here.
//!
//! Between CLGI and STGI nothing interrupts. The host's interrupt flag is set for VMRUN, because with V_INTR_MASKING it
//! decides whether a physical interrupt ends the guest; it is clear again before STGI, so the interrupt stays pending. A
//! non-maskable interrupt is taken at STGI, when the host's TR is back and its gate works.
//!
//! Steps against speculation that every entry takes come after the last access to anything that isn't the guest's, but for what VMRUN itself saves
//! of the host.
//!
//! After #VMEXIT no register keeps a value of the guest's, nor, after a refused VMRUN, one of the VMM's.

use core::arch::global_asm;
use core::mem::offset_of;

use ::mitigations::processor::MSR_FLUSH_CMD;
use ::mitigations::{Steps, fill};

use super::object::SvmVcpu;

/// The kernel's data segment (`arch::x86::tables`).
const DATA_SEGMENT: u16 = 0x10;

unsafe extern "C" {
    /// Runs the guest of `vcpu`, whose control block is at physical `vmcb`; `host` is the physical address of the host's
    /// VMSAVE area. Interrupts are off before and after.
    ///
    /// # Safety
    /// The control block's nested root, permission maps and intercepts are the kernel's; XCR0 and the extended state are
    /// the guest's. The processor can take the steps.
    pub fn postern_svm_switch(vcpu: *mut SvmVcpu, vmcb: u64, host: u64);
}

global_asm!(
    ".pushsection .text.postern_svm_switch, \"ax\", @progbits",
    ".balign 64",
    ".global postern_svm_switch",
    "postern_svm_switch:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdi",
    "push rdx",
    "mov rax, rdx",
    "vmsave rax",
    "mov rax, rsi",
    "test byte ptr [rdi + {steps}], {each_entry}",
    "jnz 20f",
    "21:",
    "mov rbx, [rdi + {regs} + 8]",
    "mov rcx, [rdi + {regs} + 16]",
    "mov rdx, [rdi + {regs} + 24]",
    "mov rsi, [rdi + {regs} + 32]",
    "mov rbp, [rdi + {regs} + 48]",
    "mov r8,  [rdi + {regs} + 56]",
    "mov r9,  [rdi + {regs} + 64]",
    "mov r10, [rdi + {regs} + 72]",
    "mov r11, [rdi + {regs} + 80]",
    "mov r12, [rdi + {regs} + 88]",
    "mov r13, [rdi + {regs} + 96]",
    "mov r14, [rdi + {regs} + 104]",
    "mov r15, [rdi + {regs} + 112]",
    "mov rdi, [rdi + {regs} + 40]",
    "clgi",
    "sti",
    "vmload rax",
    "vmrun rax",
    // RAX and RSP are the host's again, whether the guest ran or was refused.
    "vmsave rax",
    "mov rax, [rsp + 8]",
    "mov [rax + {regs} + 8], rbx",
    "mov [rax + {regs} + 16], rcx",
    "mov [rax + {regs} + 24], rdx",
    "mov [rax + {regs} + 32], rsi",
    "mov [rax + {regs} + 40], rdi",
    "mov [rax + {regs} + 48], rbp",
    "mov [rax + {regs} + 56], r8",
    "mov [rax + {regs} + 64], r9",
    "mov [rax + {regs} + 72], r10",
    "mov [rax + {regs} + 80], r11",
    "mov [rax + {regs} + 88], r12",
    "mov [rax + {regs} + 96], r13",
    "mov [rax + {regs} + 104], r14",
    "mov [rax + {regs} + 112], r15",
    "pop rax",
    "vmload rax",
    "cli",
    "stgi",
    "pop rdi",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "xor eax, eax",
    "xor ecx, ecx",
    "xor edx, edx",
    "xor esi, esi",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "xor r11d, r11d",
    "ret",
    // `mitigations::fill` counts these instructions.
    "20:",
    "movzx r8d, byte ptr [rdi + {steps}]",
    "test r8b, {fill}",
    "jz 23f",
    "mov rdx, [rip + POSTERN_FILL_END]",
    "mov rbx, -{fill_bytes}",
    "22:",
    "movzx r9d, byte ptr [rdx + rbx]",
    "add rbx, {line}",
    "jnz 22b",
    "lfence",
    "inc qword ptr [rdi + {l1d_flushes}]",
    "23:",
    "test r8b, {flush}",
    "jz 24f",
    "mov ecx, {flush_cmd}",
    "mov eax, 1",
    "xor edx, edx",
    "wrmsr",
    "inc qword ptr [rdi + {l1d_flushes}]",
    "24:",
    "test r8b, {buffers}",
    "jz 25f",
    "inc qword ptr [rdi + {buffer_clears}]",
    // The operand is a segment that can be written: with others VERW may do less.
    "verw word ptr [rip + 26f]",
    "25:",
    "mov rax, rsi",
    "jmp 21b",
    ".balign 2",
    "26:",
    ".word {data_segment}",
    ".popsection",
    regs = const offset_of!(SvmVcpu, registers),
    steps = const offset_of!(SvmVcpu, steps),
    l1d_flushes = const offset_of!(SvmVcpu, counters.l1d_flushes),
    buffer_clears = const offset_of!(SvmVcpu, counters.buffer_clears),
    each_entry = const Steps::EACH_ENTRY.bits(),
    fill = const Steps::L1D_FILL.bits(),
    flush = const Steps::L1D_FLUSH.bits(),
    buffers = const Steps::BUFFERS.bits(),
    fill_bytes = const fill::BYTES,
    line = const fill::LINE,
    flush_cmd = const MSR_FLUSH_CMD,
    data_segment = const DATA_SEGMENT,
);
