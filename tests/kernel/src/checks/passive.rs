// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads without a scheduling context of their own: they run on what they are lent.

use kernel_tests::env::{HIGH, LOW, MAIN};
use kernel_tests::{Env, Me, Outcome, Thread, check, check_eq, expect_error, thread};
use sel4::init_thread::slot;
use sel4::{CapRights, Error, MessageInfo, cap};

kernel_tests::checks! {
    passive_server_runs_on_its_clients_context,
    lent_context_comes_back_with_the_reply,
    lent_context_goes_through_a_chain_of_servers,
    deleted_passive_server_gives_the_context_back,
    suspended_client_takes_its_context_back,
    passive_thread_runs_on_the_notifications_context,
    notification_context_binds_once,
    message_by_send_lends_a_context,
    context_may_have_a_thread_and_a_notification,
    passive_fault_handler_runs_on_the_faulting_threads_context,
}

/// Answers on args[0] with the reply object args[1] for ever; adds to cell 0 on each request.
fn body_serve(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let one = MessageInfo::new(0, 0, 0, 1);
    let mut word = endpoint.recv_with_mrs(reply).msg[0];
    loop {
        thread::add(0, 1);
        if me.args[2] != 0 {
            word = cap::Endpoint::from_bits(me.args[2]).call_with_mrs(one, [word]).msg[0];
        }
        word = endpoint.reply_recv_with_mrs(one, [word + 1], reply).msg[0];
    }
}

fn body_call(me: &mut Me) {
    let reply =
        cap::Endpoint::from_bits(me.args[0]).call_with_mrs(MessageInfo::new(0, 0, 0, 1), [me.args[1]]);
    thread::put(me.args[2] as usize, reply.msg[0]);
}

/// A server that waits and then loses its scheduling context.
fn passive(env: &mut Env, endpoint: cap::Endpoint, next: u64) -> Outcome<Thread> {
    let reply: cap::Reply = env.make()?;
    let server = env.spawn(HIGH, body_serve, [endpoint.bits(), reply.bits(), next, 0])?;
    server.sc.sched_context_unbind()?;
    Ok(server)
}

fn passive_server_runs_on_its_clients_context(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    passive(env, endpoint, 0)?;
    for i in 1..=3 {
        let client = env.spawn(LOW, body_call, [endpoint.bits(), 10 * i, i, 0])?;
        env.join(&[client])?;
        check_eq!((thread::get(i as usize), thread::get(0)), (10 * i + 1, i), "answer and requests");
    }
    Ok(())
}

fn lent_context_comes_back_with_the_reply(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let server = passive(env, endpoint, 0)?;
    let client = env.spawn(HIGH, body_call, [endpoint.bits(), 1, 1, 0])?;
    env.join(&[client])?;
    // The server has none again: it takes another.
    server.sc.sched_context_bind(server.tcb)?;
    server.sc.sched_context_unbind()?;
    // And the client has its own: another is refused.
    let other = env.sched_context()?;
    expect_error(other.sched_context_bind(client.tcb), Error::IllegalOperation, &[])
}

fn lent_context_goes_through_a_chain_of_servers(env: &mut Env) -> Outcome {
    let (front, back): (cap::Endpoint, cap::Endpoint) = (env.make()?, env.make()?);
    passive(env, back, 0)?;
    passive(env, front, back.bits())?;
    for i in 1..=3 {
        let client = env.spawn(LOW, body_call, [front.bits(), 100, i, 0])?;
        env.join(&[client])?;
        check_eq!(thread::get(i as usize), 102, "answer");
    }
    Ok(())
}

fn deleted_passive_server_gives_the_context_back(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let silent: cap::Notification = env.make()?;
    // Takes the request and stands still, on the client's time.
    let server = env.spawn(
        HIGH,
        |me| {
            cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[1]));
            cap::Notification::from_bits(me.args[2]).wait();
        },
        [endpoint.bits(), reply.bits(), silent.bits(), 0],
    )?;
    server.sc.sched_context_unbind()?;
    let client = env.spawn(LOW, body_call, [endpoint.bits(), 1, 1, 0])?;
    check_eq!(env.settle()? & 1 << client.id, 0, "the client's end");
    kernel_tests::env::at(server.tcb).delete()?;
    // The client's context is there for whoever gets it.
    client.tcb.tcb_suspend()?;
    let mine = client.sc.sched_context_unbind();
    check_eq!(mine, Ok(()), "the unbinding of the client's context");
    client.sc.sched_context_bind(client.tcb)?;
    client.tcb.tcb_resume()?;
    check_eq!(env.recv(endpoint)?.msg[0], 1, "the word of the call made anew");
    env.answer(0, 1, [77]);
    env.join(&[client])?;
    check_eq!(thread::get(1), 77, "answer");
    Ok(())
}

fn suspended_client_takes_its_context_back(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let server = env.spawn(
        MAIN,
        |me| {
            cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[1]));
            loop {
                thread::add(0, 1);
                sel4::yield_();
            }
        },
        [endpoint.bits(), reply.bits(), 0, 0],
    )?;
    sel4::yield_();
    server.sc.sched_context_unbind()?;
    let client = env.spawn(HIGH, body_call, [endpoint.bits(), 1, 1, 0])?;
    (0..10).for_each(|_| sel4::yield_());
    check!(thread::get(0) > 0, "the server does not run");
    client.tcb.tcb_suspend()?;
    let before = thread::get(0);
    (0..10).for_each(|_| sel4::yield_());
    check_eq!(thread::get(0), before, "what the server counted without a context");
    Ok(())
}

fn passive_thread_runs_on_the_notifications_context(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 1)?;
    let waiter = env.spawn(
        HIGH,
        |me| loop {
            thread::add(0, cap::Notification::from_bits(me.args[0]).wait());
        },
        [notification.bits(), 0, 0, 0],
    )?;
    waiter.sc.sched_context_unbind()?;
    badged.signal();
    env.settle()?;
    check_eq!(thread::get(0), 0, "signals seen without a context");
    waiter.sc.sched_context_bind(waiter.tcb)?;
    check_eq!(thread::get(0), 1, "signals seen with its own context");
    waiter.sc.sched_context_unbind()?;
    let lent = env.sched_context()?;
    lent.sched_context_bind(notification)?;
    for i in 2..=4 {
        badged.signal();
        check_eq!(thread::get(0), i, "signals seen on the notification's context");
    }
    Ok(())
}

fn notification_context_binds_once(env: &mut Env) -> Outcome {
    let (a, b): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
    let (x, y) = (env.sched_context()?, env.sched_context()?);
    x.sched_context_bind(a)?;
    expect_error(x.sched_context_bind(b), Error::IllegalOperation, &[])?;
    expect_error(y.sched_context_bind(a), Error::IllegalOperation, &[])?;
    x.sched_context_unbind_object(a)?;
    y.sched_context_bind(a)?;
    y.sched_context_unbind()?;
    x.sched_context_bind(a)?;
    Ok(())
}

fn message_by_send_lends_a_context(env: &mut Env) -> Outcome {
    // NBSendRecv lends the sender's context to a passive receiver; without one coming back the sender stays behind.
    let (endpoint, never): (cap::Endpoint, cap::Endpoint) = (env.make()?, env.make()?);
    let (r1, r2): (cap::Reply, cap::Reply) = (env.make()?, env.make()?);
    let receiver = env.spawn(
        HIGH,
        |me| {
            let received =
                cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[1]));
            thread::put(0, received.msg[0]);
        },
        [endpoint.bits(), r1.bits(), 0, 0],
    )?;
    receiver.sc.sched_context_unbind()?;
    env.spawn(
        HIGH,
        |me| {
            let (to, from) = (sel4::CPtr::from_bits(me.args[0]), sel4::CPtr::from_bits(me.args[1]));
            let one = MessageInfo::new(0, 0, 0, 1);
            sel4::nb_send_recv_with_mrs(to, one, [5], from, cap::Reply::from_bits(me.args[2]));
        },
        [endpoint.bits(), never.bits(), r2.bits(), 0],
    )?;
    env.join(&[receiver])?;
    check_eq!(thread::get(0), 5, "word");
    Ok(())
}

fn context_may_have_a_thread_and_a_notification(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let waiter = env.spawn(
        HIGH,
        |me| {
            for i in 1..=2 {
                cap::Notification::from_bits(me.args[0]).wait();
                thread::put(0, i);
            }
        },
        [notification.bits(), 0, 0, 0],
    )?;
    waiter.sc.sched_context_bind(notification)?;
    expect_error(waiter.sc.sched_context_bind(notification), Error::IllegalOperation, &[])?;
    expect_error(waiter.sc.sched_context_bind(waiter.tcb), Error::IllegalOperation, &[])?;
    notification.signal();
    check_eq!(thread::get(0), 1, "signals seen");
    // It waited again, and gave its context to the notification thereby.
    waiter.sc.sched_context_bind(waiter.tcb)?;
    notification.signal();
    env.join(&[waiter])?;
    check_eq!(thread::get(0), 2, "signals seen");
    Ok(())
}

/// Answers the fault messages of endpoint args[0] with the reply object args[1]: the thread goes on behind a two-byte instruction.
fn body_step_over(me: &mut Me) {
    let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
    let mut received = endpoint.recv_with_mrs(reply);
    loop {
        thread::add(0, 1);
        let words = [received.msg[0] + 2, received.msg[1], received.msg[2]];
        received = endpoint.reply_recv_with_mrs(MessageInfo::new(0, 0, 0, 3), words, reply);
    }
}

fn passive_fault_handler_runs_on_the_faulting_threads_context(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let reply: cap::Reply = env.make()?;
    let handler = env.spawn(HIGH, body_step_over, [endpoint.bits(), reply.bits(), 0, 0])?;
    handler.sc.sched_context_unbind()?;
    let faulter = env.thread(
        |_| {
            for _ in 0..3 {
                // SAFETY: UD2 faults, and the handler steps over it.
                unsafe { core::arch::asm!("ud2") }
            }
        },
        [0; 4],
    )?;
    faulter.tcb.tcb_set_sched_params(slot::TCB.cap(), 255, LOW, faulter.sc, endpoint)?;
    faulter.tcb.tcb_resume()?;
    env.join(&[faulter])?;
    check_eq!(thread::get(0), 3, "faults handled");
    Ok(())
}
