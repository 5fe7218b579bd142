// SPDX-License-Identifier: MIT OR Apache-2.0
//! The raw layer: one function for each shape of system call.
//!
//! RDX holds the number, RDI the capability address (out: badge), RSI the message information, R10, R8, R9 and R15 the
//! first four message words, R12 and R13 the further capability addresses of the receiving calls. RCX, R11 and RSP are
//! lost: the stack pointer waits in R14 (RBX isn't open to inline assembly).
#![allow(unsafe_code)]

use core::arch::asm;

use sel4_abi::syscall as nr;

use crate::{CPtrBits, IpcBuffer, Word};

/// What a system call that receives leaves in the registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) badge: Word,
    pub(crate) info: Word,
    pub(crate) mrs: [Word; 4],
}

/// The system call itself. `$extra` are the operands that only some calls have.
macro_rules! syscall {
    ($num:expr, $cap:expr, $info:expr, $mrs:expr, { $($extra:tt)* }) => {{
        let [m0, m1, m2, m3]: [Word; 4] = $mrs;
        let (badge, info, o0, o1, o2, o3): (Word, Word, Word, Word, Word, Word);
        // SAFETY: the kernel keeps every register but those named here, and RSP is restored from R14, which the kernel
        // keeps. Memory other than the IPC buffer isn't written by the kernel; the block counts as writing all memory.
        unsafe {
            asm!(
                "mov r14, rsp",
                "syscall",
                "mov rsp, r14",
                in("rdx") $num,
                inlateout("rdi") $cap => badge,
                inlateout("rsi") $info => info,
                inlateout("r10") m0 => o0,
                inlateout("r8") m1 => o1,
                inlateout("r9") m2 => o2,
                inlateout("r15") m3 => o3,
                $($extra)*
                out("r14") _,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        Received { badge, info, mrs: [o0, o1, o2, o3] }
    }};
}

/// `Call` with a message that lies in registers only.
#[inline(always)]
pub(crate) fn call(dest: CPtrBits, info: Word, mrs: [Word; 4]) -> Received {
    syscall!(nr::CALL, dest, info, mrs, {})
}

/// `Call` with words or capabilities in `buffer`. The pointer goes into RAX, which the kernel ignores, so that the
/// compiler knows that the buffer is read and written.
#[inline(always)]
pub(crate) fn call_with_buffer(
    dest: CPtrBits,
    info: Word,
    mrs: [Word; 4],
    buffer: &mut IpcBuffer,
) -> Received {
    let buffer: *mut IpcBuffer = buffer;
    syscall!(nr::CALL, dest, info, mrs, { in("rax") buffer, })
}

/// `Send`.
#[inline(always)]
pub(crate) fn send(dest: CPtrBits, info: Word, mrs: [Word; 4], buffer: *mut IpcBuffer) {
    let _ = syscall!(nr::SEND, dest, info, mrs, { in("rax") buffer, });
}

/// `NBSend`.
#[inline(always)]
pub(crate) fn nb_send(dest: CPtrBits, info: Word, mrs: [Word; 4], buffer: *mut IpcBuffer) {
    let _ = syscall!(nr::NB_SEND, dest, info, mrs, { in("rax") buffer, });
}

/// `Recv`.
#[inline(always)]
pub(crate) fn recv(src: CPtrBits, reply: CPtrBits, buffer: *mut IpcBuffer) -> Received {
    syscall!(nr::RECV, src, 0u64, [0; 4], { in("r12") reply, in("rax") buffer, })
}

/// `NBRecv`.
#[inline(always)]
pub(crate) fn nb_recv(src: CPtrBits, reply: CPtrBits, buffer: *mut IpcBuffer) -> Received {
    syscall!(nr::NB_RECV, src, 0u64, [0; 4], { in("r12") reply, in("rax") buffer, })
}

/// `Wait`.
#[inline(always)]
pub(crate) fn wait(src: CPtrBits, buffer: *mut IpcBuffer) -> Received {
    syscall!(nr::WAIT, src, 0u64, [0; 4], { in("rax") buffer, })
}

/// `NBWait`.
#[inline(always)]
pub(crate) fn nb_wait(src: CPtrBits, buffer: *mut IpcBuffer) -> Received {
    syscall!(nr::NB_WAIT, src, 0u64, [0; 4], { in("rax") buffer, })
}

/// `ReplyRecv`.
#[inline(always)]
pub(crate) fn reply_recv(
    src: CPtrBits,
    info: Word,
    mrs: [Word; 4],
    reply: CPtrBits,
    buffer: *mut IpcBuffer,
) -> Received {
    syscall!(nr::REPLY_RECV, src, info, mrs, { in("r12") reply, in("rax") buffer, })
}

/// `NBSendRecv`.
#[inline(always)]
pub(crate) fn nb_send_recv(
    dest: CPtrBits,
    info: Word,
    mrs: [Word; 4],
    src: CPtrBits,
    reply: CPtrBits,
    buffer: *mut IpcBuffer,
) -> Received {
    syscall!(nr::NB_SEND_RECV, src, info, mrs, { in("r12") reply, in("r13") dest, in("rax") buffer, })
}

/// `NBSendWait`.
#[inline(always)]
pub(crate) fn nb_send_wait(
    dest: CPtrBits,
    info: Word,
    mrs: [Word; 4],
    src: CPtrBits,
    buffer: *mut IpcBuffer,
) -> Received {
    syscall!(nr::NB_SEND_WAIT, src, info, mrs, { in("r12") dest, in("rax") buffer, })
}

/// A call whose only argument and result lie in RDI: `Yield`, the debug calls, `SetTLSBase`.
#[inline(always)]
pub(crate) fn simple(number: i64, argument: Word, buffer: *mut IpcBuffer) -> Word {
    syscall!(number, argument, 0u64, [0; 4], { in("rax") buffer, }).badge
}

/// `VMEnter`: `flags` goes into RSI. Out: `info` is 1 for an exit and 0 for a notification, with its badge.
#[inline(always)]
pub(crate) fn vm_enter(flags: Word, mrs: [Word; 4], buffer: &mut IpcBuffer) -> Received {
    let buffer: *mut IpcBuffer = buffer;
    syscall!(nr::VM_ENTER, 0u64, flags, mrs, { in("rax") buffer, })
}
