// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: from the registers of the current thread to what they ask for.

use sel4_abi::{LookupFailure, MessageInfo, syscall as number};

use crate::arch::context::KIND_SYSCALL;
use crate::cap::Cap;
use crate::cspace;
use crate::error::SysError;
use crate::fault::{self, Fault};
use crate::invoke;
use crate::ipc::{self, SendMode};
use crate::kernel::Kernel;
use crate::object::reply::Reply;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::stretch;

const CALL: SendMode = SendMode { blocking: true, call: true, donate: true };
const SEND: SendMode = SendMode { blocking: true, call: false, donate: false };
const NB_SEND: SendMode = SendMode { blocking: false, call: false, donate: false };
/// The first half of a combined call.
const SEND_THEN_WAIT: SendMode = SendMode { blocking: false, call: false, donate: true };

/// Executes the system call whose registers are in the current thread's context. `VMEnter` has a way of its own
/// (`object::vcpu::enter_from_syscall`): it comes here if the thread has no VCPU.
pub fn handle(k: &mut Kernel) {
    let Some(tcb) = k.sched.current else { return };
    let c = &tcb.context;
    let address = c.rdi.get();
    match c.rdx.get() as i64 {
        number::CALL => send_phase(k, tcb, address, CALL),
        number::REPLY_RECV => {
            let reply = reply_object(tcb);
            if let Ok((object, grant)) = reply {
                ipc::reply(k, tcb, object, grant);
            }
            receive_phase(k, tcb, address, true, reply.map(|(object, _)| Some(object)));
        }
        number::RECV | number::NB_RECV => {
            let reply = reply_object(tcb).map(|(object, _)| Some(object));
            receive_phase(k, tcb, address, c.rdx.get() as i64 == number::RECV, reply);
        }
        number::SEND => send_phase(k, tcb, address, SEND),
        number::NB_SEND => send_phase(k, tcb, address, NB_SEND),
        number::WAIT => receive_phase(k, tcb, address, true, Ok(None)),
        number::NB_WAIT => receive_phase(k, tcb, address, false, Ok(None)),
        number::NB_SEND_RECV => {
            send_phase(k, tcb, c.r13.get(), SEND_THEN_WAIT);
            if goes_on(k, tcb) {
                // Looked up now: the send may have been an invocation that took the reply object away.
                let reply = reply_object(tcb).map(|(object, _)| Some(object));
                receive_phase(k, tcb, address, true, reply);
            }
        }
        number::NB_SEND_WAIT => {
            send_phase(k, tcb, c.r12.get(), SEND_THEN_WAIT);
            if goes_on(k, tcb) {
                receive_phase(k, tcb, address, true, Ok(None));
            }
        }
        number::YIELD => k.sched.yield_now(),
        number::SET_TLS_BASE => crate::arch::set_fs_base(tcb, crate::arch::context::canonical(address)),
        number::BENCHMARK_FINALIZE_LOG if stretch::ON => c.rdi.set(stretch::take()),
        #[cfg(feature = "debug-syscalls")]
        n if crate::log::debug_syscall(k, tcb, n) => {}
        _ => unknown(k, tcb),
    }
}

fn unknown(k: &mut Kernel, tcb: Ptr<Tcb>) {
    let n = tcb.context.rdx.get();
    fault::raise(k, tcb, Fault::UnknownSyscall(n));
}

/// After the first half of a combined call: true if the thread makes the second. Its invocation may have been preempted, so that
/// all of the call is made again; or have stopped the thread, or its object.
fn goes_on(k: &Kernel, tcb: Ptr<Tcb>) -> bool {
    k.sched.current == Some(tcb) && tcb.is_runnable() && tcb.context.kind.get() == KIND_SYSCALL
}

fn send_phase(k: &mut Kernel, tcb: Ptr<Tcb>, address: u64, mode: SendMode) {
    let slot = match cspace::lookup_slot(tcb.cspace(), address) {
        Ok(slot) => slot,
        Err(failure) => return cap_fault(k, tcb, address, false, failure, mode.blocking),
    };
    let extra = match invoke::extra_caps(&tcb) {
        Ok(extra) => extra,
        Err((at, failure)) => return cap_fault(k, tcb, at, false, failure, mode.blocking),
    };
    let result = match slot.cap() {
        Cap::Endpoint { rights, .. } if !rights.write() => Err(SysError::InvalidCapability(0)),
        Cap::Endpoint { object, badge, rights } => {
            return ipc::send(k, tcb, object, badge, mode, rights);
        }
        Cap::Notification { object, badge, rights } => {
            if rights.write() {
                ipc::signal(k, object, badge);
                Ok(0)
            } else {
                Err(SysError::InvalidCapability(0))
            }
        }
        Cap::Reply { object, grant } => {
            ipc::reply(k, tcb, object, grant);
            Ok(0)
        }
        // An empty slot is no lookup failure: invoking it is an InvalidCapability like any other wrong kind.
        _ => invoke::invoke(k, tcb, slot, extra),
    };
    finish(k, tcb, mode.call, result);
}

/// Writes the result of an invocation to whoever called. A call on a notification or a reply object, which nobody can answer, gets
/// an empty message.
fn finish(k: &mut Kernel, tcb: Ptr<Tcb>, call: bool, result: Result<usize, SysError>) {
    // The invocation may have deleted or suspended its own thread.
    if k.sched.current != Some(tcb) {
        return;
    }
    match result {
        Err(SysError::Preempted) => {
            tcb.context.rewind();
            k.sched.request();
        }
        _ if !call => {}
        Ok(words) => {
            tcb.context.rdi.set(0);
            tcb.context.rsi.set(MessageInfo::new(0, 0, 0, words as u64).0);
        }
        Err(error) => {
            let (code, words, n) = error.encode();
            let mut out = crate::transfer::MessageWriter::new(&tcb);
            for (i, w) in words[..n].iter().enumerate() {
                out.put(i, *w);
            }
            tcb.context.rdi.set(0);
            tcb.context.rsi.set(MessageInfo::new(code as u64, 0, 0, out.limit(n) as u64).0);
        }
    }
}

fn cap_fault(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    receiving: bool,
    failure: LookupFailure,
    blocking: bool,
) {
    if blocking {
        fault::raise(k, tcb, Fault::Cap { address, receiving, failure });
    }
}

type ReplyLookup<T> = Result<T, (u64, LookupFailure)>;

/// The reply object named in R12, and whether it may pass capabilities.
fn reply_object(tcb: Ptr<Tcb>) -> ReplyLookup<(Ptr<Reply>, bool)> {
    let address = tcb.context.r12.get();
    let slot = cspace::lookup_slot(tcb.cspace(), address).map_err(|f| (address, f))?;
    match slot.cap() {
        Cap::Reply { object, grant } => Ok((object, grant)),
        _ => Err((address, LookupFailure::MissingCapability { bits_left: 0 })),
    }
}

fn receive_phase(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    blocking: bool,
    reply: ReplyLookup<Option<Ptr<Reply>>>,
) {
    let missing = LookupFailure::MissingCapability { bits_left: 0 };
    let slot = match cspace::lookup_slot(tcb.cspace(), address) {
        Ok(slot) => slot,
        Err(failure) => return cap_fault(k, tcb, address, true, failure, true),
    };
    match slot.cap() {
        Cap::Endpoint { object, rights, .. } if rights.read() => match reply {
            Ok(reply) => ipc::receive(k, tcb, object, blocking, reply),
            Err((at, failure)) => cap_fault(k, tcb, at, true, failure, true),
        },
        Cap::Notification { object, rights, .. }
            if rights.read() && object.bound.get().is_none_or(|bound| bound == tcb) =>
        {
            ipc::wait(k, tcb, object, blocking);
        }
        _ => cap_fault(k, tcb, address, true, missing, true),
    }
}
