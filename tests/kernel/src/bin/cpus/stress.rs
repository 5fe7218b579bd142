// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at once: threads on all processors signal, call, are suspended, moved, unbound and deleted in an order that is different each
//! time. What holds is that nothing is lost, and that the kernel goes on.

use core::arch::asm;

use kernel_tests::env::{LOW, at};
use kernel_tests::random::Random;
use kernel_tests::{Env, Me, Outcome, check_eq, machine, thread};
use sel4::init_thread::slot;
use sel4::{CPtr, MessageInfo, cap, nb_send_recv_with_mrs};
use sel4_abi::label;

use crate::worker::*;

kernel_tests::checks! {
    calls_go_on_beside_everything,
    threads_come_and_go_on_all_processors,
    each_message_is_received_once_whatever_comes_between_the_halves_of_a_call,
}

/// Cell of a worker's scheduling context.
const SC: usize = 9;

fn calls_go_on_beside_everything(env: &mut Env) -> Outcome {
    const CALLS: u64 = 400;
    let nodes = env.bootinfo.num_nodes();
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let server = spawn_on(env, 1, serve, [endpoint.bits(), reply.bits(), 0, 0])?;
    let clients = [
        spawn_on(env, 1, call, [endpoint.bits(), CALLS, 10, 0])?,
        spawn_on(env, nodes - 1, call, [endpoint.bits(), CALLS, 11, 0])?,
    ];
    let mut numbers = Random(machine::rdtsc() | 1);
    while (thread::get(10), thread::get(11)) != (CALLS, CALLS) {
        let client = clients[numbers.index(2)];
        match numbers.index(6) {
            0 => put_on(env, 1 + numbers.index(nodes - 1), client.sc)?,
            1 => put_on(env, 1 + numbers.index(nodes - 1), server.sc)?,
            2 => {
                server.tcb.tcb_suspend()?;
                server.tcb.tcb_resume()?;
            }
            3 => _ = client.tcb.tcb_read_all_registers(false)?,
            4 => _ = client.sc.sched_context_consumed()?,
            _ => core::hint::spin_loop(),
        }
    }
    check_eq!((thread::get(10), thread::get(11)), (CALLS, CALLS), "right answers");
    Ok(())
}

fn threads_come_and_go_on_all_processors(env: &mut Env) -> Outcome {
    let nodes = env.bootinfo.num_nodes();
    let mut numbers = Random(machine::rdtsc() | 1);
    for _ in 0..60 {
        let (there, back): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
        let bodies = [count, count_in_calls, tell_processor];
        let core = 1 + numbers.index(nodes - 1);
        let counter = spawn_on(env, core, bodies[numbers.index(3)], [0; 4])?;
        let ponger =
            spawn_on(env, 1 + numbers.index(nodes - 1), pong, [there.bits(), back.bits(), u64::MAX, 0])?;
        for _ in 0..numbers.index(10) {
            there.signal();
            match numbers.index(4) {
                0 => put_on(env, 1 + numbers.index(nodes - 1), counter.sc)?,
                1 => {
                    counter.tcb.tcb_suspend()?;
                    counter.tcb.tcb_resume()?;
                }
                2 => {
                    counter.sc.sched_context_unbind()?;
                    counter.sc.sched_context_bind(counter.tcb)?;
                }
                _ => machine::pass(numbers.below(20)),
            }
        }
        // One object after the other, in one of several orders, each with threads running on it.
        let mut caps = [at(counter.tcb), at(there), at(counter.sc), at(ponger.sc), at(ponger.tcb), at(back)];
        let turn = numbers.index(caps.len());
        caps.rotate_left(turn);
        for cap in caps {
            cap.revoke()?;
            cap.delete()?;
        }
        env.reuse_threads();
        at(env.arena).revoke()?;
    }
    Ok(())
}

/// Gives itself time on the processors of args[2] and args[3], in turn, and receives on args[0] with the reply object args[1] in the same call, for ever:
/// the kernel looks in between whether another processor waits for it. Counts the messages and adds up their words, in a vector register too.
fn move_and_receive(me: &mut Me) {
    const CONFIGURE: MessageInfo = MessageInfo::new(label::SCHED_CONTROL_CONFIGURE_FLAGS, 0, 1, 5);
    let [endpoint, reply, mut here, mut there] = me.args;
    let (endpoint, reply) = (CPtr::from_bits(endpoint), cap::Reply::from_bits(reply));
    me.ipc.msg_regs_mut()[4] = 0;
    me.ipc.caps_or_badges_mut()[0] = thread::get(SC);
    let mut sum = 0;
    loop {
        let kept: u64;
        let sum_before = sum;
        // SAFETY: a register that nobody uses in between.
        unsafe { asm!("movq xmm7, {}", in(reg) sum_before, out("xmm7") _) };
        core::mem::swap(&mut here, &mut there);
        let time = [10_000, 10_000, 0, 0];
        let word = nb_send_recv_with_mrs(CPtr::from_bits(here), CONFIGURE, time, endpoint, reply).msg[0];
        // SAFETY: as above.
        unsafe { asm!("movq {}, xmm7", out(reg) kept) };
        sum = kept + word;
        thread::put(11, sum);
        thread::add(10, 1);
    }
}

/// Looks at the thread args[0] or changes its priority a few times for each message, until cell 12 is set. (Without end it would keep the thread from
/// making system calls.)
fn meddle(me: &mut Me) {
    let tcb = cap::Tcb::from_bits(me.args[0]);
    let mut numbers = Random(machine::rdtsc() | 1);
    while thread::get(12) == 0 {
        let seen = thread::get(10);
        for _ in 0..1 + numbers.index(3) {
            let tcb = tcb.with(&mut *me.ipc);
            let done = match numbers.index(2) {
                0 => tcb.tcb_read_all_registers(false).map(drop),
                _ => tcb.tcb_set_priority(slot::TCB.cap(), LOW + numbers.below(10)),
            };
            if done.is_err() {
                return;
            }
        }
        until(|| thread::get(10) != seen || thread::get(12) != 0);
    }
}

fn each_message_is_received_once_whatever_comes_between_the_halves_of_a_call(env: &mut Env) -> Outcome {
    const MESSAGES: u64 = 300;
    let nodes = env.bootinfo.num_nodes();
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let controls = [control(env, 1)?, control(env, nodes - 1)?].map(|control| control.bits());
    let worker = env.thread(move_and_receive, [endpoint.bits(), reply.bits(), controls[0], controls[1]])?;
    thread::put(SC, worker.sc.bits());
    put_on(env, 1, worker.sc)?;
    env.start(worker, LOW)?;
    let meddler = spawn_on(env, nodes - 1, meddle, [worker.tcb.bits(), 0, 0, 0])?;
    if nodes == 2 {
        // It would have to share the worker's.
        meddler.tcb.tcb_suspend()?;
    }
    let mut numbers = Random(machine::rdtsc() | 1);
    for word in 0..MESSAGES {
        for _ in 0..numbers.index(4) {
            match numbers.index(5) {
                0 => put_on(env, 1 + numbers.index(nodes - 1), worker.sc)?,
                1 => {
                    worker.tcb.tcb_suspend()?;
                    worker.tcb.tcb_resume()?;
                }
                2 => {
                    let registers = worker.tcb.tcb_read_all_registers(true)?;
                    worker.tcb.tcb_write_all_registers(true, &registers)?;
                }
                3 => {
                    worker.sc.sched_context_unbind()?;
                    worker.sc.sched_context_bind(worker.tcb)?;
                }
                _ => _ = worker.sc.sched_context_consumed()?,
            }
        }
        endpoint.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [word]);
    }
    until(|| thread::get(10) >= MESSAGES);
    thread::put(12, 1);
    let sum = MESSAGES * (MESSAGES - 1) / 2;
    check_eq!((thread::get(10), thread::get(11)), (MESSAGES, sum), "messages, and their sum");
    Ok(())
}
