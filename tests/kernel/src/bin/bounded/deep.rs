// SPDX-License-Identifier: MIT OR Apache-2.0
//! A capability space of as many levels as there can be, and messages between threads in it: long ones, with capabilities.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Me, Outcome, check, thread};
use sel4::init_thread::slot;
use sel4::{AbsoluteCPtr, CNodeCapData, CPtr, CapRights, MessageInfo, cap, nb_send_recv_with_mrs};

kernel_tests::checks! {
    long_messages_through_many_levels,
}

/// CNodes of two slots, of which the first leads on.
const LEVELS: usize = 61;
/// Log2 of the slots of the CNode at the end.
const LEAF: usize = 3;
/// Slots of that CNode, and so addresses: two endpoints, two reply objects, the first CNode, a notification, and empty ones.
const A: u64 = 0;
const B: u64 = 1;
const REPLIES: [u64; 2] = [2, 3];
const ROOT: u64 = 4;
const GIFT: u64 = 5;
const EMPTY: [u64; 2] = [6, 7];
/// Cell of the number of messages that came.
const CAME: usize = 3;

fn receive_in(me: &mut Me, slot: u64) {
    me.ipc.set_recv_slot_raw(CPtr::from_bits(ROOT), slot, 64);
}

/// Receives on A.
fn receiver(me: &mut Me) {
    receive_in(me, EMPTY[0]);
    loop {
        cap::Endpoint::from_bits(A).recv_with_mrs(cap::Reply::from_bits(REPLIES[0]));
        thread::add(CAME, 1);
    }
}

/// Sends through B.
fn sender(me: &mut Me) {
    me.ipc.caps_or_badges_mut().copy_from_slice(&[B, B, GIFT]);
    let endpoint = cap::Endpoint::from_bits(B);
    endpoint.with(&mut *me.ipc).send(MessageInfo::new(1, 0, 3, 120));
    endpoint.recv_with_mrs(cap::Reply::from_bits(REPLIES[0]));
}

/// Sends through A and receives on B.
fn both(me: &mut Me) {
    receive_in(me, EMPTY[1]);
    me.ipc.caps_or_badges_mut().copy_from_slice(&[A, A, GIFT]);
    let reply = cap::Reply::from_bits(REPLIES[1]);
    nb_send_recv_with_mrs(
        CPtr::from_bits(A),
        MessageInfo::new(1, 0, 3, 120),
        [1, 2, 3, 4],
        CPtr::from_bits(B),
        reply,
    );
    thread::add(CAME, 1);
    cap::Endpoint::from_bits(B).recv_with_mrs(reply);
}

fn long_messages_through_many_levels(env: &mut Env) -> Outcome {
    let first = env.cnode(1)?;
    let mut last = first;
    for _ in 1..LEVELS {
        let next = env.cnode(1)?;
        last.absolute_cptr_from_bits_with_depth(0, 1).copy(&at(next), CapRights::all())?;
        last = next;
    }
    let leaf = env.cnode(LEAF)?;
    last.absolute_cptr_from_bits_with_depth(0, 1).copy(&at(leaf), CapRights::all())?;
    let place = |i: u64| leaf.absolute_cptr_from_bits_with_depth(i, LEAF);
    let put = |i: u64, from: AbsoluteCPtr| place(i).copy(&from, CapRights::all());
    put(A, at(env.make::<sel4::cap_type::Endpoint>()?))?;
    put(B, at(env.make::<sel4::cap_type::Endpoint>()?))?;
    for reply in REPLIES {
        put(reply, at(env.make::<sel4::cap_type::Reply>()?))?;
    }
    put(ROOT, at(first))?;
    put(GIFT, at(env.make::<sel4::cap_type::Notification>()?))?;
    for body in [receiver, sender, both] {
        let thread = env.thread(body, [0; 4])?;
        let guard = CNodeCapData::new(0, 0);
        thread.tcb.tcb_set_space(CPtr::from_bits(0), first, guard, slot::VSPACE.cap())?;
        env.start(thread, HIGH)?;
    }
    check!(thread::get(CAME) == 2, "{} messages came", thread::get(CAME));
    for empty in EMPTY {
        // A capability came with each.
        place(empty).delete()?;
    }
    Ok(())
}
