// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults: what happened, the message that tells of it, what a reply does.

use sel4_abi::LookupFailure;
use sel4_abi::fault as label;
use sel4_abi::message::{CapRights, REGISTERS};

use crate::arch::context::{EXCEPTION_REPLY, KIND_FULL, SYSCALL_MESSAGE, TIMEOUT_REPLY};
use crate::cap::Cap;
use crate::ipc;
use crate::kernel::Kernel;
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::ptr::Ptr;
use crate::transfer::MessageWriter;

/// A thread's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// None.
    None = 0,
    /// A capability did not resolve.
    Cap {
        /// Its address.
        address: u64,
        /// While receiving.
        receiving: bool,
        /// Why.
        failure: LookupFailure,
    },
    /// No such system call.
    UnknownSyscall(u64),
    /// A processor exception.
    UserException {
        /// Vector.
        vector: u64,
        /// Error code.
        code: u64,
    },
    /// The scheduling context with this badge ran out of budget.
    Timeout {
        /// Badge.
        badge: u64,
    },
    /// A page fault.
    Vm {
        /// Address.
        address: u64,
        /// Error code of the exception.
        code: u64,
    },
}

impl Fault {
    /// True when there is one.
    pub fn is_some(self) -> bool {
        self != Self::None
    }
}

/// Writes the fault's message, gives its label and length.
pub fn write_message(tcb: &Tcb, fault: Fault, out: &mut MessageWriter) -> (u64, usize) {
    let c = &tcb.context;
    match fault {
        Fault::None => (label::NULL_FAULT, 0),
        Fault::Cap { address, receiving, failure } => {
            let (words, n) = failure.words();
            out.put(0, c.rip.get());
            out.put(1, address);
            out.put(2, u64::from(receiving));
            for (i, w) in words[..n].iter().enumerate() {
                out.put(3 + i, *w);
            }
            (label::CAP_FAULT, 3 + n)
        }
        Fault::UnknownSyscall(number) => {
            for (i, register) in SYSCALL_MESSAGE.iter().enumerate() {
                out.put(i, c.at(*register).get());
            }
            out.put(SYSCALL_MESSAGE.len(), number);
            (label::UNKNOWN_SYSCALL, label::UNKNOWN_SYSCALL_WORDS)
        }
        Fault::UserException { vector, code } => {
            for (i, w) in [c.rip.get(), c.rsp.get(), c.rflags.get(), vector, code].into_iter().enumerate() {
                out.put(i, w);
            }
            (label::USER_EXCEPTION, label::USER_EXCEPTION_WORDS)
        }
        Fault::Timeout { badge } => {
            out.put(0, badge);
            out.put(1, tcb.sc.get().map_or(0, |sc| sc.take_consumed_us()));
            (label::TIMEOUT, 2)
        }
        Fault::Vm { address, code } => {
            let instruction = code & 0x10 != 0;
            for (i, w) in [c.rip.get(), address, u64::from(instruction), code].into_iter().enumerate() {
                out.put(i, w);
            }
            (label::VM_FAULT, label::VM_FAULT_WORDS)
        }
    }
}

/// Applies the reply of a fault handler to the thread; true if the thread goes on.
pub fn apply_reply(tcb: &Tcb, fault: Fault, label: u64, words: &mut dyn Iterator<Item = u64>) -> bool {
    let registers: &[crate::arch::context::Register] = match fault {
        Fault::UnknownSyscall(_) => &SYSCALL_MESSAGE,
        Fault::UserException { .. } => &EXCEPTION_REPLY,
        Fault::Timeout { .. } => &TIMEOUT_REPLY,
        _ => return true,
    };
    for (register, word) in registers.iter().zip(words) {
        tcb.context.at(*register).set(word);
    }
    tcb.context.sanitize();
    label == 0
}

/// Raises a fault of the current thread: its handler gets the message, or, where there is none, the thread stops.
pub fn raise(k: &mut Kernel, tcb: Ptr<Tcb>, fault: Fault) {
    tcb.context.rewind();
    // A handler without a scheduling context runs on that of the thread that it helps.
    if send(k, tcb, fault, slot::FAULT_HANDLER, true) {
        return;
    }
    crate::log::unhandled_fault(tcb, fault);
    tcb.state.set(ThreadState::Inactive);
    k.sched.request();
}

/// Raises a timeout fault. What the thread has left to run on is of no use to its handler, so it isn't lent.
#[cold]
#[inline(never)]
pub fn raise_timeout(k: &mut Kernel, tcb: Ptr<Tcb>) {
    let Some(sc) = tcb.sc.get() else { return };
    k.took(1);
    // It goes on where it is: a system call that it made is done.
    tcb.context.kind.set(KIND_FULL);
    k.dequeue(tcb);
    if !send(k, tcb, Fault::Timeout { badge: sc.badge.get() }, slot::TIMEOUT_HANDLER, false) {
        k.wake(tcb);
    }
    k.sched.request();
}

/// Sends the fault to the handler in a slot of the thread; false if there is none.
fn send(k: &mut Kernel, tcb: Ptr<Tcb>, fault: Fault, handler: usize, donate: bool) -> bool {
    let Cap::Endpoint { object, badge, rights } = tcb.slots[handler].cap() else { return false };
    if !rights.write() || !(rights.grant() || rights.grant_reply()) {
        return false;
    }
    tcb.fault.set(fault);
    let grant = CapRights::intersection(rights, CapRights(12));
    ipc::send(k, tcb, object, badge, ipc::SendMode { blocking: true, call: true, donate }, grant, None);
    true
}

/// Words of a fault's message that travel in registers, for the reader of `transfer`.
pub const IN_REGISTERS: usize = REGISTERS;
