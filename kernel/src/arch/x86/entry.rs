// SPDX-License-Identifier: MIT OR Apache-2.0
//! Into the kernel and out of it.
//!
//! From user level, SYSCALL and every interrupt and exception push the registers straight into the current thread's `Context`: the
//! processor's stack pointer is its end. Then the processor's one kernel stack is used, from its top; nothing on it survives. The
//! way out is always [`leave`]: it chooses a thread and restores its registers.

use core::arch::global_asm;
use core::mem::{offset_of, size_of};

use sel4_abi::object::tag;
use sel4_abi::{TCB_FLAG_FPU_DISABLED, syscall as number};

use super::snippets::{exchange_bases, pop_registers, stubs};
use super::tables::{Gate, PerCpu, Tss, set_context};
use super::tlb::{self, Isolated, IsolatedTagged, Plain, Tagged, Way};
use super::{apic, cpu, gate, probe, smp};
use crate::arch::context::{Bases, Context, KIND_SYSCALL};
use crate::fastpath::{self, Other, Signalled};
use crate::fault::{self, Fault};
use crate::iommu;
use crate::irq;
use crate::kernel::Kernel;
use crate::object::notification::Notification;
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::object::vcpu;
use crate::ptr::Ptr;
use crate::stretch;

const _: () = {
    assert!(size_of::<Context>() == 22 * 8 && offset_of!(Context, kind) == 15 * 8);
    assert!(offset_of!(Context, rcx) == 13 * 8 && offset_of!(Context, r11) == 4 * 8);
    assert!(offset_of!(Tcb, context) == 0);
};

const CONTEXT_END: usize = offset_of!(PerCpu, tss) + offset_of!(Tss, rsp);
const KERNEL_STACK: usize = offset_of!(PerCpu, kernel_stack);

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

.macro SYSCALL call, reply_recv, send, isolated
    swapgs
    mov gs:[{scratch}], rsp
    .if \isolated
    mov rsp, [rip + POSTERN_GATE]
    mov cr3, rsp
    .endif
    mov rsp, gs:[{context_end}]
    // The segments are what they always are.
    lea rsp, [rsp - 8]
    push qword ptr gs:[{scratch}]
    push r11
    mov [rsp - 16], rcx
    lea rsp, [rsp - 24]
    push {syscall}
    PUSH_REGISTERS
    mov rsp, gs:[{kernel_stack}]
    cmp rdx, {call}
    jne 1f
    call \call
1:  cmp rdx, {reply_recv}
    jne 2f
    call \reply_recv
2:  cmp rdx, {vm_enter}
    jne 3f
    call {handle_vm_enter}
3:  cmp rdx, {send}
    jne 4f
    call \send
4:  call {handle_syscall}
    ud2
.endm

.section .text.hot, "ax"
.global syscall_entry
.p2align 6
syscall_entry:
    SYSCALL {handle_call}, {handle_reply_recv}, {handle_send}, 0
.global syscall_entry_tagged
.p2align 6
syscall_entry_tagged:
    SYSCALL {handle_call_tagged}, {handle_reply_recv_tagged}, {handle_send}, 0

// These two are part of `gate`: they run in both address spaces.
.section .text.gate, "ax"
.global gate_syscall
.p2align 6
gate_syscall:
    SYSCALL {handle_call_isolated}, {handle_reply_recv_isolated}, {handle_send_isolated}, 1
.global gate_syscall_tagged
.p2align 6
gate_syscall_tagged:
    SYSCALL {handle_call_isolated_tagged}, {handle_reply_recv_isolated_tagged}, {handle_send_isolated_tagged}, 1

.section .text.hot, "ax"

.global trap_stubs
.p2align 4
trap_stubs:
"#,
    stubs!("trap_common"),
    r#"
.p2align 4
trap_common:
    test byte ptr [rsp + 24], 3
    jz 4f
    swapgs
.global trap_from_user
trap_from_user:
    PUSH_REGISTERS
    mov rdi, rsp
    mov rsp, gs:[{kernel_stack}]
    cld
    call {handle_trap}
    ud2
.global trap_from_kernel
trap_from_kernel:
4:  PUSH_REGISTERS
    mov rdi, rsp
    and rsp, -16
    cld
    call {handle_kernel_trap}
    ud2

// Returns to user level; rdi is the thread's Context.
.global return_to_user
.p2align 6
return_to_user:
    swapgs
3:  mov rsp, rdi
    cmp qword ptr [rsp + 15 * 8], {syscall}
"#,
    pop_registers!(),
    r#"
    jne 4f
    // RCX and R11 are what SYSCALL made them, the thread's RIP and RFLAGS (`Context::kind`).
    mov rsp, [rsp + 40]
    sysretq
4:  add rsp, 16
    iretq

// As return_to_user; on the way, the segment bases are stored to rsi, and the thread's are loaded.
.global return_with_bases
.p2align 6
return_with_bases:
"#,
    exchange_bases!("rsi"),
    r#"
    jmp 3b

// A debug exception has a stack of its own, since one that SYSCALL held up (a single step, a breakpoint behind MOV SS) can come before
// the stack pointer is the kernel's. SYSCALL has cleared TF: so that one is dropped. One of user level goes the way of all exceptions.
.global debug_entry
debug_entry:
    test byte ptr [rsp + 8], 3
    jz 5f
    swapgs
    mov gs:[{scratch}], rax
    mov rax, rsp
.global debug_from_user
debug_from_user:
    mov rsp, gs:[{context_end}]
    push qword ptr [rax + 32]
    push qword ptr [rax + 24]
    push qword ptr [rax + 16]
    push qword ptr [rax + 8]
    push qword ptr [rax]
    push 0
    push 1
    mov rax, gs:[{scratch}]
    jmp trap_from_user
5:  push rax
    lea rax, [rip + syscall_entry]
    cmp rax, [rsp + 8]
    je 7f
    lea rax, [rip + syscall_entry_tagged]
    cmp rax, [rsp + 8]
    je 7f
    pop rax
    push 0
    push 1
    jmp trap_from_kernel
7:  pop rax
    iretq

// Waits for an interrupt, on an empty stack.
.global idle_loop
idle_loop:
    mov rsp, gs:[{kernel_stack}]
    sti
    hlt
    cli
    jmp idle_loop

.text
"#,
    context_end = const CONTEXT_END,
    kernel_stack = const KERNEL_STACK,
    scratch = const offset_of!(PerCpu, gate) + offset_of!(Gate, scratch),
    syscall = const KIND_SYSCALL,
    bases = const offset_of!(Tcb, bases),
    fs = const offset_of!(Bases, fs),
    gs = const offset_of!(Bases, gs),
    call = const number::CALL,
    reply_recv = const number::REPLY_RECV,
    vm_enter = const number::VM_ENTER,
    send = const number::SEND,
    handle_call = sym handle_call::<Plain>,
    handle_reply_recv = sym handle_reply_recv::<Plain>,
    handle_call_tagged = sym handle_call::<Tagged>,
    handle_reply_recv_tagged = sym handle_reply_recv::<Tagged>,
    handle_vm_enter = sym handle_vm_enter,
    handle_send = sym handle_send::<Plain>,
    handle_call_isolated = sym handle_call::<Isolated>,
    handle_reply_recv_isolated = sym handle_reply_recv::<Isolated>,
    handle_send_isolated = sym handle_send::<Isolated>,
    handle_call_isolated_tagged = sym handle_call::<IsolatedTagged>,
    handle_reply_recv_isolated_tagged = sym handle_reply_recv::<IsolatedTagged>,
    handle_send_isolated_tagged = sym handle_send::<IsolatedTagged>,
    handle_syscall = sym handle_syscall,
    handle_trap = sym handle_trap,
    handle_kernel_trap = sym handle_kernel_trap,
);

unsafe extern "C" {
    /// Target of SYSCALL.
    pub fn syscall_entry();
    /// The same where translations have identifiers.
    pub fn syscall_entry_tagged();
    /// Target of SYSCALL where the kernel is isolated.
    pub fn gate_syscall();
    /// The same where translations have identifiers.
    pub fn gate_syscall_tagged();
    /// Target of debug exceptions.
    pub fn debug_entry();
    fn trap_stubs();
    fn return_to_user(context: *const Context) -> !;
    fn return_with_bases(context: *const Context, old: *const Bases) -> !;
    fn idle_loop() -> !;
}

/// Address of the entry stub of a vector; stubs are 16 bytes.
pub fn stub(vector: usize) -> u64 {
    trap_stubs as *const () as u64 + 16 * vector as u64
}

/// Any system call.
extern "C" fn handle_syscall() -> ! {
    let k = take_kernel();
    crate::syscall::handle(k);
    leave(k)
}

/// The rest of a system call that couldn't go the short way.
#[cold]
#[inline(never)]
fn syscall(k: &mut Kernel) -> ! {
    crate::syscall::handle(k);
    leave(k)
}

/// Takes the kernel for a system call. If that was made void while this processor waited, it looks afresh what there is to do.
#[inline(always)]
fn take_kernel() -> &'static mut Kernel {
    if smp::are_many() {
        return take_kernel_among_many();
    }
    smp::acquire_alone()
}

#[cold]
#[inline(never)]
fn take_kernel_among_many() -> &'static mut Kernel {
    let k = smp::acquire();
    if is_void(k) {
        leave(k)
    }
    k
}

/// True if what this processor came for was made void while it waited: then it looks afresh what there is to do.
#[inline(always)]
fn is_void(k: &mut Kernel) -> bool {
    smp::are_many() && core::mem::take(&mut k.sched.disturbed)
}

/// `Call`; the arguments are its RDI and RSI. No call in here returns, so that the compiler need not keep any register over one; the same
/// goes for [`handle_reply_recv`].
extern "C" fn handle_call<W: Way>(address: u64, info: u64) -> ! {
    if !cpu::is_ordinary() {
        call_in_full(address, info)
    }
    let k = smp::acquire_alone();
    // SAFETY: it is the current thread that makes system calls.
    let tcb = unsafe { k.sched.only().current.unwrap_unchecked() };
    match fastpath::call::<false>(k, tcb, address, info) {
        Ok(next) => resume_fast::<W>(k, next),
        Err(Other::Full) => call_in_full(address, info),
        Err(Other::Ordinary) => syscall(k),
    }
}

/// The same where more may be necessary: an exchange of what is in the processor, or counting limited time.
#[cold]
#[inline(never)]
fn call_in_full(address: u64, info: u64) -> ! {
    let k = take_kernel();
    // SAFETY: it is the current thread that makes system calls.
    let tcb = unsafe { k.sched.current.unwrap_unchecked() };
    match fastpath::call::<true>(k, tcb, address, info) {
        Ok(next) => resume(k, next),
        Err(_) => syscall(k),
    }
}

/// `ReplyRecv`.
extern "C" fn handle_reply_recv<W: Way>(address: u64, info: u64) -> ! {
    if !cpu::is_ordinary() {
        reply_recv_in_full(address, info)
    }
    let k = smp::acquire_alone();
    // SAFETY: it is the current thread that makes system calls.
    let tcb = unsafe { k.sched.only().current.unwrap_unchecked() };
    match fastpath::reply_recv::<false>(k, tcb, address, info) {
        Ok(next) => resume_fast::<W>(k, next),
        Err(Other::Full) => reply_recv_in_full(address, info),
        Err(Other::Ordinary) => syscall(k),
    }
}

/// The same where more may be necessary: an exchange of what is in the processor, or counting limited time.
#[cold]
#[inline(never)]
fn reply_recv_in_full(address: u64, info: u64) -> ! {
    let k = take_kernel();
    // SAFETY: it is the current thread that makes system calls.
    let tcb = unsafe { k.sched.current.unwrap_unchecked() };
    match fastpath::reply_recv::<true>(k, tcb, address, info) {
        Ok(next) => resume(k, next),
        Err(_) => syscall(k),
    }
}

/// `Send`. After a signal for which nobody waits everything is as it was at entry.
extern "C" fn handle_send<W: Way>(address: u64, info: u64) -> ! {
    if cpu::is_alone() {
        let k = smp::acquire_alone();
        // SAFETY: it is the current thread that makes system calls.
        let tcb = unsafe { k.sched.only().current.unwrap_unchecked() };
        match fastpath::signal(tcb, address, info) {
            Some(Signalled::Noted) => {
                stretch::end();
                // SAFETY: the processor holds all that is the thread's, since it has just come from there, out of its address space.
                unsafe { go_out::<W>(&tcb.context, W::stay(tcb.space.get()), None) }
            }
            Some(Signalled::Wakes(n, bits)) => wake(k, n, bits),
            None => syscall(k),
        }
    }
    handle_syscall()
}

/// A signal that may wake somebody.
#[inline(never)]
fn wake(k: &mut Kernel, n: Ptr<Notification>, bits: u64) -> ! {
    crate::ipc::signal(k, n, bits);
    leave(k)
}

/// `VMEnter`.
extern "C" fn handle_vm_enter() -> ! {
    let k = take_kernel();
    match k.sched.current {
        Some(tcb) if vcpu::enter_from_syscall(&tcb) => leave_to(k, tcb),
        _ => syscall(k),
    }
}

/// Leaves the kernel to `t`, the current thread: nothing has been done that could make another one run.
#[inline(always)]
fn leave_to(k: &mut Kernel, t: Ptr<Tcb>) -> ! {
    if smp::are_many() {
        leave(k)
    }
    if t.state.get() == ThreadState::RunningVm {
        set_context(end_of_context(t));
        vcpu::run(k, t);
    }
    resume(k, t)
}

/// [`resume`] on an ordinary processor.
#[inline(always)]
fn resume_fast<W: Way>(k: &mut Kernel, next: Ptr<Tcb>) -> ! {
    if next.root_epoch.get() != k.asids.epoch || next.flags.get() & TCB_FLAG_FPU_DISABLED != 0 {
        resume(k, next)
    }
    set_context(end_of_context(next));
    stretch::end();
    // SAFETY: its root has just been found to be its own, and the processor is ordinary, so there is no lock to be given back and what
    // is left to do is an exchange. The context is sanitised wherever user level writes it.
    unsafe {
        let (cr3, old) = cpu::activate_ordinary::<W>(next);
        go_out::<W>(&next.context, cr3, old)
    }
}

/// Returns to user level, out of an isolated kernel with `cr3`. If there is `old`, the segment bases are stored there and the thread's are loaded.
///
/// # Safety
/// The context is sanitised, and nothing else is left to be done.
#[inline(always)]
unsafe fn go_out<W: Way>(context: &Context, cr3: u64, old: Option<*const Bases>) -> ! {
    // SAFETY: by the caller's promise.
    unsafe {
        match (W::MODE.isolated, old) {
            (false, None) => return_to_user(context),
            (false, Some(old)) => return_with_bases(context, old),
            (true, None) => gate::gate_return(context, cr3),
            (true, Some(old)) => gate::gate_return_with_bases(context, cr3, old),
        }
    }
}

/// An interrupt or exception of user level; the registers are in the current thread's context.
extern "C" fn handle_trap(context: *const Context) -> ! {
    // While this processor waits for the kernel, another one may change the context, or end the thread.
    // SAFETY: the entry code wrote it just now.
    let (vector, code) = unsafe { ((*context).kind.get(), (*context).error.get()) };
    let address = if vector == 14 { x86_64::registers::control::Cr2::read_raw() } else { 0 };
    let k = smp::acquire();
    if is_void(k) {
        // Faults come again. An instruction that is over (debug, breakpoint, overflow) does not, if the thread is as it was.
        let lost = matches!(vector, 1 | 3 | 4);
        let same = k.sched.current.filter(|t| t.is_runnable() && t.context.kind.get() == vector);
        match same {
            Some(t) if lost => fault::raise(k, t, Fault::UserException { vector, code }),
            _ if vector >= 32 => interrupt(k, vector as u8),
            _ => {}
        }
        leave(k)
    }
    if let Some(t) = k.sched.current {
        match vector {
            14 => fault::raise(k, t, Fault::Vm { address, code }),
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
        probe::resume(r);
        panic!(
            "exception {vector} in the kernel, code {:#x}, at {:#x}, stack {:#x}, CR2 {:#x}",
            r.error.get(),
            r.rip.get(),
            r.rsp.get(),
            x86_64::registers::control::Cr2::read_raw()
        );
    }
    let k = smp::acquire();
    k.sched.disturbed = false;
    interrupt(k, vector as u8);
    leave(k)
}

/// Serves a CPU interrupt.
pub fn interrupt(k: &mut Kernel, vector: u8) {
    const FIRST: u8 = sel4_abi::irq::VECTOR_BASE;
    const LAST: u8 = FIRST + sel4_abi::irq::MAX_USER_IRQ as u8;
    match vector {
        apic::SPURIOUS_VECTOR => return,
        apic::TIMER_VECTOR => k.timer_fired(),
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
        if k.looks_before_choice() {
            pause(k);
        }
        if k.schedule() {
            continue;
        }
        let Some(t) = k.sched.current else {
            smp::release();
            // SAFETY: the stack is not needed any more; every interrupt enters the kernel afresh.
            unsafe { idle_loop() }
        };
        if t.state.get() == ThreadState::RunningVm {
            set_context(end_of_context(t));
            vcpu::run(k, t);
            smp::forget_what_was_read(k);
            continue;
        }
        resume(k, t)
    }
}

/// Takes the interrupts that are pending, between what was done in this kernel entry and the choice of who runs next.
#[cold]
#[inline(never)]
fn pause(k: &mut Kernel) {
    if !crate::kernel::is_wanted() {
        return stretch::between();
    }
    k.pauses();
    take_pending()
}

/// Leaves the kernel to `t`, the current thread, which runs at user level.
#[inline(never)]
fn resume(k: &mut Kernel, t: Ptr<Tcb>) -> ! {
    set_context(end_of_context(t));
    if t.root_epoch.get() != k.asids.epoch {
        look_up_root(k, t);
    }
    if tlb::mode().isolated {
        resume_isolated(t)
    }
    cpu::activate(t);
    smp::release();
    // SAFETY: the context is the thread's own, sanitised wherever user level writes it.
    unsafe { return_to_user(&t.context) }
}

/// The end of [`resume`] where user level runs without the kernel.
#[cold]
#[inline(never)]
fn resume_isolated(t: Ptr<Tcb>) -> ! {
    cpu::activate_registers(t);
    let cr3 = tlb::prepare(t.space.get());
    gate::clear();
    smp::release();
    // SAFETY: as in `resume`, and the address space is the thread's.
    unsafe { gate::gate_return(&t.context, cr3) }
}

fn end_of_context(t: Ptr<Tcb>) -> u64 {
    t.addr() + size_of::<Context>() as u64
}

/// Finds the thread's root table: its own if it has one whose identifier is still its own.
#[cold]
#[inline(never)]
fn look_up_root(k: &Kernel, t: Ptr<Tcb>) {
    let root = t.slots[slot::VSPACE].raw().root(tag::PML4);
    let own = root.filter(|root| root.asid != 0 && k.asids.root(root.asid) == Some(root.paddr));
    t.space.set(own.map_or_else(tlb::nobodys, tlb::space));
    t.root_epoch.set(k.asids.epoch);
}

/// Takes the interrupts that are pending and serves them: for the way back from a guest, and between a long operation and
/// the choice of who runs next. The processor delivers them to the ordinary
/// entry, in a window between STI and CLI, on the kernel's stack, and that leaves the kernel by itself.
pub fn take_pending() -> ! {
    smp::release();
    // SAFETY: as for the idle loop: the stack is not needed any more, so it begins anew (a guest can be interrupted any number of
    // times in a row), and an interrupt enters the kernel afresh. Where none comes after all, the kernel is left here.
    unsafe {
        core::arch::asm!(
            "mov rsp, gs:[{stack}]", "sti", "nop", "nop", "cli", "call {leave}", "ud2",
            stack = const KERNEL_STACK, leave = sym leave_again, options(noreturn)
        )
    }
}

extern "C" fn leave_again() -> ! {
    let k = smp::acquire();
    k.sched.disturbed = false;
    leave(k)
}
