// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many threads that make one system call each and then stop: they have neither stack nor IPC buffer.

use kernel_tests::env::{own_cnode, root_guard};
use kernel_tests::{Env, Outcome};
use sel4::abi::syscall as number;
use sel4::init_thread::slot;
use sel4::{CPtr, CapTypeForObjectOfFixedSize, ObjectBlueprint, UserContext, Word, cap, cap_type};

/// Objects that one retype makes at most.
const FAN_OUT: usize = 256;

// The system call is in the registers. Whoever comes back from it has no fault handler, and stops.
core::arch::global_asm!(".global bounded_call", "bounded_call:", "syscall", "ud2");
unsafe extern "C" {
    fn bounded_call();
}

/// The threads.
pub struct Crowd {
    first: usize,
}

/// What a thread does.
#[derive(Clone, Copy)]
pub struct Act {
    /// Its priority.
    pub priority: Word,
    /// Number of the system call.
    pub call: i64,
    /// RDI.
    pub target: Word,
}

impl Act {
    /// Sends through `endpoint`, for ever.
    pub fn send(priority: Word, endpoint: cap::Endpoint) -> Self {
        Self { priority, call: number::SEND, target: endpoint.bits() }
    }
    /// Waits for `notification`.
    pub fn wait(priority: Word, notification: cap::Notification) -> Self {
        Self { priority, call: number::WAIT, target: notification.bits() }
    }
}

/// Makes `count` objects in slots in a row; gives the first.
pub fn make_many(env: &mut Env, blueprint: ObjectBlueprint, count: usize) -> Outcome<usize> {
    let first = env.slots(count)?;
    for done in (0..count).step_by(FAN_OUT) {
        let some = FAN_OUT.min(count - done);
        env.arena.untyped_retype(&blueprint, &own_cnode(), first + done, some)?;
    }
    Ok(first)
}

impl Crowd {
    /// Makes and starts `count` threads, each with a scheduling context of its own. Those of a higher priority than the caller's have run by the return.
    pub fn start(env: &mut Env, count: usize, act: impl Fn(usize) -> Act) -> Outcome<Self> {
        let first = make_many(env, cap_type::Tcb::BLUEPRINT, count)?;
        let contexts = make_many(env, ObjectBlueprint::SchedContext { size_bits: 7 }, count)?;
        let crowd = Self { first };
        let guard = root_guard(&env.bootinfo);
        for i in 0..count {
            let (tcb, sc) = (crowd.tcb(i), cap::SchedContext::from_bits((contexts + i) as Word));
            let act = act(i);
            env.sched_control.sched_control_configure_flags(sc, 10_000, 10_000, 0, 0, 0)?;
            tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, slot::VSPACE.cap())?;
            let registers = UserContext {
                rip: bounded_call as *const () as u64,
                rflags: 0x202,
                rdx: act.call as u64,
                rdi: act.target,
                ..UserContext::default()
            };
            tcb.tcb_write_all_registers(false, &registers)?;
            tcb.tcb_set_sched_params(slot::TCB.cap(), 255, act.priority, sc, CPtr::from_bits(0).cast())?;
            tcb.tcb_resume()?;
        }
        Ok(crowd)
    }

    /// Thread `i`.
    fn tcb(&self, i: usize) -> cap::Tcb {
        cap::Tcb::from_bits((self.first + i) as Word)
    }
}
