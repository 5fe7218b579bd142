// SPDX-License-Identifier: MIT OR Apache-2.0
//! Into the kernel and out of it where user level runs without the kernel in its address space. What is here is mapped in both (`isolation`):
//! it loads the kernel's address space and goes on in `entry`, where SYSCALL's targets are too, and on the way back loads the thread's as the last thing.
//!
//! An interrupt of user level pushes to the frame in the processor's [`Gate`](super::tables::Gate), from where it is copied into the thread's `Context`.
//! In the gate nothing of another thread is left when a thread runs: `scratch` is the thread's own at each exit, and the frame is [`clear`]ed on the long way
//! out. The short way is barred after an IRET, which leaves the thread's frame there.

use core::arch::global_asm;
use core::mem::offset_of;

use super::fpu;
use super::snippets::{exchange_bases, pop_registers, stubs};
use super::tables::{Gate, PerCpu, Tss, this};
use crate::arch::context::{Bases, Context, KIND_SYSCALL};
use crate::object::tcb::Tcb;
use crate::sync::KernelCell;

const FRAME: usize = offset_of!(PerCpu, gate) + offset_of!(Gate, frame);

/// What the code here reads and writes, beside the processor's [`Gate`].
#[repr(C, align(4096))]
pub struct Shared {
    /// For CR3 at entry; 0 where the kernel is in every address space.
    pub kernel_cr3: u64,
    nmis: u64,
    rest: [u64; 510],
}

/// The one there is.
#[unsafe(no_mangle)]
pub static POSTERN_GATE: KernelCell<Shared> =
    KernelCell::new(Shared { kernel_cr3: 0, nmis: 0, rest: [0; 510] });

global_asm!(
    r#"
.section .text.gate, "ax"
.global gate_stubs
.p2align 4
gate_stubs:
"#,
    stubs!("gate_trap"),
    r#"
.p2align 4
gate_trap:
    test byte ptr [rsp + 24], 3
    jz 2f
    swapgs
    mov gs:[{scratch}], rax
    mov rax, [rip + POSTERN_GATE]
    mov cr3, rax
    mov rsp, gs:[{context_end}]
    push qword ptr gs:[{frame} + 56]
    push qword ptr gs:[{frame} + 48]
    push qword ptr gs:[{frame} + 40]
    push qword ptr gs:[{frame} + 32]
    push qword ptr gs:[{frame} + 24]
    push qword ptr gs:[{frame} + 16]
    push qword ptr gs:[{frame} + 8]
    mov rax, gs:[{scratch}]
    jmp trap_from_user
2:  jmp trap_from_kernel

// As gate_return; on the way, the segment bases are stored to rdx, and the thread's are loaded.
.global gate_return_with_bases
.p2align 6
gate_return_with_bases:
"#,
    exchange_bases!("rdx"),
    r#"
    swapgs
// Returns to user level; rdi is the thread's Context, rsi what CR3 gets.
.global gate_return
gate_return:
    mov rsp, rdi
    cmp qword ptr [rsp + 15 * 8], {syscall}
"#,
    pop_registers!("qword ptr gs:[{scratch}]"),
    r#"
    jne 5f
    mov rsp, [rsp + 40]
    mov cr3, rsi
    mov rsi, gs:[{scratch}]
    swapgs
    sysretq
5:  add rsp, 16
    pop qword ptr gs:[{frame} + 24]
    pop qword ptr gs:[{frame} + 32]
    pop qword ptr gs:[{frame} + 40]
    pop qword ptr gs:[{frame} + 48]
    pop qword ptr gs:[{frame} + 56]
    or byte ptr gs:[{special}], {framed}
    mov rsp, gs:[{frame_at}]
    mov cr3, rsi
    mov rsi, gs:[{scratch}]
    swapgs
    iretq

// An NMI is counted and ignored; it has a stack of its own and touches no register.
.global nmi_entry
nmi_entry:
    lock inc qword ptr [rip + POSTERN_GATE + 8]
    iretq

// As debug_entry.
.global gate_debug
gate_debug:
    test byte ptr [rsp + 8], 3
    jz 6f
    swapgs
    mov gs:[{scratch}], rax
    mov rax, [rip + POSTERN_GATE]
    mov cr3, rax
    mov rax, rsp
    jmp debug_from_user
6:  push rax
    lea rax, [rip + gate_syscall]
    cmp rax, [rsp + 8]
    je 7f
    lea rax, [rip + gate_syscall_tagged]
    cmp rax, [rsp + 8]
    je 7f
    pop rax
    push 0
    push 1
    jmp 8f
7:  pop rax
    iretq

// Double fault and machine check end the kernel, wherever they come from; each has a stack of its own.
.global double_fault_entry
double_fault_entry:
    push 8
    jmp 8f
.global machine_check_entry
machine_check_entry:
    push 0
    push 18
8:  push rax
    mov rax, [rip + POSTERN_GATE]
    test rax, rax
    jz 9f
    mov cr3, rax
9:  pop rax
    jmp trap_from_kernel
.text
"#,
    context_end = const offset_of!(PerCpu, tss) + offset_of!(Tss, rsp),
    scratch = const offset_of!(PerCpu, gate) + offset_of!(Gate, scratch),
    frame_at = const offset_of!(PerCpu, gate) + offset_of!(Gate, frame_at),
    frame = const FRAME,
    syscall = const KIND_SYSCALL,
    special = const fpu::SPECIAL,
    framed = const fpu::FRAMED,
    bases = const offset_of!(Tcb, bases),
    fs = const offset_of!(Bases, fs),
    gs = const offset_of!(Bases, gs),
);

const _: () = {
    assert!(offset_of!(Shared, nmis) == 8 && FRAME.is_multiple_of(16));
    assert!(offset_of!(Context, rip) == 17 * 8 && offset_of!(Context, ss) == 21 * 8);
};

unsafe extern "C" {
    /// Target of debug exceptions.
    pub fn gate_debug();
    /// Target of NMIs, in any case.
    pub fn nmi_entry();
    /// Target of double faults, in any case.
    pub fn double_fault_entry();
    /// Target of machine checks, in any case.
    pub fn machine_check_entry();
    fn gate_stubs();
    /// Returns to user level, in the address space that `cr3` is for.
    ///
    /// # Safety
    /// The context is sanitised, and the address space is its thread's. There is no other thread's frame in the gate ([`clear`]).
    pub fn gate_return(context: *const Context, cr3: u64) -> !;
    /// As [`gate_return`]; on the way, the segment bases are stored to `old`, and those of the context's thread are loaded.
    pub fn gate_return_with_bases(context: *const Context, cr3: u64, old: *const Bases) -> !;
}

/// Forgets what is in the processor's frame.
pub fn clear() {
    this().gate.frame.iter().for_each(|word| word.set(0));
    this().fpu.forget_frame();
}

/// Address of the entry stub of a vector; stubs are 16 bytes.
pub fn stub(vector: usize) -> u64 {
    gate_stubs as *const () as u64 + 16 * vector as u64
}
