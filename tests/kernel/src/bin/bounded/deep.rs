// SPDX-License-Identifier: MIT OR Apache-2.0
//! A capability space of some sixty levels, about as many as there can be: messages between threads in it, long ones and with capabilities, and
//! operations on slots that are far down.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Me, Outcome, check, thread};
use sel4::init_thread::slot;
use sel4::{
    AbsoluteCPtr, CNodeCapData, CPtr, CapRights, MessageInfo, cap, cap_type, nb_send_recv_with_mrs,
    nb_send_wait_with_mrs,
};
use sel4_abi::label;
use sel4_abi::object::ObjectType;

kernel_tests::checks! {
    long_messages_through_many_levels,
    calls_through_many_levels,
    operations_through_many_levels,
}

/// Log2 of the slots of the CNode at the end.
const LEAF: usize = 4;
/// An address begins with zeros, that lead through a CNode of two slots whose first one holds the CNode itself, again and again; with
/// a one the second slot leads to the CNode at the end.
const fn far(slot: u64) -> u64 {
    1 << LEAF | slot
}
/// What is in that one: endpoints, reply objects, the first CNode, a notification, memory, a wide CNode, and nothing.
const A: u64 = far(0);
const B: u64 = far(1);
const REPLIES: [u64; 2] = [far(2), far(3)];
const ROOT: u64 = far(4);
const GIFT: u64 = far(5);
const MEMORY: u64 = far(6);
const WIDE: u64 = far(7);
const EMPTY: [u64; 2] = [far(8), far(9)];
/// Log2 of the slots of the wide CNode.
const WIDE_BITS: usize = 10;
/// Objects that one retype makes at most.
const MOST: usize = 256;
/// Cell of the number of messages that came.
const CAME: usize = 3;
/// Cell of the number of operations that succeeded.
const DONE: usize = 4;
/// As long as messages can be.
const LONG: MessageInfo = MessageInfo::new(1, 0, 3, 120);

fn receive_in(me: &mut Me, slot: u64) {
    me.ipc.set_recv_slot_raw(CPtr::from_bits(ROOT), slot, 64);
}

fn with_gift(me: &mut Me, endpoint: u64) {
    me.ipc.caps_or_badges_mut().copy_from_slice(&[endpoint, endpoint, GIFT]);
}

fn came(info: MessageInfo) {
    thread::add(CAME, u64::from(info.length() == LONG.length()));
}

/// Receives on A.
fn receiver(me: &mut Me) {
    receive_in(me, EMPTY[0]);
    loop {
        came(cap::Endpoint::from_bits(A).recv_with_mrs(cap::Reply::from_bits(REPLIES[0])).info);
    }
}

/// Sends through B.
fn sender(me: &mut Me) {
    with_gift(me, B);
    let endpoint = cap::Endpoint::from_bits(B);
    endpoint.with(&mut *me.ipc).send(LONG);
    endpoint.recv_with_mrs(cap::Reply::from_bits(REPLIES[0]));
}

/// Sends through A and receives on B.
fn both(me: &mut Me) {
    receive_in(me, EMPTY[1]);
    with_gift(me, A);
    let reply = cap::Reply::from_bits(REPLIES[1]);
    came(nb_send_recv_with_mrs(CPtr::from_bits(A), LONG, [1, 2, 3, 4], CPtr::from_bits(B), reply).info);
    cap::Endpoint::from_bits(B).recv_with_mrs(reply);
}

/// Serves what is called through A.
fn server(me: &mut Me) {
    receive_in(me, EMPTY[0]);
    let (endpoint, reply) = (cap::Endpoint::from_bits(A), cap::Reply::from_bits(REPLIES[0]));
    let mut info = endpoint.recv_with_mrs(reply).info;
    loop {
        came(info);
        with_gift(me, GIFT);
        info = endpoint.reply_recv_with_mrs(LONG, [1, 2, 3, 4], reply).info;
    }
}

/// Calls through A, twice.
fn client(me: &mut Me) {
    receive_in(me, EMPTY[1]);
    for _ in 0..2 {
        with_gift(me, A);
        came(cap::Endpoint::from_bits(A).with(&mut *me.ipc).call(LONG));
    }
    cap::Endpoint::from_bits(B).recv_with_mrs(cap::Reply::from_bits(REPLIES[1]));
}

/// Invokes a capability, and counts it if it succeeds.
fn operate(me: &mut Me, target: u64, label: u64, words: &[u64], caps: &[u64]) {
    fill(me, words, caps);
    let info = MessageInfo::new(label, 0, caps.len(), words.len());
    let answer = cap::Endpoint::from_bits(target).with(&mut *me.ipc).call(info);
    thread::add(DONE, u64::from(answer.label() == 0));
}

fn fill(me: &mut Me, words: &[u64], caps: &[u64]) {
    me.ipc.msg_regs_mut()[..words.len()].copy_from_slice(words);
    me.ipc.caps_or_badges_mut()[..caps.len()].copy_from_slice(caps);
}

/// Words of a retype of as many endpoints as there can be, into the wide CNode.
const fn retype(offset: u64) -> [u64; 6] {
    [ObjectType::Endpoint as u64, 0, WIDE, 64, offset, MOST as u64]
}

/// Moves capabilities, makes objects and deletes them.
fn operator(me: &mut Me) {
    let [x, y] = EMPTY;
    let all = 15;
    operate(me, ROOT, label::CNODE_COPY, &[x, 64, WIDE, 64, all], &[ROOT]);
    operate(me, ROOT, label::CNODE_MINT, &[y, 64, x, 64, all, 0], &[ROOT]);
    operate(me, ROOT, label::CNODE_DELETE, &[y, 64], &[]);
    operate(me, ROOT, label::CNODE_MOVE, &[y, 64, x, 64], &[ROOT]);
    operate(me, ROOT, label::CNODE_MUTATE, &[x, 64, y, 64, 0], &[ROOT]);
    operate(me, ROOT, label::CNODE_ROTATE, &[y, 64, 0, x, 64, 0, WIDE, 64], &[ROOT, ROOT]);
    operate(me, ROOT, label::CNODE_ROTATE, &[WIDE, 64, 0, x, 64, 0, y, 64], &[ROOT, ROOT]);
    operate(me, ROOT, label::CNODE_DELETE, &[x, 64], &[]);
    operate(me, ROOT, label::CNODE_CANCEL_BADGED_SENDS, &[A, 64], &[]);
    operate(me, MEMORY, label::UNTYPED_RETYPE, &retype(0), &[ROOT]);
    // The same again in one call with a message.
    receive_in(me, x);
    let words = retype(MOST as u64);
    fill(me, &words, &[ROOT]);
    let (target, from, reply) =
        (CPtr::from_bits(MEMORY), CPtr::from_bits(B), cap::Reply::from_bits(REPLIES[1]));
    let first = [words[0], words[1], words[2], words[3]];
    came(
        nb_send_recv_with_mrs(target, MessageInfo::new(label::UNTYPED_RETYPE, 0, 1, 6), first, from, reply)
            .info,
    );
    // And a revocation, with a signal that is there already.
    let gift = CPtr::from_bits(GIFT);
    cap::Notification::from_bits(GIFT).signal();
    let revoke = MessageInfo::new(label::CNODE_REVOKE, 0, 0, 2);
    nb_send_wait_with_mrs(CPtr::from_bits(ROOT), revoke, [MEMORY, 64, 0, 0], gift);
    thread::add(DONE, 1);
    cap::Endpoint::from_bits(B).recv_with_mrs(reply);
}

/// The capability space, and its CNode at the end.
struct Space {
    first: cap::CNode,
    leaf: cap::CNode,
}

impl Space {
    fn new(env: &mut Env) -> Outcome<Self> {
        let (first, leaf) = (env.cnode(1)?, env.cnode(LEAF)?);
        let all = CapRights::all();
        for (slot, next) in [first, leaf].into_iter().enumerate() {
            first.absolute_cptr_from_bits_with_depth(slot as u64, 1).copy(&at(next), all)?;
        }
        let space = Self { first, leaf };
        for endpoint in [A, B] {
            space.put(endpoint, at(env.make::<cap_type::Endpoint>()?))?;
        }
        for reply in REPLIES {
            space.put(reply, at(env.make::<cap_type::Reply>()?))?;
        }
        space.put(ROOT, at(first))?;
        space.put(GIFT, at(env.make::<cap_type::Notification>()?))?;
        space.put(WIDE, at(env.cnode(WIDE_BITS)?))?;
        let memory = env.untyped(14)?;
        space.place(MEMORY).move_(&at(memory))?;
        Ok(space)
    }

    fn place(&self, address: u64) -> AbsoluteCPtr {
        self.leaf.absolute_cptr_from_bits_with_depth(address & !(1 << LEAF), LEAF)
    }

    fn put(&self, address: u64, from: AbsoluteCPtr) -> Outcome {
        Ok(self.place(address).copy(&from, CapRights::all())?)
    }

    /// Starts threads in it, one after the other.
    fn start(&self, env: &mut Env, bodies: &[fn(&mut Me)]) -> Outcome {
        for body in bodies {
            let thread = env.thread(*body, [0; 4])?;
            let guard = CNodeCapData::new(0, 0);
            thread.tcb.tcb_set_space(CPtr::from_bits(0), self.first, guard, slot::VSPACE.cap())?;
            env.start(thread, HIGH)?;
        }
        Ok(())
    }

    /// A capability came into each of the slots.
    fn take_gifts(&self, slots: &[u64]) -> Outcome {
        for slot in slots {
            check!(self.place(*slot).describe()? == self.place(GIFT).describe()?, "the gift didn't come");
            self.place(*slot).delete()?;
        }
        Ok(())
    }
}

fn long_messages_through_many_levels(env: &mut Env) -> Outcome {
    let space = Space::new(env)?;
    space.start(env, &[receiver, sender, both])?;
    check!(thread::get(CAME) == 2, "{} messages came", thread::get(CAME));
    space.take_gifts(&EMPTY)
}

fn calls_through_many_levels(env: &mut Env) -> Outcome {
    let space = Space::new(env)?;
    space.start(env, &[server, client])?;
    check!(thread::get(CAME) == 4, "{} messages came", thread::get(CAME));
    space.take_gifts(&EMPTY)
}

fn operations_through_many_levels(env: &mut Env) -> Outcome {
    let space = Space::new(env)?;
    space.start(env, &[sender, operator])?;
    check!(thread::get(DONE) == 11, "{} operations succeeded", thread::get(DONE));
    check!(thread::get(CAME) == 1, "{} messages came", thread::get(CAME));
    let wide = space.place(WIDE);
    check!(wide.describe().is_ok(), "the wide CNode is where it was");
    space.take_gifts(&EMPTY[..1])
}
