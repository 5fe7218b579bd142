// SPDX-License-Identifier: MIT OR Apache-2.0
//! Endpoints: messages, badges, order, the system calls, faults of capability addresses.

use kernel_tests::env::{HIGH, LOW, at};
use kernel_tests::{Env, Failure, Me, Outcome, check, check_eq, thread};
use sel4::{CPtr, CapFault, CapRights, Fault, LookupFailure, MessageInfo, cap};

kernel_tests::checks! {
    message_words_arrive_for_every_length,
    message_longer_than_120_words_is_cut,
    label_and_badge_arrive,
    without_ipc_buffer_four_words_arrive,
    nb_send_reaches_only_a_waiting_receiver,
    nb_recv_takes_only_a_waiting_message,
    call_is_answered,
    reply_recv_serves_many_clients,
    senders_queue_by_priority,
    nb_send_recv_sends_and_receives,
    nb_send_wait_sends_and_waits,
    send_to_a_bad_address_faults,
    recv_from_a_bad_address_faults,
    recv_from_what_is_no_endpoint_faults,
    recv_with_a_bad_reply_faults,
    nb_send_to_a_bad_address_is_silent,
    send_without_the_write_right_does_nothing,
    deleted_endpoint_wakes_its_senders,
    invocation_by_send_answers_nobody,
}

/// A message with a label, from args[0]'s capability: length args[1], word i is 1000 + i.
fn body_send_words(me: &mut Me) {
    let length = me.args[1] as usize;
    for (i, word) in me.ipc.msg_regs_mut().iter_mut().enumerate() {
        *word = 1000 + i as u64;
    }
    cap::Endpoint::from_bits(me.args[0]).with(&mut *me.ipc).send(MessageInfo::new(0x77, 0, 0, length));
}

fn body_send(me: &mut Me) {
    let info = MessageInfo::new(me.args[1], 0, 0, 1);
    cap::Endpoint::from_bits(me.args[0]).send_with_mrs(info, [me.args[2]]);
}

/// Calls args[0] with the word args[1]; the answer's first word goes into cell args[2], its label into the next.
fn body_call(me: &mut Me) {
    let reply =
        cap::Endpoint::from_bits(me.args[0]).call_with_mrs(MessageInfo::new(3, 0, 0, 1), [me.args[1]]);
    thread::put(me.args[2] as usize, reply.msg[0]);
    thread::put(me.args[2] as usize + 1, reply.info.label());
}

fn body_recv(me: &mut Me) {
    let received = cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[1]));
    thread::put(0, received.badge);
    thread::put(1, received.msg[0]);
    thread::put(2, received.info.label());
}

#[track_caller]
fn cap_fault(fault: Fault) -> Outcome<CapFault> {
    match fault {
        Fault::CapFault(fault) => Ok(fault),
        other => Err(Failure::new(format_args!("{other:x?} is no capability fault"))),
    }
}

fn message_words_arrive_for_every_length(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    for length in [0, 1, 3, 4, 5, 10, 64, 119, 120] {
        // Receiver first for some, sender first for others.
        let priority = if length % 2 == 0 { HIGH } else { LOW };
        let sender = env.spawn(priority, body_send_words, [endpoint.bits(), length, 0, 0])?;
        sel4::with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut().fill(0));
        let (info, _) = endpoint.recv(env.reply);
        check_eq!((info.label(), info.length() as u64), (0x77, length), "label and length");
        let wrong = sel4::with_ipc_buffer(|buffer| {
            (0..length as usize).find(|&i| buffer.msg_regs()[i] != 1000 + i as u64)
        });
        check!(wrong.is_none(), "of {length} words number {wrong:?} is wrong");
        let beyond = sel4::with_ipc_buffer(|buffer| {
            buffer.msg_regs()[(length as usize).max(4)..].iter().any(|w| *w != 0)
        });
        check!(!beyond, "words beyond {length} were written");
        env.join(&[sender])?;
        at(sender.tcb).delete()?;
        env.reuse_threads();
    }
    Ok(())
}

fn message_longer_than_120_words_is_cut(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let sender = env.spawn(HIGH, body_send_words, [endpoint.bits(), 127, 0, 0])?;
    let (info, _) = endpoint.recv(env.reply);
    check_eq!(info.into_word() & 0x7f, 120, "length");
    env.join(&[sender])
}

fn label_and_badge_arrive(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let badged = env.mint(endpoint, CapRights::write_only(), 0xfedc_ba98_7654_3210)?;
    let label = (1 << 52) - 2;
    let sender = env.spawn(HIGH, body_send, [badged.bits(), label, 42, 0])?;
    let received = env.recv(endpoint)?;
    check_eq!(received.badge, 0xfedc_ba98_7654_3210, "badge");
    check_eq!(received.info.label(), label, "label");
    check_eq!((received.info.length(), received.msg[0]), (1, 42), "length and word");
    check_eq!((received.info.extra_caps(), received.info.caps_unwrapped()), (0, 0), "capabilities");
    env.join(&[sender])
}

fn without_ipc_buffer_four_words_arrive(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let sender = env.thread(body_send_words, [endpoint.bits(), 10, 0, 0])?;
    sender.tcb.tcb_set_ipc_buffer(0, cap::Granule::from_bits(0))?;
    env.start(sender, HIGH)?;
    let received = env.recv(endpoint)?;
    check_eq!(received.info.length(), 4, "length");
    check_eq!(received.msg, [1000, 1001, 1002, 1003], "words");
    env.join(&[sender])
}

fn nb_send_reaches_only_a_waiting_receiver(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    endpoint.nb_send_with_mrs(MessageInfo::new(1, 0, 0, 1), [11]);
    let receiver = env.spawn(HIGH, body_recv, [endpoint.bits(), reply.bits(), 0, 0])?;
    check_eq!(thread::get(1), 0, "word before");
    endpoint.nb_send_with_mrs(MessageInfo::new(1, 0, 0, 1), [12]);
    env.join(&[receiver])?;
    check_eq!(thread::get(1), 12, "word");
    Ok(())
}

fn nb_recv_takes_only_a_waiting_message(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let badged = env.mint(endpoint, CapRights::all(), 9)?;
    check_eq!(endpoint.nb_recv_with_mrs(env.reply).badge, 0, "badge with nobody there");
    let sender = env.spawn(HIGH, body_send, [badged.bits(), 5, 6, 0])?;
    let received = endpoint.nb_recv_with_mrs(env.reply);
    check_eq!((received.badge, received.info.label(), received.msg[0]), (9, 5, 6), "message");
    env.join(&[sender])?;
    check_eq!(endpoint.nb_recv_with_mrs(env.reply).badge, 0, "badge afterwards");
    Ok(())
}

fn call_is_answered(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let caller = env.spawn(HIGH, body_call, [endpoint.bits(), 20, 1, 0])?;
    let received = env.recv(endpoint)?;
    check_eq!((received.info.label(), received.msg[0]), (3, 20), "request");
    check_eq!(thread::get(1), 0, "answer before it was given");
    env.answer(8, 1, [received.msg[0] + 1]);
    env.join(&[caller])?;
    check_eq!((thread::get(1), thread::get(2)), (21, 8), "answer");
    // The reply object is used up: answering again reaches nobody.
    env.answer(8, 1, [0]);
    Ok(())
}

fn reply_recv_serves_many_clients(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    env.spawn(
        HIGH,
        |me| {
            let (endpoint, reply) = (cap::Endpoint::from_bits(me.args[0]), cap::Reply::from_bits(me.args[1]));
            let mut request = endpoint.recv_with_mrs(reply);
            loop {
                let info = MessageInfo::new(request.badge, 0, 0, 1);
                request = endpoint.reply_recv_with_mrs(info, [request.msg[0] * 2], reply);
            }
        },
        [endpoint.bits(), reply.bits(), 0, 0],
    )?;
    for i in 1..=3 {
        let client = env.mint(endpoint, CapRights::all(), i)?;
        let thread = env.spawn(LOW, body_call, [client.bits(), 10 * i, 10 * i, 0])?;
        env.join(&[thread])?;
        let cells = (thread::get(10 * i as usize), thread::get(10 * i as usize + 1));
        check_eq!(cells, (20 * i, i), "answer and label");
    }
    for i in 0..100 {
        let answer = endpoint.call_with_mrs(MessageInfo::new(0, 0, 0, 1), [i]);
        check_eq!(answer.msg[0], 2 * i, "answer");
    }
    Ok(())
}

fn senders_queue_by_priority(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let mut senders: heapless::Vec<kernel_tests::Thread, 4> = heapless::Vec::new();
    for (priority, word) in [(HIGH, 1), (HIGH + 2, 2), (HIGH + 1, 3), (HIGH + 2, 4)] {
        let _ = senders.push(env.spawn(priority, body_send, [endpoint.bits(), 0, word, 0])?);
    }
    for expected in [2, 4, 3, 1] {
        check_eq!(env.recv(endpoint)?.msg[0], expected, "word");
    }
    env.join(&senders)
}

fn nb_send_recv_sends_and_receives(env: &mut Env) -> Outcome {
    let (out, back): (cap::Endpoint, cap::Endpoint) = (env.make()?, env.make()?);
    let reply: cap::Reply = env.make()?;
    let peer = env.spawn(
        HIGH,
        |me| {
            let received =
                cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[2]));
            let info = MessageInfo::new(0, 0, 0, 1);
            cap::Endpoint::from_bits(me.args[1]).send_with_mrs(info, [received.msg[0] + 100]);
        },
        [out.bits(), back.bits(), reply.bits(), 0],
    )?;
    let info = MessageInfo::new(0, 0, 0, 1);
    let received = sel4::nb_send_recv_with_mrs(out.cptr(), info, [7], back.cptr(), env.reply);
    check_eq!(received.msg[0], 107, "word");
    env.join(&[peer])
}

fn nb_send_wait_sends_and_waits(env: &mut Env) -> Outcome {
    let (out, back): (cap::Endpoint, cap::Notification) = (env.make()?, env.make()?);
    let reply: cap::Reply = env.make()?;
    let badged = env.mint(back, CapRights::all(), 0x500)?;
    let peer = env.spawn(
        HIGH,
        |me| {
            let received =
                cap::Endpoint::from_bits(me.args[0]).recv_with_mrs(cap::Reply::from_bits(me.args[2]));
            thread::put(0, received.msg[0]);
            cap::Notification::from_bits(me.args[1]).signal();
        },
        [out.bits(), badged.bits(), reply.bits(), 0],
    )?;
    let received = sel4::nb_send_wait_with_mrs(out.cptr(), MessageInfo::new(0, 0, 0, 1), [7], back.cptr());
    check_eq!((received.badge, thread::get(0)), (0x500, 7), "badge and word");
    env.join(&[peer])
}

fn send_to_a_bad_address_faults(env: &mut Env) -> Outcome {
    // An empty slot resolves: that is an error of the invocation, of which a send is not told.
    let nothing = env.slot()? as u64;
    let sender = env.spawn(HIGH, body_send, [nothing, 0, 0, 0])?;
    env.join(&[sender])?;
    // A guard that doesn't fit: 64 bits are left, the guard fills up what the CNode doesn't take.
    let sender = env.spawn(HIGH, body_send, [1 << 63, 0, 0, 0])?;
    let bits = 64 - env.bootinfo.init_cnode_size_bits() as u64;
    let fault = cap_fault(env.fault_of(sender)?)?;
    let expected = LookupFailure::GuardMismatch { bits_left: 64, guard: 0, guard_bits: bits };
    check_eq!(fault.failure, Some(expected), "failure");
    Ok(())
}

fn recv_from_a_bad_address_faults(env: &mut Env) -> Outcome {
    let nothing = env.slot()? as u64;
    let reply: cap::Reply = env.make()?;
    let receiver = env.spawn(HIGH, body_recv, [nothing, reply.bits(), 0, 0])?;
    let (fault, info) = env.fault_with_info(receiver)?;
    let fault = cap_fault(fault)?;
    check!(fault.in_receive && fault.address == nothing, "{fault:x?}");
    check_eq!(info.length(), 5, "length of the fault message");
    Ok(())
}

fn recv_from_what_is_no_endpoint_faults(env: &mut Env) -> Outcome {
    let reply: cap::Reply = env.make()?;
    let weak: cap::Endpoint = env.make()?;
    let weak = env.copy(weak, CapRights::write_only())?;
    for address in [env.arena.bits(), weak.bits()] {
        let receiver = env.spawn(HIGH, body_recv, [address, reply.bits(), 0, 0])?;
        let fault = cap_fault(env.fault_of(receiver)?)?;
        check!(fault.in_receive && fault.address == address, "{fault:x?}");
        check_eq!(fault.failure, Some(LookupFailure::MissingCapability { bits_left: 0 }), "failure");
    }
    Ok(())
}

fn recv_with_a_bad_reply_faults(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let receiver = env.spawn(HIGH, body_recv, [endpoint.bits(), endpoint.bits(), 0, 0])?;
    let fault = cap_fault(env.fault_of(receiver)?)?;
    check!(fault.in_receive && fault.address == endpoint.bits(), "{fault:x?}");
    Ok(())
}

fn nb_send_to_a_bad_address_is_silent(env: &mut Env) -> Outcome {
    let nothing = env.slot()? as u64;
    let sender = env.spawn(
        HIGH,
        |me| {
            let info = MessageInfo::new(0, 0, 0, 0);
            cap::Endpoint::from_bits(me.args[0]).nb_send_with_mrs(info, []);
            let received = sel4::nb_send_wait_with_mrs(
                CPtr::from_bits(me.args[0]),
                info,
                [],
                CPtr::from_bits(me.args[1]),
            );
            thread::put(0, received.badge);
        },
        [nothing, env.events.bits(), 0, 0],
    );
    // The second half faults: the notification is bound to another thread. The first does not.
    let fault = cap_fault(env.fault_of(sender?)?)?;
    check!(fault.in_receive && fault.address == env.events.bits(), "{fault:x?}");
    Ok(())
}

fn send_without_the_write_right_does_nothing(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let weak = env.copy(endpoint, CapRights::read_only())?;
    let sender = env.spawn(HIGH, body_send, [weak.bits(), 0, 0, 0])?;
    env.join(&[sender])?;
    check_eq!(endpoint.nb_recv_with_mrs(env.reply).badge, 0, "badge");
    Ok(())
}

fn deleted_endpoint_wakes_its_senders(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let sender = env.spawn(HIGH, body_send, [endpoint.bits(), 0, 0, 0])?;
    check_eq!(env.settle()? & 1 << sender.id, 0, "the sender's end before");
    at(endpoint).delete()?;
    // It sends anew, to an empty slot, of which a send isn't told.
    env.join(&[sender])
}

fn invocation_by_send_answers_nobody(env: &mut Env) -> Outcome {
    let thread = env.spawn(
        HIGH,
        |me| {
            // Invokes its own TCB without waiting for the result; there is none to be waited for.
            let tcb = cap::Endpoint::from_bits(me.tcb.bits());
            tcb.send_with_mrs(MessageInfo::new(sel4::abi::label::TCB_SET_TLS_BASE, 0, 0, 1), [0x1234_5000]);
            // A label that doesn't exist is dropped in silence.
            tcb.send_with_mrs(MessageInfo::new(4000, 0, 0, 0), []);
            thread::put(0, 1);
        },
        [0; 4],
    )?;
    env.join(&[thread])?;
    check_eq!(thread::get(0), 1, "what the thread did");
    check_eq!(thread.tcb.tcb_read_all_registers(true)?.fs_base, 0x1234_5000, "FS base");
    Ok(())
}
