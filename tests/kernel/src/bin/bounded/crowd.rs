// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many threads that make one system call each and then stop: they have neither stack nor IPC buffer.

use kernel_tests::env::{own_cnode, root_guard};
use kernel_tests::{Env, Outcome, thread};
use sel4::abi::syscall as number;
use sel4::init_thread::slot;
use sel4::{CPtr, CapTypeForObjectOfFixedSize, ObjectBlueprint, UserContext, Word, cap, cap_type};

/// Objects that one retype makes at most.
pub const FAN_OUT: usize = 256;

// The system call is in the registers; it is made after R14 ticks. Whoever comes back from it counts in the cell at RBX; it has no fault handler, and
// stops.
core::arch::global_asm!(
    ".global bounded_call",
    "bounded_call:",
    "mov r11, rdx",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "add r14, rax",
    "2:",
    "rdtsc",
    "shl rdx, 32",
    "or rax, rdx",
    "cmp rax, r14",
    "jb 2b",
    "mov rdx, r11",
    "syscall",
    "lock inc qword ptr [rbx]",
    "ud2"
);
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
    /// Ticks before it.
    pub after: Word,
    /// Budget and period, microseconds.
    pub time: (u64, u64),
    /// Where the end of its budget is told.
    pub timeouts: cap::Endpoint,
    /// Its domain; 0 is that of whoever makes it.
    pub domain: u8,
}

/// No endpoint.
pub const NONE: cap::Endpoint = cap::Endpoint::from_bits(0);

/// All of the time.
const ALWAYS: (u64, u64) = (10_000, 10_000);
/// Cell that counts the threads that came back from their system calls.
const BACK: usize = 7;

/// How many threads have come back from their system calls since the check began.
pub fn came_back() -> u64 {
    thread::get(BACK)
}

impl Act {
    /// Sends through `endpoint`, for ever.
    pub fn send(priority: Word, endpoint: cap::Endpoint) -> Self {
        Self {
            priority,
            call: number::SEND,
            target: endpoint.bits(),
            after: 0,
            time: ALWAYS,
            timeouts: NONE,
            domain: 0,
        }
    }
    /// Waits for `notification`.
    pub fn wait(priority: Word, notification: cap::Notification) -> Self {
        Self {
            priority,
            call: number::WAIT,
            target: notification.bits(),
            after: 0,
            time: ALWAYS,
            timeouts: NONE,
            domain: 0,
        }
    }
    /// Gives its budget up, and comes back after the period.
    pub fn give_up(priority: Word, time: (u64, u64)) -> Self {
        Self { priority, call: number::YIELD, target: 0, after: 0, time, timeouts: NONE, domain: 0 }
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

/// Gives a thread that begins with `registers` the check's spaces, a scheduling context and a priority; it has neither stack nor IPC buffer.
pub fn prepare(
    env: &Env,
    tcb: cap::Tcb,
    sc: cap::SchedContext,
    priority: Word,
    registers: &UserContext,
) -> Outcome {
    let guard = root_guard(&env.bootinfo);
    tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, slot::VSPACE.cap())?;
    tcb.tcb_write_all_registers(false, registers)?;
    Ok(tcb.tcb_set_sched_params(slot::TCB.cap(), 255, priority, sc, CPtr::from_bits(0).cast())?)
}

impl Crowd {
    /// Makes and starts `count` threads, each with a scheduling context of its own. Those of a higher priority than the caller's have run by the return.
    pub fn start(env: &mut Env, count: usize, act: impl Fn(usize) -> Act) -> Outcome<Self> {
        let first = make_many(env, cap_type::Tcb::BLUEPRINT, count)?;
        let contexts = make_many(env, ObjectBlueprint::SchedContext { size_bits: 7 }, count)?;
        let crowd = Self { first };
        for i in 0..count {
            let (tcb, sc) = (crowd.tcb(i), cap::SchedContext::from_bits((contexts + i) as Word));
            let act = act(i);
            env.sched_control.sched_control_configure_flags(sc, act.time.0, act.time.1, 0, 0, 0)?;
            let registers = UserContext {
                rip: bounded_call as *const () as u64,
                rflags: 0x202,
                rdx: act.call as u64,
                rdi: act.target,
                rbx: thread::cell(BACK).as_ptr() as u64,
                r14: act.after,
                ..UserContext::default()
            };
            prepare(env, tcb, sc, act.priority, &registers)?;
            if act.timeouts.bits() != 0 {
                tcb.tcb_set_timeout_endpoint(act.timeouts)?;
            }
            if act.domain != 0 {
                slot::DOMAIN_SET.cap().domain_set_set(act.domain, tcb)?;
            }
            tcb.tcb_resume()?;
        }
        Ok(crowd)
    }

    /// Thread `i`.
    fn tcb(&self, i: usize) -> cap::Tcb {
        cap::Tcb::from_bits((self.first + i) as Word)
    }
}
