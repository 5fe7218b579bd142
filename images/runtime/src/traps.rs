// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt descriptor table (Intel SDM volume 3, section 6.14): 256 gates to small stubs. Exceptions
//! come to [`handle`], are reported with a register dump and end the guest; interrupts go to `irq::dispatch`.
//!
//! Some instructions are allowed to fault: each has an entry {its address, where to go on} in the section `.fixups`, and
//! goes on there with the carry flag set.

use crate::segments::{self, ForCpu, Pointer};
use crate::{cpu, exit, irq, println};
use core::arch::{asm, global_asm};

global_asm!(
    ".pushsection .text, \"ax\"",
    ".balign 16",
    "trap_stubs:",
    // Exceptions, with a whole frame. Vectors 8, 10 to 14, 17, 21, 29 and 30 push an error code; the others get a zero in its place.
    ".irp high, 0,1",
    ".irp low, 0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f",
    ".balign 16",
    ".if ((0x60227d00 >> 0x\\high\\low) & 1) == 0",
    "push 0",
    ".endif",
    "push 0x\\high\\low",
    "jmp trap_common",
    ".endr",
    ".endr",
    // Interrupts, with what a function may change: every instruction here lies between a device and its handler.
    ".irp high, 2,3,4,5,6,7,8,9,a,b,c,d,e,f",
    ".irp low, 0,1,2,3,4,5,6,7,8,9,a,b,c,d,e,f",
    ".balign 16",
    "push rax",
    "mov eax, 0x\\high\\low",
    "jmp interrupt_common",
    ".endr",
    ".endr",
    ".balign 16",
    "interrupt_common:",
    "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9", "push r10", "push r11",
    "cld",
    "mov edi, eax",
    "call {interrupt}",
    "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
    "iretq",
    ".balign 16",
    "trap_common:",
    "push rax", "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9", "push r10", "push r11",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    "cld",
    "mov rdi, rsp",
    "call {handle}",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
    "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
    "add rsp, 16",
    "iretq",
    ".popsection",
    handle = sym handle,
    interrupt = sym irq::dispatch,
);

unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 256];
    static __fixups: u8;
    static __fixups_end: u8;
}

/// What the stubs leave on the stack, lowest address first.
#[repr(C)]
pub struct Frame {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbp: u64,
    rbx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

static IDT: ForCpu<[[u64; 2]; 256]> = ForCpu::new([[0; 2]; 256]);

/// The two words of a present 64-bit interrupt gate.
fn gate(handler: u64, stack: u8) -> [u64; 2] {
    const INTERRUPT_GATE: u64 = 0x8e << 40;
    let low = (handler & 0xffff)
        | u64::from(segments::CODE) << 16
        | u64::from(stack) << 32
        | INTERRUPT_GATE
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

/// Fills and loads the table.
pub fn load() {
    // SAFETY: the symbol is the stubs' address; start-up code is the table's only user until the load.
    unsafe {
        let table = &mut *IDT.get();
        for (vector, entry) in table.iter_mut().enumerate() {
            let stack = if vector == 8 { segments::DOUBLE_FAULT_STACK } else { 0 };
            *entry = gate(&raw const trap_stubs[vector] as u64, stack);
        }
        let pointer = Pointer { limit: size_of::<[[u64; 2]; 256]>() as u16 - 1, base: IDT.get() };
        asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack, preserves_flags));
    }
}

/// Where to go on after a fault at `rip`, if that instruction may fault.
fn fixup(rip: u64) -> Option<u64> {
    let (start, end) = (&raw const __fixups as usize, &raw const __fixups_end as usize);
    // SAFETY: the linker script puts whole pairs of words between the two symbols, 8-byte aligned.
    let table = unsafe { core::slice::from_raw_parts(start as *const [u64; 2], (end - start) / 16) };
    table.iter().find(|entry| entry[0] == rip).map(|entry| entry[1])
}

extern "C" fn handle(frame: &mut Frame) {
    if let (6 | 13, Some(resume)) = (frame.vector, fixup(frame.rip)) {
        const CARRY: u64 = 1;
        frame.rip = resume;
        frame.rflags |= CARRY;
        return;
    }
    report(frame);
    exit::exit(exit::TRAP)
}

fn name(vector: u64) -> &'static str {
    const NAMES: [&str; 20] = [
        "divide error",
        "debug",
        "NMI",
        "breakpoint",
        "overflow",
        "bound range",
        "invalid opcode",
        "device not available",
        "double fault",
        "coprocessor overrun",
        "invalid TSS",
        "segment not present",
        "stack fault",
        "general protection",
        "page fault",
        "reserved",
        "x87 error",
        "alignment check",
        "machine check",
        "SIMD error",
    ];
    NAMES.get(vector as usize).unwrap_or(&"exception")
}

fn report(frame: &Frame) {
    println!(
        "guest trap {} ({}), error {:#x}, cr2 {:#x}",
        frame.vector,
        name(frame.vector),
        frame.error,
        cpu::cr2()
    );
    println!(
        "  rip {:016x} cs {:x} rflags {:x} rsp {:016x} ss {:x}",
        frame.rip, frame.cs, frame.rflags, frame.rsp, frame.ss
    );
    println!("  rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}", frame.rax, frame.rbx, frame.rcx, frame.rdx);
    println!("  rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}", frame.rsi, frame.rdi, frame.rbp, frame.r8);
    println!("  r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}", frame.r9, frame.r10, frame.r11, frame.r12);
    println!("  r13 {:016x} r14 {:016x} r15 {:016x}", frame.r13, frame.r14, frame.r15);
}

/// Loads an empty descriptor table and raises an exception: the CPU shuts down (triple fault). For tests of the hypervisor.
pub(crate) fn triple_fault() -> ! {
    let pointer = Pointer::<u8> { limit: 0, base: core::ptr::null() };
    // SAFETY: no handler will run any more; that is the point.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const pointer, options(noreturn)) }
}
