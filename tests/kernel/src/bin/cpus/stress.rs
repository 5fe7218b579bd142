// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at once: threads on all processors signal, call, are suspended, moved, unbound and deleted in an order that is different each
//! time. What holds is that nothing is lost, and that the kernel goes on.

use kernel_tests::env::at;
use kernel_tests::random::Random;
use kernel_tests::{Env, Outcome, check_eq, machine, thread};
use sel4::cap;

use crate::worker::*;

kernel_tests::checks! {
    calls_go_on_beside_everything,
    threads_come_and_go_on_all_processors,
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
