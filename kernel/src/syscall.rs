// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls: from the registers of the current thread to what they ask for.

use sel4_abi::{LookupFailure, MessageInfo, syscall as number};

use crate::arch::context::{KIND_SYSCALL, canonical};
use crate::cap::Cap;
use crate::cspace;
use crate::error::{Preempted, SysError};
use crate::fault::{self, Fault};
use crate::invoke;
use crate::ipc::{self, SendMode};
use crate::kernel::Kernel;
use crate::object::reply::Reply;
use crate::object::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;
use crate::stretch;
use crate::transfer::{self, ExtraCaps, MessageWriter};

const CALL: SendMode = SendMode { blocking: true, call: true, donate: true };
const SEND: SendMode = SendMode { blocking: true, call: false, donate: false };
const NB_SEND: SendMode = SendMode { blocking: false, call: false, donate: false };
/// The first half of a combined call.
const SEND_THEN_WAIT: SendMode = SendMode { blocking: false, call: false, donate: true };

/// What has become of a system call, or of a half of one: done, failures and faults included, or nothing at all.
type Done = Result<(), Preempted>;

/// Executes the system call whose registers are in the current thread's context. `VMEnter` has a way of its own
/// (`object::vcpu::enter_from_syscall`): it comes here if the thread has no VCPU.
pub fn handle(k: &mut Kernel) {
    let Some(tcb) = k.sched.current else { return };
    let c = &tcb.context;
    let address = c.rdi.get();
    let done = match c.rdx.get() as i64 {
        number::CALL => send_phase(k, tcb, address, CALL),
        number::REPLY_RECV => reply_recv(k, tcb, address),
        number::RECV => receive(k, tcb, address, true),
        number::NB_RECV => receive(k, tcb, address, false),
        number::SEND => send_phase(k, tcb, address, SEND),
        number::NB_SEND => send_phase(k, tcb, address, NB_SEND),
        number::WAIT => receive_phase(k, tcb, address, true, Ok(None)),
        number::NB_WAIT => receive_phase(k, tcb, address, false, Ok(None)),
        number::NB_SEND_RECV => send_and_receive(k, tcb, c.r13.get()),
        number::NB_SEND_WAIT => send_and_receive(k, tcb, c.r12.get()),
        n => {
            other(k, tcb, n);
            Ok(())
        }
    };
    if done.is_err() {
        k.call_again(tcb);
    }
}

/// System calls that are no messages.
fn other(k: &mut Kernel, tcb: Ptr<Tcb>, n: i64) {
    match n {
        number::YIELD => k.sched.yield_now(),
        number::SET_TLS_BASE => crate::arch::set_fs_base(tcb, canonical(tcb.context.rdi.get())),
        number::BENCHMARK_FINALIZE_LOG if stretch::ON => tcb.context.rdi.set(stretch::take()),
        #[cfg(feature = "debug-syscalls")]
        n if crate::log::debug_syscall(k, tcb, n) => {}
        _ => unknown(k, tcb),
    }
}

fn unknown(k: &mut Kernel, tcb: Ptr<Tcb>) {
    let n = tcb.context.rdx.get();
    fault::raise(k, tcb, Fault::UnknownSyscall(n));
}

/// `ReplyRecv`.
fn reply_recv(k: &mut Kernel, tcb: Ptr<Tcb>, address: u64) -> Done {
    let reply = reply_object(k, tcb)?;
    if let Ok((object, grant)) = reply
        && let Ok(extra) = transfer::extra_caps(k, &tcb)?
    {
        send_reply(k, tcb, object, grant, extra)?;
    }
    let received = match k.preempt_between() {
        Ok(()) => receive_phase(k, tcb, address, true, reply.map(|(object, _)| Some(object))),
        preempted => preempted,
    };
    come_back_if(k, tcb, received);
    Ok(())
}

fn send_reply(k: &mut Kernel, tcb: Ptr<Tcb>, reply: Ptr<Reply>, grant: bool, extra: ExtraCaps) -> Done {
    let gifts = match reply.caller() {
        Some(dest) if !dest.fault.get().is_some() => transfer::gifts(k, tcb, Some(extra), grant, dest)?,
        _ => None,
    };
    ipc::reply(k, tcb, reply, gifts.as_ref());
    Ok(())
}

/// `NBSendRecv`, `NBSendWait`.
fn send_and_receive(k: &mut Kernel, tcb: Ptr<Tcb>, dest: u64) -> Done {
    send_phase(k, tcb, dest, SEND_THEN_WAIT)?;
    if goes_on(k, tcb) {
        // The reply object is looked up now: the send may have been an invocation that took it away.
        let received = match k.preempt_between() {
            Ok(()) => second_half(k, tcb),
            preempted => preempted,
        };
        come_back_if(k, tcb, received);
    }
    Ok(())
}

/// After the first half of a combined call: true if the thread makes the second. The invocation may have stopped the thread, or its object.
fn goes_on(k: &Kernel, tcb: Ptr<Tcb>) -> bool {
    k.sched.current == Some(tcb) && tcb.is_runnable() && tcb.context.kind.get() == KIND_SYSCALL
}

/// The second half of a combined call, with the registers of the call.
fn second_half(k: &mut Kernel, tcb: Ptr<Tcb>) -> Done {
    let address = tcb.context.rdi.get();
    match tcb.context.rdx.get() as i64 {
        number::NB_SEND_WAIT => receive_phase(k, tcb, address, true, Ok(None)),
        _ => receive(k, tcb, address, true),
    }
}

/// The second half of a combined call may have been preempted: then that alone is made again, when the interrupt has been served.
fn come_back_if(k: &mut Kernel, tcb: Ptr<Tcb>, received: Done) {
    if received.is_err() {
        tcb.state.set(ThreadState::Receiving);
        k.sched.keep_half(tcb);
        k.choose_after_interrupts();
    }
}

/// The second half of a thread's call, of which the first was done before interrupts were served. The thread may have lent its time to
/// whom it has sent to, or given it back: it isn't the scheduler that decides when this is done. Meanwhile another processor may have moved it.
pub fn come_back(k: &mut Kernel, tcb: Ptr<Tcb>) {
    tcb.state.set(ThreadState::Running);
    let received = second_half(k, tcb);
    come_back_if(k, tcb, received);
    if tcb.is_runnable() {
        k.wake(tcb);
    }
}

fn send_phase(k: &mut Kernel, tcb: Ptr<Tcb>, address: u64, mode: SendMode) -> Done {
    let slot = match cspace::lookup_slot(k, &tcb, address)? {
        Ok(slot) => slot,
        Err(failure) => return cap_fault(k, tcb, address, false, failure, mode.blocking),
    };
    let extra = match transfer::extra_caps(k, &tcb)? {
        Ok(extra) => extra,
        Err((at, failure)) => return cap_fault(k, tcb, at, false, failure, mode.blocking),
    };
    let result = match slot.cap() {
        Cap::Endpoint { rights, .. } if !rights.write() => Err(SysError::InvalidCapability(0)),
        Cap::Endpoint { object, badge, rights } => {
            let gifts = match object.receiver() {
                Some(dest) => transfer::gifts(k, tcb, Some(extra), rights.grant(), dest)?,
                None => None,
            };
            ipc::send(k, tcb, object, badge, mode, rights, gifts.as_ref());
            return Ok(());
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
            send_reply(k, tcb, object, grant, extra)?;
            Ok(0)
        }
        // An empty slot is no lookup failure: invoking it is an InvalidCapability like any other wrong kind.
        _ => {
            k.took(1);
            invoke::invoke(k, tcb, slot, extra)
        }
    };
    finish(k, tcb, mode.call, result)
}

/// Writes the result of an invocation to whoever called. A call on a notification or a reply object, which nobody can answer, gets
/// an empty message.
fn finish(k: &mut Kernel, tcb: Ptr<Tcb>, call: bool, result: Result<usize, SysError>) -> Done {
    // The invocation may have deleted or suspended its own thread.
    if k.sched.current != Some(tcb) {
        return Ok(());
    }
    match result {
        Err(SysError::Preempted) => return Err(Preempted),
        _ if !call => {}
        Ok(words) => {
            tcb.context.rdi.set(0);
            tcb.context.rsi.set(MessageInfo::new(0, 0, 0, words as u64).0);
        }
        Err(error) => {
            let (code, words, n) = error.encode();
            let mut out = MessageWriter::new(&tcb);
            for (i, w) in words[..n].iter().enumerate() {
                out.put(i, *w);
            }
            tcb.context.rdi.set(0);
            tcb.context.rsi.set(MessageInfo::new(code as u64, 0, 0, out.limit(n) as u64).0);
        }
    }
    Ok(())
}

fn cap_fault(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    receiving: bool,
    failure: LookupFailure,
    blocking: bool,
) -> Done {
    if blocking {
        fault::raise(k, tcb, Fault::Cap { address, receiving, failure });
    }
    Ok(())
}

type ReplyLookup<T> = Result<T, (u64, LookupFailure)>;

/// The reply object named in R12, and whether it may pass capabilities.
fn reply_object(k: &mut Kernel, tcb: Ptr<Tcb>) -> Result<ReplyLookup<(Ptr<Reply>, bool)>, Preempted> {
    let address = tcb.context.r12.get();
    let missing = LookupFailure::MissingCapability { bits_left: 0 };
    Ok(match cspace::lookup_slot(k, &tcb, address)?.map(|slot| slot.cap()) {
        Ok(Cap::Reply { object, grant }) => Ok((object, grant)),
        Ok(_) => Err((address, missing)),
        Err(failure) => Err((address, failure)),
    })
}

/// Receives with the reply object named in R12.
fn receive(k: &mut Kernel, tcb: Ptr<Tcb>, address: u64, blocking: bool) -> Done {
    let reply = reply_object(k, tcb)?.map(|(object, _)| Some(object));
    receive_phase(k, tcb, address, blocking, reply)
}

fn receive_phase(
    k: &mut Kernel,
    tcb: Ptr<Tcb>,
    address: u64,
    blocking: bool,
    reply: ReplyLookup<Option<Ptr<Reply>>>,
) -> Done {
    let missing = LookupFailure::MissingCapability { bits_left: 0 };
    let slot = match cspace::lookup_slot(k, &tcb, address)? {
        Ok(slot) => slot,
        Err(failure) => return cap_fault(k, tcb, address, true, failure, true),
    };
    match slot.cap() {
        Cap::Endpoint { object, rights, .. } if rights.read() => match reply {
            Ok(reply) => {
                let gifts = match object.sender() {
                    Some(from) => transfer::gifts(k, from, None, from.can_grant.get(), tcb)?,
                    None => None,
                };
                ipc::receive(k, tcb, object, blocking, reply, gifts.as_ref());
            }
            Err((at, failure)) => return cap_fault(k, tcb, at, true, failure, true),
        },
        Cap::Notification { object, rights, .. }
            if rights.read() && object.bound.get().is_none_or(|bound| bound == tcb) =>
        {
            ipc::wait(k, tcb, object, blocking);
        }
        _ => return cap_fault(k, tcb, address, true, missing, true),
    }
    Ok(())
}
