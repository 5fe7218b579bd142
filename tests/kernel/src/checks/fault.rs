// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults as messages, and what a reply to them does.

use kernel_tests::env::{HIGH, MAIN};
use kernel_tests::{Env, Failure, Me, Outcome, check, check_eq, thread};
use sel4::abi::syscall as call;
use sel4::{Fault, MessageInfo, UnknownSyscall, UserException};

kernel_tests::checks! {
    divide_error_is_vector_0,
    single_step_is_vector_1,
    invalid_opcode_is_vector_6,
    privileged_instructions_are_vector_13,
    breakpoint_is_a_fault_message,
    reply_to_an_exception_sets_instruction_pointer,
    reply_with_a_label_leaves_the_thread_stopped,
    avx_is_not_for_threads,
    unknown_syscall_shows_the_registers,
    debug_calls_are_unknown,
    reply_to_an_unknown_syscall_writes_registers,
    vmenter_without_vcpu_is_an_unknown_syscall,
    software_interrupt_is_an_unknown_syscall,
    fault_without_handler_stops_the_thread_only,
    fault_of_a_thread_is_badged,
    page_fault_is_answered_by_a_mapping,
}

core::arch::global_asm!(
    ".global kernel_tests_divide, kernel_tests_divide_at, kernel_tests_after",
    "kernel_tests_divide:",
    "xor edx, edx",
    "xor ecx, ecx",
    "mov eax, 1",
    "kernel_tests_divide_at:",
    "div ecx",
    "ud2",
    "kernel_tests_after:",
    "ret",
    ".global kernel_tests_step, kernel_tests_step_at",
    "kernel_tests_step:",
    "mov eax, 0x51",
    "pushfq",
    "or qword ptr [rsp], 0x100",
    "popfq",
    "nop",
    "kernel_tests_step_at:",
    "ud2",
    // RDI: number. The registers are marked.
    ".global kernel_tests_syscall, kernel_tests_syscall_at",
    "kernel_tests_syscall:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov r14, rsp",
    "mov rdx, rdi",
    "mov rax, 0x1001",
    "mov rbx, 0x1002",
    "mov rsi, 0x1005",
    "mov rdi, 0x1006",
    "mov rbp, 0x1007",
    "mov r8, 0x1008",
    "mov r9, 0x1009",
    "mov r10, 0x100a",
    "mov r12, 0x100c",
    "mov r13, 0x100d",
    "mov r15, 0x100f",
    "kernel_tests_syscall_at:",
    "syscall",
    "mov rsp, r14",
    "add rax, rbx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
);

unsafe extern "C" {
    fn kernel_tests_divide();
    fn kernel_tests_divide_at();
    fn kernel_tests_after();
    fn kernel_tests_step();
    fn kernel_tests_step_at();
    fn kernel_tests_syscall(number: u64) -> u64;
    fn kernel_tests_syscall_at();
}

fn body_divide(_: &mut Me) {
    // SAFETY: it divides by zero, and returns when the check lets it.
    unsafe { kernel_tests_divide() };
    thread::put(0, 1);
}

fn body_step(_: &mut Me) {
    // SAFETY: it ends in a debug exception, behind which nobody lets it go on.
    unsafe { kernel_tests_step() };
}

fn body_syscall(me: &mut Me) {
    // SAFETY: an unknown system call; the function keeps the registers that it must keep.
    thread::put(0, unsafe { kernel_tests_syscall(me.args[0]) });
}

#[track_caller]
fn exception(env: &mut Env, thread: kernel_tests::Thread) -> Outcome<UserException> {
    let (fault, info) = env.fault_with_info(thread)?;
    check_eq!(info.length(), 5, "length of the message");
    match fault {
        Fault::UserException(exception) => Ok(exception),
        other => Err(Failure::new(format_args!("{other:x?} is no exception"))),
    }
}

#[track_caller]
fn unknown(env: &mut Env, thread: kernel_tests::Thread) -> Outcome<UnknownSyscall> {
    let (fault, info) = env.fault_with_info(thread)?;
    check_eq!(info.length(), 19, "length of the message");
    match fault {
        Fault::UnknownSyscall(unknown) => Ok(unknown),
        other => Err(Failure::new(format_args!("{other:x?} is no unknown system call"))),
    }
}

fn divide_error_is_vector_0(env: &mut Env) -> Outcome {
    let thread = env.spawn(HIGH, body_divide, [0; 4])?;
    let found = exception(env, thread)?;
    check_eq!(found.number, 0, "vector");
    check_eq!(found.ip, kernel_tests_divide_at as *const () as u64, "instruction pointer");
    check!(found.flags & 0x200 != 0 && found.sp != 0, "{found:x?}");
    check_eq!(thread.tcb.tcb_read_all_registers(false)?.rax, 1, "RAX");
    Ok(())
}

fn single_step_is_vector_1(env: &mut Env) -> Outcome {
    let thread = env.spawn(HIGH, body_step, [0; 4])?;
    let found = exception(env, thread)?;
    check_eq!(found.number, 1, "vector");
    check_eq!(found.ip, kernel_tests_step_at as *const () as u64, "instruction pointer");
    check!(found.flags & 0x100 != 0 && found.sp != 0, "{found:x?}");
    check_eq!(thread.tcb.tcb_read_all_registers(false)?.rax, 0x51, "RAX");
    Ok(())
}

fn invalid_opcode_is_vector_6(env: &mut Env) -> Outcome {
    // SAFETY: raises an exception that the check expects.
    let thread = env.spawn(HIGH, |_| unsafe { core::arch::asm!("ud2") }, [0; 4])?;
    let found = exception(env, thread)?;
    check_eq!((found.number, found.code), (6, 0), "vector and error code");
    Ok(())
}

fn privileged_instructions_are_vector_13(env: &mut Env) -> Outcome {
    let bodies: [fn(&mut Me); 5] = [
        // SAFETY: each raises an exception that the check expects.
        |_| unsafe { core::arch::asm!("cli") },
        // SAFETY: as above.
        |_| unsafe { core::arch::asm!("hlt") },
        // SAFETY: as above.
        |_| unsafe { core::arch::asm!("mov rax, cr3", out("rax") _) },
        // SAFETY: as above.
        |_| unsafe { core::arch::asm!("rdmsr", in("ecx") 0xc000_0080u32, out("eax") _, out("edx") _) },
        // SAFETY: as above.
        |_| unsafe { core::arch::asm!("out 0x80, al", in("al") 0u8) },
    ];
    for body in bodies {
        let thread = env.spawn(HIGH, body, [0; 4])?;
        check_eq!(exception(env, thread)?.number, 13, "vector");
    }
    Ok(())
}

fn breakpoint_is_a_fault_message(env: &mut Env) -> Outcome {
    // SAFETY: raises an exception that the check expects.
    let thread = env.spawn(HIGH, |_| unsafe { core::arch::asm!("int3") }, [0; 4])?;
    // An exception of vector 3; a kernel may take it for a software interrupt, that is a system call that doesn't exist.
    let fault = env.fault_of(thread)?;
    check!(
        matches!(fault, Fault::UserException(UserException { number: 3, .. }) | Fault::UnknownSyscall(_)),
        "{fault:x?}"
    );
    Ok(())
}

fn reply_to_an_exception_sets_instruction_pointer(env: &mut Env) -> Outcome {
    let thread = env.spawn(HIGH, body_divide, [0; 4])?;
    let found = exception(env, thread)?;
    env.answer(0, 3, [kernel_tests_after as *const () as u64, found.sp, found.flags]);
    env.join(&[thread])?;
    check_eq!(thread::get(0), 1, "what the thread did afterwards");
    Ok(())
}

fn reply_with_a_label_leaves_the_thread_stopped(env: &mut Env) -> Outcome {
    let thread = env.spawn(HIGH, body_divide, [0; 4])?;
    let found = exception(env, thread)?;
    env.answer(1, 3, [kernel_tests_after as *const () as u64, found.sp, found.flags]);
    check_eq!(env.settle()? & 1 << thread.id, 0, "the thread's end");
    // Its registers are written nevertheless, and it can be resumed.
    thread.tcb.tcb_resume()?;
    env.join(&[thread])
}

fn avx_is_not_for_threads(env: &mut Env) -> Outcome {
    // vpaddd ymm0, ymm0, ymm0
    // SAFETY: raises an exception that the check expects.
    let body = |_: &mut Me| unsafe { core::arch::asm!(".byte 0xc5, 0xfd, 0xfe, 0xc0") };
    let thread = env.spawn(HIGH, body, [0; 4])?;
    check_eq!(exception(env, thread)?.number, 6, "vector");
    Ok(())
}

fn unknown_syscall_shows_the_registers(env: &mut Env) -> Outcome {
    for number in [100u64, (-64i64) as u64, (-1000i64) as u64, 0] {
        let thread = env.spawn(HIGH, body_syscall, [number, 0, 0, 0])?;
        let found = unknown(env, thread)?;
        check_eq!(found.number, number, "number");
        check_eq!(found.fault_ip(), kernel_tests_syscall_at as *const () as u64, "instruction pointer");
        // RAX RBX - RDX RSI RDI RBP R8 R9 R10 - R12 R13 - R15; RCX and R11 are lost.
        let r = found.registers;
        check_eq!((r[0], r[1], r[3], r[4]), (0x1001, 0x1002, number, 0x1005), "RAX, RBX, RDX, RSI");
        check_eq!((r[5], r[6], r[7], r[8]), (0x1006, 0x1007, 0x1008, 0x1009), "RDI, RBP, R8, R9");
        check_eq!((r[9], r[11], r[12], r[14]), (0x100a, 0x100c, 0x100d, 0x100f), "R10, R12, R13, R15");
    }
    Ok(())
}

fn debug_calls_are_unknown(env: &mut Env) -> Outcome {
    // First one that does no harm where it is known.
    for number in [
        call::DEBUG_CAP_IDENTIFY,
        call::DEBUG_SNAPSHOT,
        call::DEBUG_DUMP_SCHEDULER,
        call::DEBUG_NAME_THREAD,
        call::DEBUG_PUT_CHAR,
        call::DEBUG_HALT,
    ] {
        let thread = env.spawn(HIGH, body_syscall, [number as u64, 0, 0, 0])?;
        match env.fault_of(thread) {
            Ok(Fault::UnknownSyscall(found)) => check_eq!(found.number, number as u64, "number"),
            Ok(other) => check!(false, "{other:x?} is no unknown system call"),
            Err(_) if number == call::DEBUG_CAP_IDENTIFY => return Err(Failure::skip("the debug build")),
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

fn reply_to_an_unknown_syscall_writes_registers(env: &mut Env) -> Outcome {
    let thread = env.spawn(HIGH, body_syscall, [100, 0, 0, 0])?;
    let found = unknown(env, thread)?;
    sel4::with_ipc_buffer_mut(|buffer| {
        buffer.msg_regs_mut()[..18].copy_from_slice(&found.registers);
        buffer.msg_regs_mut()[0] = 0x5000;
        buffer.msg_regs_mut()[1] = 0x0500;
        // Behind the call.
        buffer.msg_regs_mut()[15] = found.fault_ip() + 2;
    });
    env.reply.send(MessageInfo::new(0, 0, 0, 18));
    env.join(&[thread])?;
    check_eq!(thread::get(0), 0x5500, "sum of RAX and RBX");
    Ok(())
}

fn vmenter_without_vcpu_is_an_unknown_syscall(env: &mut Env) -> Outcome {
    let number = sel4::abi::syscall::VM_ENTER as u64;
    let thread = env.spawn(HIGH, body_syscall, [number, 0, 0, 0])?;
    check_eq!(unknown(env, thread)?.number, number, "number");
    Ok(())
}

fn software_interrupt_is_an_unknown_syscall(env: &mut Env) -> Outcome {
    // SAFETY: raises a fault that the check expects.
    let thread = env.spawn(HIGH, |_| unsafe { core::arch::asm!("int 0xf0", options(nostack)) }, [0; 4])?;
    // Gates that aren't the user's are a general-protection fault; a kernel that opens them sends an unknown system
    // call with the vector in bits 31 to 24.
    match env.fault_of(thread)? {
        // A kernel that takes the vector from the protection fault's error code sees twice the vector on QEMU 7.2.
        Fault::UnknownSyscall(found) => {
            check!(matches!(found.number >> 24, 0xf0 | 0x1e0), "number {:#x}", found.number);
        }
        Fault::UserException(found) => check_eq!(found.number, 13, "vector"),
        other => check!(false, "{other:x?}"),
    }
    Ok(())
}

fn fault_without_handler_stops_the_thread_only(env: &mut Env) -> Outcome {
    let thread = env.thread(body_divide, [0; 4])?;
    thread.tcb.tcb_set_priority(sel4::init_thread::slot::TCB.cap(), HIGH)?;
    thread.sc.sched_context_bind(thread.tcb)?;
    thread.tcb.tcb_resume()?;
    check_eq!(env.settle()? & 1 << thread.id, 0, "the thread's end");
    // Resumed, it would fault again; with another instruction pointer it goes on.
    let mut registers = thread.tcb.tcb_read_all_registers(false)?;
    registers.rip = kernel_tests_after as *const () as u64;
    thread.tcb.tcb_write_all_registers(true, &registers)?;
    env.join(&[thread])
}

fn fault_of_a_thread_is_badged(env: &mut Env) -> Outcome {
    let first = env.spawn(HIGH, body_divide, [0; 4])?;
    let second = env.spawn(HIGH + 1, body_divide, [0; 4])?;
    // By priority.
    env.fault_of(second)?;
    env.fault_of(first)?;
    Ok(())
}

fn page_fault_is_answered_by_a_mapping(env: &mut Env) -> Outcome {
    use super::vspace::BASE;
    use sel4::{CapRights, VmAttributes, cap};
    kernel_tests::space::map_tables(env, sel4::init_thread::slot::VSPACE.cap(), BASE)?;
    let frame: cap::Granule = env.make()?;
    let body = |me: &mut Me| {
        // SAFETY: the check maps memory of its own there when the fault comes.
        unsafe { (me.args[0] as *mut u64).write_volatile(0x77) };
        thread::put(0, 1);
    };
    let thread = env.spawn(MAIN, body, [BASE as u64, 0, 0, 0])?;
    env.fault_of(thread)?;
    let vspace = sel4::init_thread::slot::VSPACE.cap();
    frame.frame_map(vspace, BASE, CapRights::read_write(), VmAttributes::DEFAULT)?;
    env.answer(0, 0, []);
    env.join(&[thread])?;
    // SAFETY: mapped above.
    check_eq!(unsafe { (BASE as *const u64).read_volatile() }, 0x77, "the word that the thread wrote");
    Ok(())
}
