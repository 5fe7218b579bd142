// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capabilities in messages, and the right to reply.

use kernel_tests::env::{HIGH, LOW, at};
use kernel_tests::{Env, Me, Outcome, check, check_eq, thread};
use sel4::init_thread::slot;
use sel4::{CapRights, CapRightsBuilder, MessageInfo, cap, cap_type};

kernel_tests::checks! {
    capability_arrives_in_the_receive_slot,
    capability_needs_the_grant_right,
    capability_of_the_same_endpoint_arrives_as_its_badge,
    only_one_capability_is_transferred,
    capability_after_a_badge_is_transferred,
    full_receive_slot_takes_nothing,
    bad_receive_slot_takes_nothing,
    empty_slot_is_no_capability,
    capability_that_does_not_resolve_faults,
    capability_comes_back_in_a_reply,
    call_without_grant_or_grant_reply_is_not_answered,
    call_with_grant_reply_is_answered,
    reply_object_is_used_again,
    deleted_reply_object_leaves_the_caller,
    replies_go_to_their_callers,
    reply_object_of_a_new_receive_drops_the_old_caller,
    revoked_caller_frees_its_reply_object,
    nested_calls_unwind,
}

/// Sends args[1..] (0: none) as capabilities through args[0].
fn body_send_caps(me: &mut Me) {
    let caps = &me.args[1..];
    let count = caps.iter().take_while(|cap| **cap != 0).count();
    me.ipc.caps_or_badges_mut()[..count].copy_from_slice(&caps[..count]);
    let endpoint = cap::Endpoint::from_bits(me.args[0]);
    endpoint.with(&mut *me.ipc).send(MessageInfo::new(1, 0, count, 0));
}

fn body_call(me: &mut Me) {
    let reply =
        cap::Endpoint::from_bits(me.args[0]).call_with_mrs(MessageInfo::new(3, 0, 0, 1), [me.args[1]]);
    thread::put(me.args[2] as usize, reply.msg[0]);
}

/// Makes an empty slot the receive slot.
fn receive_slot(env: &mut Env) -> Outcome<cap::Notification> {
    let slot = env.empty::<cap_type::Notification>()?;
    sel4::with_ipc_buffer_mut(|buffer| buffer.set_recv_slot(&at(slot)));
    Ok(slot)
}

fn is_empty(env: &mut Env, slot: cap::Notification) -> Outcome<bool> {
    let probe = env.empty::<cap_type::Notification>()?;
    Ok(at(probe).copy(&at(slot), CapRights::all()).is_err())
}

fn capability_arrives_in_the_receive_slot(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 0x33)?;
    let received = receive_slot(env)?;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), badged.bits(), 0, 0])?;
    let message = env.recv(endpoint)?;
    check_eq!((message.info.extra_caps(), message.info.caps_unwrapped()), (1, 0), "capabilities");
    received.signal();
    check_eq!(notification.poll(), 0x33, "word of the notification");
    env.join(&[sender])?;
    // What was received derives from what was sent.
    at(notification).revoke()?;
    check!(is_empty(env, received)?, "the received capability outlived the revoke");
    Ok(())
}

fn capability_needs_the_grant_right(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let rights = CapRightsBuilder::all().grant(false).build();
    let weak = env.copy(endpoint, rights)?;
    let notification: cap::Notification = env.make()?;
    let received = receive_slot(env)?;
    let sender = env.spawn(HIGH, body_send_caps, [weak.bits(), notification.bits(), 0, 0])?;
    let message = env.recv(endpoint)?;
    check_eq!((message.info.label(), message.info.extra_caps()), (1, 0), "label and capabilities");
    check!(is_empty(env, received)?, "a capability arrived");
    env.join(&[sender])
}

fn capability_of_the_same_endpoint_arrives_as_its_badge(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let (a, b) = (env.mint(endpoint, CapRights::all(), 0xa)?, env.mint(endpoint, CapRights::all(), 0xb)?);
    let received = receive_slot(env)?;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), a.bits(), b.bits(), endpoint.bits()])?;
    let (info, _) = endpoint.recv(env.reply);
    check_eq!((info.extra_caps(), info.caps_unwrapped()), (3, 0b111), "capabilities");
    let badges = sel4::with_ipc_buffer(|buffer| *buffer.caps_or_badges());
    check_eq!(badges, [0xa, 0xb, 0], "badges");
    check!(is_empty(env, received)?, "a capability arrived");
    env.join(&[sender])
}

fn only_one_capability_is_transferred(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let (a, b): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
    let badged = env.mint(a, CapRights::all(), 0x44)?;
    let received = receive_slot(env)?;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), badged.bits(), b.bits(), 0])?;
    let message = env.recv(endpoint)?;
    check_eq!((message.info.extra_caps(), message.info.caps_unwrapped()), (1, 0), "capabilities");
    received.signal();
    check_eq!(a.poll(), 0x44, "word of the first notification");
    env.join(&[sender])
}

fn capability_after_a_badge_is_transferred(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let badged = env.mint(endpoint, CapRights::all(), 0xcc)?;
    let notification: cap::Notification = env.make()?;
    let sent = env.mint(notification, CapRights::all(), 0x55)?;
    let received = receive_slot(env)?;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), badged.bits(), sent.bits(), 0])?;
    let (info, _) = endpoint.recv(env.reply);
    check_eq!((info.extra_caps(), info.caps_unwrapped()), (2, 0b01), "capabilities");
    check_eq!(sel4::with_ipc_buffer(|buffer| buffer.badge(0)), Some(0xcc), "badge");
    received.signal();
    check_eq!(notification.poll(), 0x55, "word of the notification");
    env.join(&[sender])
}

fn full_receive_slot_takes_nothing(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let notification: cap::Notification = env.make()?;
    let occupied = receive_slot(env)?;
    let other: cap::Notification = env.make()?;
    at(occupied).mint(&at(other), CapRights::all(), 0x66)?;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), notification.bits(), 0, 0])?;
    let message = env.recv(endpoint)?;
    check_eq!((message.info.label(), message.info.extra_caps()), (1, 0), "label and capabilities");
    occupied.signal();
    check_eq!(other.poll(), 0x66, "word of the capability that was there");
    env.join(&[sender])
}

fn bad_receive_slot_takes_nothing(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let notification: cap::Notification = env.make()?;
    for (root, index, depth) in [(0, 0, 0), (endpoint.bits(), 1, 64), (slot::CNODE.cap().bits(), 1 << 50, 64)]
    {
        sel4::with_ipc_buffer_mut(|buffer| {
            buffer.set_recv_slot_raw(sel4::CPtr::from_bits(root), index, depth);
        });
        let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), notification.bits(), 0, 0])?;
        let message = env.recv(endpoint)?;
        check_eq!((message.info.label(), message.info.extra_caps()), (1, 0), "label and capabilities");
        env.join(&[sender])?;
    }
    Ok(())
}

fn empty_slot_is_no_capability(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let nothing = env.slot()? as u64;
    let received = receive_slot(env)?;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), nothing, 0, 0])?;
    let message = env.recv(endpoint)?;
    check_eq!((message.info.label(), message.info.extra_caps()), (1, 0), "label and capabilities");
    check!(is_empty(env, received)?, "a capability arrived");
    env.join(&[sender])
}

fn capability_that_does_not_resolve_faults(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let nowhere = 1 << 63;
    let sender = env.spawn(HIGH, body_send_caps, [endpoint.bits(), nowhere, 0, 0])?;
    let fault = env.fault_of(sender)?;
    check!(matches!(fault, sel4::Fault::CapFault(f) if f.address == nowhere && !f.in_receive), "{fault:x?}");
    check_eq!(endpoint.nb_recv_with_mrs(env.reply).badge, 0, "badge");
    Ok(())
}

fn capability_comes_back_in_a_reply(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let received = env.empty::<cap_type::Notification>()?;
    let notification: cap::Notification = env.make()?;
    let badged = env.mint(notification, CapRights::all(), 0x21)?;
    let client = env.copy(endpoint, CapRightsBuilder::none().write(true).grant_reply(true).build())?;
    let caller = env.spawn(
        HIGH,
        |me| {
            let slot = at(cap::Notification::from_bits(me.args[1]));
            me.ipc.set_recv_slot(&slot);
            let reply = cap::Endpoint::from_bits(me.args[0]).call_with_mrs(MessageInfo::new(0, 0, 0, 0), []);
            thread::put(0, reply.info.extra_caps() as u64);
        },
        [client.bits(), received.bits(), 0, 0],
    )?;
    env.recv(endpoint)?;
    sel4::with_ipc_buffer_mut(|buffer| buffer.caps_or_badges_mut()[0] = badged.bits());
    env.reply.send_with_mrs(MessageInfo::new(0, 0, 1, 0), []);
    env.join(&[caller])?;
    check_eq!(thread::get(0), 1, "capabilities in the answer");
    received.signal();
    check_eq!(notification.poll(), 0x21, "word of the notification");
    Ok(())
}

fn call_without_grant_or_grant_reply_is_not_answered(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let weak = env.copy(endpoint, CapRights::read_write())?;
    let caller = env.spawn(HIGH, body_call, [weak.bits(), 30, 1, 0])?;
    check_eq!(env.recv(endpoint)?.msg[0], 30, "word");
    env.answer(0, 1, [1]);
    check_eq!(env.settle()? & 1 << caller.id, 0, "the caller's end");
    check_eq!(thread::get(1), 0, "answer");
    Ok(())
}

fn call_with_grant_reply_is_answered(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let client = env.copy(endpoint, CapRightsBuilder::none().write(true).grant_reply(true).build())?;
    let caller = env.spawn(HIGH, body_call, [client.bits(), 30, 1, 0])?;
    env.recv(endpoint)?;
    env.answer(0, 1, [31]);
    env.join(&[caller])?;
    check_eq!(thread::get(1), 31, "answer");
    Ok(())
}

fn reply_object_is_used_again(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    for i in 1..=5 {
        let caller = env.spawn(HIGH, body_call, [endpoint.bits(), i, i, 0])?;
        let received = endpoint.recv_with_mrs(reply);
        reply.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [received.msg[0] * 3]);
        env.join(&[caller])?;
        check_eq!(thread::get(i as usize), 3 * i, "answer");
    }
    Ok(())
}

fn deleted_reply_object_leaves_the_caller(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let caller = env.spawn(HIGH, body_call, [endpoint.bits(), 1, 1, 0])?;
    endpoint.recv_with_mrs(reply);
    at(reply).delete()?;
    check_eq!(env.settle()? & 1 << caller.id, 0, "the caller's end");
    // It can be started again: its call is over, without an answer.
    caller.tcb.tcb_resume()?;
    check_eq!(env.recv(endpoint)?.msg[0], 1, "the word of the call made anew");
    env.answer(0, 1, [5]);
    env.join(&[caller])?;
    check_eq!(thread::get(1), 5, "answer");
    Ok(())
}

fn replies_go_to_their_callers(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let (r1, r2): (cap::Reply, cap::Reply) = (env.make()?, env.make()?);
    let first = env.spawn(HIGH, body_call, [endpoint.bits(), 1, 1, 0])?;
    let second = env.spawn(HIGH, body_call, [endpoint.bits(), 2, 2, 0])?;
    let (a, b) = (endpoint.recv_with_mrs(r1).msg[0], endpoint.recv_with_mrs(r2).msg[0]);
    check_eq!((a, b), (1, 2), "words");
    r2.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [200]);
    r1.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [100]);
    env.join(&[first, second])?;
    check_eq!((thread::get(1), thread::get(2)), (100, 200), "answers");
    Ok(())
}

fn reply_object_of_a_new_receive_drops_the_old_caller(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let first = env.spawn(HIGH, body_call, [endpoint.bits(), 1, 1, 0])?;
    let second = env.spawn(HIGH, body_call, [endpoint.bits(), 2, 2, 0])?;
    check_eq!(endpoint.recv_with_mrs(reply).msg[0], 1, "word");
    check_eq!(endpoint.recv_with_mrs(reply).msg[0], 2, "word");
    reply.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [9]);
    env.join(&[second])?;
    check_eq!((thread::get(1), thread::get(2)), (0, 9), "answers");
    check_eq!(env.settle()? & 1 << first.id, 0, "the first caller's end");
    Ok(())
}

fn revoked_caller_frees_its_reply_object(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let first = env.spawn(HIGH, body_call, [endpoint.bits(), 1, 1, 0])?;
    endpoint.recv_with_mrs(reply);
    at(first.tcb).delete()?;
    // Answering nobody does nothing, and the object serves the next.
    reply.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [9]);
    let second = env.spawn(HIGH, body_call, [endpoint.bits(), 2, 2, 0])?;
    check_eq!(endpoint.recv_with_mrs(reply).msg[0], 2, "word");
    reply.send_with_mrs(MessageInfo::new(0, 0, 0, 1), [8]);
    env.join(&[second])?;
    check_eq!(thread::get(2), 8, "answer");
    Ok(())
}

fn nested_calls_unwind(env: &mut Env) -> Outcome {
    // Three servers, each but the last calling the next.
    let endpoints: [cap::Endpoint; 3] = [env.make()?, env.make()?, env.make()?];
    for i in 0..3 {
        let reply: cap::Reply = env.make()?;
        let next = endpoints.get(i + 1).map_or(0, |endpoint| endpoint.bits());
        env.spawn(
            HIGH + i as u64,
            |me| {
                let (endpoint, reply) =
                    (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
                let one = MessageInfo::new(0, 0, 0, 1);
                let mut word = endpoint.recv_with_mrs(reply).msg[0];
                loop {
                    if me.args[2] != 0 {
                        word = cap::Endpoint::from_bits(me.args[2]).call_with_mrs(one, [word]).msg[0];
                    }
                    word = endpoint.reply_recv_with_mrs(one, [word * 10 + me.args[3]], reply).msg[0];
                }
            },
            [endpoints[i].bits(), reply.bits(), next, i as u64 + 1],
        )?;
    }
    let client = env.spawn(LOW, body_call, [endpoints[0].bits(), 7, 1, 0])?;
    env.join(&[client])?;
    check_eq!(thread::get(1), 7321, "answer");
    Ok(())
}
