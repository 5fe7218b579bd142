// SPDX-License-Identifier: MIT OR Apache-2.0
//! Timeout faults: the end of a budget as a message.

use kernel_tests::env::{HIGH, LOW};
use kernel_tests::{Env, Me, Outcome, check, check_eq, expect_error, thread};
use sel4::{CapRights, Error, Fault, MessageInfo, cap};

kernel_tests::checks! {
    timeout_endpoint_is_checked,
    end_of_a_budget_is_a_timeout_fault,
    round_robin_has_no_timeouts,
    timeout_of_a_server_goes_on_to_its_client,
}

/// Counts in cell 0 for ever.
fn body_count(_: &mut Me) {
    loop {
        thread::add(0, 1);
    }
}

fn timeout_endpoint_is_checked(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let thread = env.thread(|_| (), [0; 4])?;
    thread.tcb.tcb_set_timeout_endpoint(endpoint)?;
    thread.tcb.tcb_set_timeout_endpoint(sel4::NULL.cast())?;
    for rights in [CapRights::read_only(), CapRights::write_only()] {
        let weak = env.copy(endpoint, rights)?;
        expect_error(thread.tcb.tcb_set_timeout_endpoint(weak), Error::InvalidCapability, &[1])?;
    }
    let notification: cap::Notification = env.make()?;
    let wrong = cap::Endpoint::from_bits(notification.bits());
    expect_error(thread.tcb.tcb_set_timeout_endpoint(wrong), Error::InvalidCapability, &[1])
}

/// The badge and the time of the timeout fault that comes next at `endpoint`, and the badge of who sends it.
fn timeout_at(env: &mut Env, endpoint: cap::Endpoint, reply: cap::Reply) -> Outcome<(u64, u64, u64)> {
    let (info, badge) = env.recv_later(endpoint, reply);
    match sel4::with_ipc_buffer(|buffer| Fault::new(buffer, &info)) {
        Some(Fault::Timeout(fault)) => Ok((fault.data, fault.consumed, badge)),
        other => Err(kernel_tests::Failure::new(format_args!("{other:x?} and not a timeout"))),
    }
}

fn end_of_a_budget_is_a_timeout_fault(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let thread = env.thread(body_count, [0; 4])?;
    env.sched_control.sched_control_configure_flags(thread.sc, 1000, 5000, 0, 77, 0)?;
    thread.tcb.tcb_set_timeout_endpoint(endpoint)?;
    env.start(thread, HIGH)?;
    let mut count = 0;
    for _ in 0..5 {
        let (data, consumed, _) = timeout_at(env, endpoint, reply)?;
        check_eq!(data, 77, "badge of the context");
        check!((900..50_000).contains(&consumed), "the thread had {consumed} us");
        let now = thread::get(0);
        check!(now > count, "the thread did not go on where it was");
        count = now;
        // It goes on when there is time again.
        reply.send_with_mrs(MessageInfo::new(0, 0, 0, 0), [0; 0]);
    }
    timeout_at(env, endpoint, reply)?;
    // A label says: not again.
    reply.send_with_mrs(MessageInfo::new(1, 0, 0, 0), [0; 0]);
    let end = thread::get(0);
    env.settle()?;
    check_eq!(thread::get(0), end, "count of a thread that was told to stop");
    Ok(())
}

fn round_robin_has_no_timeouts(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let thread = env.thread(body_count, [0; 4])?;
    env.sched_control.sched_control_configure_flags(thread.sc, 1000, 1000, 0, 1, 0)?;
    thread.tcb.tcb_set_timeout_endpoint(endpoint)?;
    env.start(thread, kernel_tests::env::MAIN)?;
    (0..5).for_each(|_| sel4::yield_());
    let badge = endpoint.nb_recv(env.reply).1;
    check_eq!(badge, 0, "badge of who sends a timeout");
    check!(thread::get(0) > 0, "the thread did not run");
    Ok(())
}

fn timeout_of_a_server_goes_on_to_its_client(env: &mut Env) -> Outcome {
    let (endpoint, timeouts): (cap::Endpoint, cap::Endpoint) = (env.make()?, env.make()?);
    let (server_reply, reply): (cap::Reply, cap::Reply) = (env.make()?, env.make()?);
    // A passive server that uses up whatever it gets.
    let server = env.spawn(
        HIGH,
        |me| {
            cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[1]));
            loop {
                thread::add(0, 1);
            }
        },
        [endpoint.bits(), server_reply.bits(), 0, 0],
    )?;
    server.sc.sched_context_unbind()?;
    server.tcb.tcb_set_timeout_endpoint(env.mint(timeouts, CapRights::all(), 1)?)?;
    let client = env.thread(
        |me| {
            cap::Endpoint::from_bits(me.args[0]).call_with_mrs(MessageInfo::new(0, 0, 0, 0), [0; 0]);
            thread::put(1, 1);
        },
        [endpoint.bits(), 0, 0, 0],
    )?;
    client.tcb.tcb_set_timeout_endpoint(env.mint(timeouts, CapRights::all(), 2)?)?;
    // 2 ms, and then nothing for 10 minutes.
    env.sched_control.sched_control_configure_flags(client.sc, 2000, 600_000_000, 0, 5, 0)?;
    env.start(client, LOW)?;
    let (data, _, badge) = timeout_at(env, timeouts, reply)?;
    check_eq!((data, badge), (5, 1), "badges of the context and of the server");
    // The client gets its answer, and its context back, on which it can't run.
    server_reply.send_with_mrs(MessageInfo::new(0, 0, 0, 0), [0; 0]);
    let (data, _, badge) = timeout_at(env, timeouts, reply)?;
    check_eq!((data, badge), (5, 2), "badges of the context and of the client");
    check_eq!(thread::get(1), 0, "what the client did without time");
    // With time it goes on behind its call.
    env.sched_control.sched_control_configure_flags(client.sc, 10_000, 10_000, 0, 5, 0)?;
    reply.send_with_mrs(MessageInfo::new(0, 0, 0, 0), [0; 0]);
    env.join(&[client])?;
    check_eq!(thread::get(1), 1, "what the client did");
    Ok(())
}
