// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: from the registers of the current thread to what they ask for.

use sel4_abi::{LookupFailure, MessageInfo, syscall as number};

use crate::cap::Cap;
use crate::cspace;
use crate::error::SysError;
use crate::fastpath;
use crate::fault::{self, Fault};
use crate::invoke;
use crate::ipc::{self, SendMode};
use crate::kernel::Kernel;
use crate::object::reply::Reply;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

/// What the invoker expects.
#[derive(Clone, Copy)]
struct Mode {
    blocking: bool,
    call: bool,
}

/// Executes the system call whose registers are in the current thread's context.
pub fn handle(k: &mut Kernel) {
    let Some(tcb) = k.sched.current else { return };
    let c = &tcb.context;
    let address = c.rdi.get();
    match c.rdx.get() as i64 {
        number::CALL if fastpath::call(k, tcb) => {}
        number::REPLY_RECV if fastpath::reply_recv(k, tcb) => {}
        number::CALL => send_phase(k, tcb, address, Mode { blocking: true, call: true }),
        number::REPLY_RECV => {
            let reply = reply_object(k, tcb);
            if let Ok(Some((object, grant))) = reply {
                ipc::reply(k, tcb, object, grant);
            }
            receive_phase(k, tcb, address, true, reply.map(|r| r.map(|(o, _)| o)));
        }
        number::RECV => {
            let reply = reply_object(k, tcb).map(|r| r.map(|(o, _)| o));
            receive_phase(k, tcb, address, true, reply);
        }
        number::NB_RECV => {
            let reply = reply_object(k, tcb).map(|r| r.map(|(o, _)| o));
            receive_phase(k, tcb, address, false, reply);
        }
        number::SEND => send_phase(k, tcb, address, Mode { blocking: true, call: false }),
        number::NB_SEND => send_phase(k, tcb, address, Mode { blocking: false, call: false }),
        number::WAIT => receive_phase(k, tcb, address, true, Ok(None)),
        number::NB_WAIT => receive_phase(k, tcb, address, false, Ok(None)),
        number::NB_SEND_RECV => {
            let dest = c.r13.get();
            // The receive phase's reply object is looked up before the send phase can change the space.
            let reply = reply_object(k, tcb).map(|r| r.map(|(o, _)| o));
            send_then(k, tcb, dest);
            if tcb.context.kind.get() == crate::arch::context::KIND_SYSCALL && k.sched.current == Some(tcb) {
                receive_phase(k, tcb, address, true, reply);
            }
        }
        number::NB_SEND_WAIT => {
            let dest = c.r12.get();
            send_then(k, tcb, dest);
            if tcb.context.kind.get() == crate::arch::context::KIND_SYSCALL && k.sched.current == Some(tcb) {
                receive_phase(k, tcb, address, true, Ok(None));
            }
        }
        number::YIELD => k.sched.yield_now(),
        number::VM_ENTER => {
            #[cfg(target_os = "none")]
            if crate::object::vcpu::enter_from_syscall(k, tcb) {
                return;
            }
            unknown(k, tcb);
        }
        number::SET_TLS_BASE => crate::arch::set_fs_base(tcb, crate::arch::context::canonical(address)),
        #[cfg(feature = "debug-syscalls")]
        n if crate::log::debug_syscall(k, tcb, n) => {}
        _ => unknown(k, tcb),
    }
}

fn unknown(k: &mut Kernel, tcb: Ptr<Tcb>) {
    let n = tcb.context.rdx.get();
    fault::raise(k, tcb, Fault::UnknownSyscall(n));
}

/// The non-blocking send of a combined call.
fn send_then(k: &mut Kernel, tcb: Ptr<Tcb>, dest: u64) {
    send_phase(k, tcb, dest, Mode { blocking: false, call: false });
}

fn send_phase(k: &mut Kernel, tcb: Ptr<Tcb>, address: u64, mode: Mode) {
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
            let send =
                SendMode { blocking: mode.blocking, call: mode.call, donate: mode.blocking || !mode.call };
            return ipc::send(k, tcb, object, badge, send, rights);
        }
        Cap::Notification { object, badge, rights } => {
            if rights.write() {
                ipc::signal(k, object, badge);
                // A call on a notification has nobody to answer it: the answer is an empty message.
                Ok(0)
            } else {
                Err(SysError::InvalidCapability(0))
            }
        }
        Cap::Reply { object, grant } => {
            ipc::reply(k, tcb, object, grant);
            return;
        }
        // An empty slot is no lookup failure: invoking it is an InvalidCapability like any other wrong kind.
        _ => invoke::invoke(k, tcb, slot, extra),
    };
    finish(k, tcb, mode.call, result);
}

/// Writes the result of an invocation to whoever called.
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
        _ if !call || !tcb.is_runnable() => {}
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

type ReplyLookup<T> = Result<Option<T>, (u64, LookupFailure)>;

/// The reply object named in R12. Only a CSpace error is an error; what is no reply object is one to whom nobody waits.
fn reply_object(_k: &mut Kernel, tcb: Ptr<Tcb>) -> ReplyLookup<(Ptr<Reply>, bool)> {
    let address = tcb.context.r12.get();
    let slot = cspace::lookup_slot(tcb.cspace(), address).map_err(|f| (address, f))?;
    match slot.cap() {
        Cap::Reply { object, grant } => Ok(Some((object, grant))),
        _ => Err((address, LookupFailure::MissingCapability { bits_left: 0 })),
    }
}

fn receive_phase(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    blocking: bool,
    reply: ReplyLookup<Ptr<Reply>>,
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
