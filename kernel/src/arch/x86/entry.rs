// SPDX-License-Identifier: MIT OR Apache-2.0
//! Into the kernel and out of it.
//!
//! From user level, SYSCALL and every interrupt and exception push the registers straight into the current thread's `Context`: the
//! processor's stack pointer is its end. Then the kernel's one stack is used, from its top; nothing on it survives. The
//! way out is always [`leave`]: it chooses a thread and restores its registers.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use sel4_abi::object::tag;

use super::tables::{PerCpu, set_context};
use super::{apic, cpu};
use crate::arch::context::{Context, KIND_SYSCALL, USER_CS, USER_SS};
use crate::fault::{self, Fault};
use crate::iommu;
use crate::irq;
use crate::kernel::{KERNEL, Kernel};
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::object::vcpu;
use crate::ptr::Ptr;

const _: () = {
    assert!(offset_of!(PerCpu, context_end) == 0);
    assert!(offset_of!(PerCpu, kernel_stack) == 8);
    assert!(offset_of!(PerCpu, scratch) == 16);
    assert!(size_of::<Context>() == 22 * 8 && offset_of!(Context, kind) == 15 * 8);
    assert!(offset_of!(Tcb, context) == 0);
};

global_asm!(
    r#"
.macro PUSH_REGISTERS
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
.endm

.section .text.hot, "ax"
.global syscall_entry
.p2align 6
syscall_entry:
    swapgs
    mov gs:[16], rsp
    mov rsp, gs:[0]
    push {ss}
    push qword ptr gs:[16]
    push r11
    push {cs}
    push rcx
    push 0
    push {syscall}
    PUSH_REGISTERS
    mov rsp, gs:[8]
    call {handle_syscall}
    ud2

.global trap_stubs
.p2align 4
trap_stubs:
.set vector, 0
.rept 256
    .p2align 4
    .if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
    push 0
    .endif
    push vector
    jmp trap_common
    .set vector, vector + 1
.endr

.p2align 4
trap_common:
    test byte ptr [rsp + 24], 3
    jz 2f
    swapgs
    PUSH_REGISTERS
    mov rsp, gs:[8]
    cld
    call {handle_trap}
    ud2
2:  PUSH_REGISTERS
    mov rdi, rsp
    and rsp, -16
    cld
    call {handle_kernel_trap}
    ud2

// Returns to user level; rdi is the thread's Context.
.global return_to_user
.p2align 6
return_to_user:
    mov rsp, rdi
    cmp qword ptr [rsp + 15 * 8], {syscall}
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    jne 3f
    mov rcx, [rsp + 16]
    mov r11, [rsp + 32]
    mov rsp, [rsp + 40]
    swapgs
    sysretq
3:  add rsp, 16
    swapgs
    iretq

// An NMI is counted and ignored; it has a stack of its own and touches no register.
.global nmi_entry
nmi_entry:
    lock inc qword ptr [rip + nmi_count]
    iretq

// Double fault and machine check end the kernel, wherever they come from; each has a stack of its own.
.global double_fault_entry
double_fault_entry:
    push 8
    jmp 4f
.global machine_check_entry
machine_check_entry:
    push 0
    push 18
4:  PUSH_REGISTERS
    mov rdi, rsp
    and rsp, -16
    cld
    call {handle_kernel_trap}
    ud2

// Waits for an interrupt, on an empty stack.
.global idle_loop
idle_loop:
    mov rsp, gs:[8]
    sti
    hlt
    cli
    jmp idle_loop

.section .bss
.p2align 3
nmi_count: .quad 0
.text
"#,
    ss = const USER_SS,
    cs = const USER_CS,
    syscall = const KIND_SYSCALL,
    handle_syscall = sym handle_syscall,
    handle_trap = sym handle_trap,
    handle_kernel_trap = sym handle_kernel_trap,
);

unsafe extern "C" {
    /// Target of SYSCALL.
    pub fn syscall_entry();
    /// Target of NMIs.
    pub fn nmi_entry();
    /// Target of double faults.
    pub fn double_fault_entry();
    /// Target of machine checks.
    pub fn machine_check_entry();
    fn trap_stubs();
    fn return_to_user(context: *const Context) -> !;
    fn idle_loop() -> !;
}

/// Address of the entry stub of a vector; stubs are 16 bytes.
pub fn stub(vector: usize) -> u64 {
    trap_stubs as *const () as u64 + 16 * vector as u64
}

fn kernel() -> &'static mut Kernel {
    // SAFETY: each entry takes the kernel once, on an empty stack; entries don't nest.
    unsafe { KERNEL.get() }
}

extern "C" fn handle_syscall() -> ! {
    let k = kernel();
    crate::syscall::handle(k);
    leave(k)
}

/// An interrupt or exception of user level; the registers are in the current thread's context.
extern "C" fn handle_trap() -> ! {
    let k = kernel();
    if let Some(t) = k.sched.current {
        let (vector, code) = (t.context.kind.get(), t.context.error.get());
        match vector {
            14 => {
                let address = x86_64::registers::control::Cr2::read_raw();
                fault::raise(k, t, Fault::Vm { address, code });
            }
            // INT n through a gate that user level may not use: an unknown system call, as the ABI wants it.
            13 if code & 2 != 0 && code >> 3 > u64::from(irq::vector(sel4_abi::irq::MAX_USER_IRQ as u8)) => {
                fault::raise(k, t, Fault::UnknownSyscall(code >> 3 << 24));
            }
            0..=31 => fault::raise(k, t, Fault::UserException { vector, code }),
            _ => interrupt(k, vector as u8),
        }
    }
    leave(k)
}

/// An interrupt of the idle processor, or a fault of the kernel's own.
extern "C" fn handle_kernel_trap(registers: *const Context) -> ! {
    // SAFETY: the entry code pushed them just now.
    let r = unsafe { &*registers };
    let vector = r.kind.get();
    if vector < 32 {
        panic!(
            "exception {vector} in the kernel, code {:#x}, at {:#x}, stack {:#x}, CR2 {:#x}",
            r.error.get(),
            r.rip.get(),
            r.rsp.get(),
            x86_64::registers::control::Cr2::read_raw()
        );
    }
    let k = kernel();
    interrupt(k, vector as u8);
    leave(k)
}

/// Serves a CPU interrupt.
pub fn interrupt(k: &mut Kernel, vector: u8) {
    const FIRST: u8 = sel4_abi::irq::VECTOR_BASE;
    const LAST: u8 = FIRST + sel4_abi::irq::MAX_USER_IRQ as u8;
    match vector {
        apic::SPURIOUS_VECTOR => return,
        apic::TIMER_VECTOR => k.sched.timer_fired(),
        iommu::FAULT_VECTOR => {
            if iommu::handle_fault_interrupt()
                && let Some((n, badge)) = k.dma_fault_target()
            {
                crate::ipc::signal(k, n, badge);
            }
        }
        FIRST..=LAST => irq::deliver(k, vector - FIRST),
        _ => {}
    }
    apic::end_of_interrupt();
}

/// Leaves the kernel: to the chosen thread, to its guest, or to wait for an interrupt.
pub fn leave(k: &mut Kernel) -> ! {
    loop {
        k.schedule();
        let Some(t) = k.sched.current else {
            // SAFETY: the stack is not needed any more; every interrupt enters the kernel afresh.
            unsafe { idle_loop() }
        };
        if t.state.get() == ThreadState::RunningVm {
            set_context(end_of_context(t));
            vcpu::run(k, t);
            continue;
        }
        set_context(end_of_context(t));
        cpu::activate(t, vspace_root(k, &t));
        // SAFETY: the context is the thread's own, sanitised wherever user level writes it.
        unsafe { return_to_user(&t.context) }
    }
}

fn end_of_context(t: Ptr<Tcb>) -> u64 {
    t.addr() + size_of::<Context>() as u64
}

/// The thread's root table, if it has one whose identifier is still its own.
#[inline]
fn vspace_root(k: &Kernel, t: &Tcb) -> Option<u64> {
    let root = t.slots[slot::VSPACE].raw().root(tag::PML4)?;
    (root.asid != 0 && k.asids.root(root.asid) == Some(root.paddr)).then_some(root.paddr)
}

/// Takes the interrupts that are pending and serves them: for the way back from a guest. The processor delivers them to the ordinary
/// entry, in a window between STI and CLI, on the kernel's stack, and that leaves the kernel by itself.
pub fn take_pending() -> ! {
    // SAFETY: as for the idle loop: the stack is not needed any more, so it begins anew (a guest can be interrupted any number of
    // times in a row), and an interrupt enters the kernel afresh. Where none comes after all, the kernel is left here.
    unsafe {
        core::arch::asm!(
            "mov rsp, gs:[8]", "sti", "nop", "nop", "cli", "call {leave}", "ud2",
            leave = sym leave_again, options(noreturn)
        )
    }
}

extern "C" fn leave_again() -> ! {
    leave(kernel())
}
