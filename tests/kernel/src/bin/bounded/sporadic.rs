// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many threads on sporadic scheduling contexts with as many refills to come as the kernel keeps apart, all due, that wait on what is deleted.

use kernel_tests::env::{HIGH, at};
use kernel_tests::machine::{pass_until, rdtsc, ticks_per_us};
use kernel_tests::{Env, Outcome, check};
use sel4::abi::sched::FLAG_SPORADIC;
use sel4::abi::syscall as number;
use sel4::{CapTypeForObjectOfFixedSize, ObjectBlueprint, UserContext, Word, cap, cap_type};

use crate::crowd::{make_many, prepare};

kernel_tests::checks! {
    endpoint_that_many_with_refills_send_to,
    notification_that_many_with_refills_wait_for,
}

// Waits R12 times for the notification RBP, each time for a little, then makes system call R13 of R14. It has no fault handler, and stops when that is
// over.
core::arch::global_asm!(
    ".global bounded_waits",
    "bounded_waits:",
    "mov rdi, rbp",
    "mov rdx, {wait}",
    "syscall",
    "dec r12",
    "jnz bounded_waits",
    "mov rdi, r14",
    "mov rdx, r13",
    "xor esi, esi",
    "syscall",
    "ud2",
    wait = const number::WAIT,
);
unsafe extern "C" {
    fn bounded_waits();
}

/// Threads.
const MANY: usize = 100;
/// Refills of each, and the parts of a period in which each uses time.
const PARTS: u64 = 16;
/// Microseconds between two uses, a little more than a part.
const BETWEEN_US: u64 = 1000;
const PERIOD_US: u64 = PARTS * (BETWEEN_US - 10);
const BUDGET_US: u64 = PERIOD_US / 2;

/// Makes the threads, which in the end make system call `call` of `target`, and have used time in all parts of the period then; all of that comes back.
fn wait_for(env: &mut Env, call: i64, target: Word) -> Outcome {
    let tick = ticks_per_us(&env.bootinfo);
    let turns: cap::Notification = env.make()?;
    let threads = make_many(env, cap_type::Tcb::BLUEPRINT, MANY)?;
    let contexts = make_many(env, ObjectBlueprint::SchedContext { size_bits: 9 }, MANY)?;
    for i in 0..MANY {
        let (tcb, sc) = (
            cap::Tcb::from_bits((threads + i) as Word),
            cap::SchedContext::from_bits((contexts + i) as Word),
        );
        let (extra, flags) = (PARTS - 1, FLAG_SPORADIC);
        env.sched_control.sched_control_configure_flags(sc, BUDGET_US, PERIOD_US, extra, 0, flags)?;
        let registers = UserContext {
            rip: bounded_waits as *const () as u64,
            rflags: 0x202,
            r12: PARTS,
            r13: call as u64,
            r14: target,
            rbp: turns.bits(),
            ..UserContext::default()
        };
        prepare(env, tcb, sc, HIGH, &registers)?;
        tcb.tcb_resume()?;
    }
    let begin = rdtsc();
    for part in 0..PARTS {
        pass_until(begin + part * BETWEEN_US * tick);
        for _ in 0..MANY {
            turns.signal();
        }
    }
    check!(rdtsc() < begin + PERIOD_US * tick, "the period was over before all had used their time");
    pass_until(rdtsc() + (PERIOD_US + BETWEEN_US) * tick);
    Ok(())
}

fn endpoint_that_many_with_refills_send_to(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    wait_for(env, number::SEND, endpoint.bits())?;
    Ok(at(endpoint).delete()?)
}

fn notification_that_many_with_refills_wait_for(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    wait_for(env, number::WAIT, notification.bits())?;
    Ok(at(notification).delete()?)
}
