// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at once: threads on all processors signal, call, are suspended, moved, unbound and deleted in an order that is different each
//! time. What holds is that nothing is lost, and that the kernel goes on.

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

/// Invokes args[2] and receives on args[0] with the reply object args[1] in one call, for ever: the kernel looks in between whether another
/// processor waits for it. Counts the messages and adds up their words.
fn invoke_and_receive(me: &mut Me) {
    let [endpoint, reply, invoked, _] = me.args;
    let info = MessageInfo::new(label::SCHED_CONTEXT_CONSUMED, 0, 0, 0);
    let (invoked, endpoint, reply) =
        (CPtr::from_bits(invoked), CPtr::from_bits(endpoint), cap::Reply::from_bits(reply));
    loop {
        let word = nb_send_recv_with_mrs(invoked, info, [0], endpoint, reply).msg[0];
        thread::add(11, word);
        thread::add(10, 1);
    }
}

fn each_message_is_received_once_whatever_comes_between_the_halves_of_a_call(env: &mut Env) -> Outcome {
    const MESSAGES: u64 = 1000;
    let nodes = env.bootinfo.num_nodes();
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let other = env.sched_context()?;
    let worker = spawn_on(env, 1, invoke_and_receive, [endpoint.bits(), reply.bits(), other.bits(), 0])?;
    let mut numbers = Random(machine::rdtsc() | 1);
    for word in 0..MESSAGES {
        for _ in 0..numbers.index(4) {
            match numbers.index(7) {
                0 => put_on(env, 1 + numbers.index(nodes - 1), worker.sc)?,
                1 => {
                    worker.tcb.tcb_suspend()?;
                    worker.tcb.tcb_resume()?;
                }
                2 => {
                    let registers = worker.tcb.tcb_read_all_registers(true)?;
                    worker.tcb.tcb_write_all_registers(true, &registers)?;
                }
                3 => worker.tcb.tcb_resume()?,
                4 => {
                    worker.sc.sched_context_unbind()?;
                    worker.sc.sched_context_bind(worker.tcb)?;
                }
                5 => worker.tcb.tcb_set_priority(slot::TCB.cap(), LOW + numbers.below(10))?,
                _ => _ = other.sched_context_consumed()?,
            }
        }
        endpoint.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [word]);
    }
    until(|| thread::get(10) >= MESSAGES);
    check_eq!(
        (thread::get(10), thread::get(11)),
        (MESSAGES, MESSAGES * (MESSAGES - 1) / 2),
        "messages, and their sum"
    );
    Ok(())
}
