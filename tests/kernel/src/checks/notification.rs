// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Me, Outcome, check, check_eq, expect_error, thread};
use sel4::init_thread::slot;
use sel4::{CapRights, Error, Fault, MessageInfo, cap};

kernel_tests::checks! {
    signals_are_ored_and_taken_once,
    wait_blocks_until_a_signal,
    each_signal_wakes_one_waiter,
    waiters_are_woken_by_priority,
    bound_notification_arrives_at_an_endpoint,
    bound_notification_does_not_lose_early_signals,
    bound_notification_is_waited_for_by_its_thread_only,
    notification_binds_once,
    unbound_notification_stays_away,
    deleted_notification_is_unbound,
    wait_without_the_read_right_faults,
}

fn body_wait(me: &mut Me) {
    let badge = cap::Notification::from_bits(me.args[0]).wait();
    thread::put(me.args[1] as usize, badge);
}

/// Receives on args[0] with the reply object args[1], and puts the badge into cell args[2].
fn body_recv(me: &mut Me) {
    let received = cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[1]));
    thread::put(me.args[2] as usize, received.badge);
}

fn signals_are_ored_and_taken_once(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    for badge in [1, 4, 4, 1 << 63] {
        env.mint(notification, CapRights::write_only(), badge)?.signal();
    }
    check_eq!(notification.poll(), 1 | 4 | 1 << 63, "word");
    check_eq!(notification.poll(), 0, "word afterwards");
    env.mint(notification, CapRights::all(), 2)?.signal();
    check_eq!(notification.wait(), 2, "word that was waited for");
    Ok(())
}

fn wait_blocks_until_a_signal(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 0x77)?;
    let waiter = env.spawn(HIGH, body_wait, [notification.bits(), 1, 0, 0])?;
    check_eq!(thread::get(1), 0, "word before the signal");
    badged.signal();
    env.join(&[waiter])?;
    check_eq!(thread::get(1), 0x77, "word");
    Ok(())
}

fn each_signal_wakes_one_waiter(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 1)?;
    let first = env.spawn(HIGH, body_wait, [notification.bits(), 1, 0, 0])?;
    let second = env.spawn(HIGH, body_wait, [notification.bits(), 2, 0, 0])?;
    badged.signal();
    check_eq!((thread::get(1), thread::get(2)), (1, 0), "words after the first signal");
    badged.signal();
    env.join(&[first, second])?;
    check_eq!((thread::get(1), thread::get(2)), (1, 1), "words after the second signal");
    Ok(())
}

fn waiters_are_woken_by_priority(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 1)?;
    env.spawn(HIGH, body_wait, [notification.bits(), 1, 0, 0])?;
    env.spawn(HIGH + 1, body_wait, [notification.bits(), 2, 0, 0])?;
    badged.signal();
    check_eq!((thread::get(1), thread::get(2)), (0, 1), "words after one signal");
    Ok(())
}

fn bound_notification_arrives_at_an_endpoint(env: &mut Env) -> Outcome {
    let (notification, endpoint): (cap::Notification, cap::Endpoint) = (env.make()?, env.make()?);
    let badged = env.mint(notification, CapRights::all(), 0x1001)?;
    let reply: cap::Reply = env.make()?;
    let receiver = env.thread(body_recv, [endpoint.bits(), reply.bits(), 1, 0])?;
    receiver.tcb.tcb_bind_notification(notification)?;
    env.start(receiver, HIGH)?;
    badged.signal();
    env.join(&[receiver])?;
    check_eq!(thread::get(1), 0x1001, "badge");
    // Another thread can't wait for a notification that is bound.
    receiver.tcb.tcb_unbind_notification()?;
    check_eq!(notification.poll(), 0, "word afterwards");
    Ok(())
}

fn bound_notification_does_not_lose_early_signals(env: &mut Env) -> Outcome {
    let (notification, endpoint): (cap::Notification, cap::Endpoint) = (env.make()?, env.make()?);
    let badged = env.mint(notification, CapRights::all(), 0x1002)?;
    let reply: cap::Reply = env.make()?;
    badged.signal();
    let receiver = env.thread(body_recv, [endpoint.bits(), reply.bits(), 1, 0])?;
    receiver.tcb.tcb_bind_notification(notification)?;
    env.start(receiver, HIGH)?;
    env.join(&[receiver])?;
    check_eq!(thread::get(1), 0x1002, "badge");
    Ok(())
}

fn bound_notification_is_waited_for_by_its_thread_only(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let other = env.thread(|_| (), [0; 4])?;
    other.tcb.tcb_bind_notification(notification)?;
    let waiter = env.spawn(HIGH, body_wait, [notification.bits(), 1, 0, 0])?;
    match env.fault_of(waiter)? {
        Fault::CapFault(fault) => {
            check!(fault.in_receive && fault.address == notification.bits(), "{fault:x?}");
            let expected = sel4::LookupFailure::MissingCapability { bits_left: 0 };
            check_eq!(fault.failure, Some(expected), "failure");
        }
        other => check!(false, "{other:x?} is no capability fault"),
    }
    Ok(())
}

fn notification_binds_once(env: &mut Env) -> Outcome {
    let (a, b): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
    let (x, y) = (env.thread(|_| (), [0; 4])?, env.thread(|_| (), [0; 4])?);
    expect_error(x.tcb.tcb_unbind_notification(), Error::IllegalOperation, &[])?;
    x.tcb.tcb_bind_notification(a)?;
    expect_error(x.tcb.tcb_bind_notification(b), Error::IllegalOperation, &[])?;
    expect_error(y.tcb.tcb_bind_notification(a), Error::IllegalOperation, &[])?;
    x.tcb.tcb_unbind_notification()?;
    y.tcb.tcb_bind_notification(a)?;
    let weak = env.copy(b, CapRights::write_only())?;
    expect_error(x.tcb.tcb_bind_notification(weak), Error::IllegalOperation, &[])?;
    let wrong = cap::Notification::from_bits(slot::TCB.cap().bits());
    expect_error(x.tcb.tcb_bind_notification(wrong), Error::IllegalOperation, &[])
}

fn unbound_notification_stays_away(env: &mut Env) -> Outcome {
    let (notification, endpoint): (cap::Notification, cap::Endpoint) = (env.make()?, env.make()?);
    let badged = env.mint(notification, CapRights::all(), 0x1003)?;
    let reply: cap::Reply = env.make()?;
    let receiver = env.thread(body_recv, [endpoint.bits(), reply.bits(), 1, 0])?;
    receiver.tcb.tcb_bind_notification(notification)?;
    receiver.tcb.tcb_unbind_notification()?;
    env.start(receiver, HIGH)?;
    badged.signal();
    check_eq!(env.settle()? & 1 << receiver.id, 0, "the receiver's end");
    check_eq!(notification.poll(), 0x1003, "word");
    Ok(())
}

fn deleted_notification_is_unbound(env: &mut Env) -> Outcome {
    let (notification, endpoint): (cap::Notification, cap::Endpoint) = (env.make()?, env.make()?);
    let reply: cap::Reply = env.make()?;
    let receiver = env.thread(body_recv, [endpoint.bits(), reply.bits(), 1, 0])?;
    receiver.tcb.tcb_bind_notification(notification)?;
    env.start(receiver, HIGH)?;
    at(notification).delete()?;
    let second: cap::Notification = env.make()?;
    receiver.tcb.tcb_bind_notification(second)?;
    endpoint.send_with_mrs(MessageInfo::new(0, 0, 0, 0), []);
    env.join(&[receiver])
}

fn wait_without_the_read_right_faults(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let weak = env.copy(notification, CapRights::write_only())?;
    let waiter = env.spawn(HIGH, body_wait, [weak.bits(), 1, 0, 0])?;
    let fault = env.fault_of(waiter)?;
    check!(matches!(fault, Fault::CapFault(f) if f.in_receive), "{fault:x?}");
    Ok(())
}
