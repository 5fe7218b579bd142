// SPDX-License-Identifier: MIT OR Apache-2.0
//! The derivation tree: what a revoke takes, and that it can be interrupted.

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Outcome, check, check_eq, expect_error, machine, thread};
use sel4::{AbsoluteCPtr, CapRights, Error, cap, cap_type};

kernel_tests::checks! {
    revoke_takes_copies_and_badged_ones,
    revoke_of_a_copy_takes_nothing,
    revoke_of_a_badged_one_takes_its_copies,
    revoke_leaves_siblings_and_itself,
    revoke_is_deep_and_exact,
    object_lives_until_its_last_capability,
    cancel_badged_sends_restarts_those_of_the_badge,
    cancel_badged_sends_needs_all_rights,
    revoke_of_a_huge_tree_can_be_preempted,
    delete_of_a_huge_cnode_can_be_preempted,
}

const ALL: CapRights = CapRights::all();

fn is_gone(env: &mut Env, slot: &AbsoluteCPtr) -> Outcome<bool> {
    let probe = env.empty::<cap_type::Unspecified>()?;
    let result = at(probe).copy(slot, ALL);
    if result.is_ok() {
        at(probe).delete()?;
    }
    Ok(result == Err(Error::FailedLookup))
}

fn revoke_takes_copies_and_badged_ones(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let copy = env.copy(endpoint, ALL)?;
    let badged = env.mint(endpoint, ALL, 1)?;
    let weak = env.copy(endpoint, CapRights::read_only())?;
    at(endpoint).revoke()?;
    for cap in [copy, badged, weak] {
        check!(is_gone(env, &at(cap))?, "slot {} is still in use", cap.bits());
    }
    check!(!is_gone(env, &at(endpoint))?, "the capability itself is gone");
    Ok(())
}

fn revoke_of_a_copy_takes_nothing(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let copy = env.copy(endpoint, ALL)?;
    let second = env.copy(copy, ALL)?;
    at(copy).revoke()?;
    for cap in [endpoint, copy, second] {
        check!(!is_gone(env, &at(cap))?, "slot {} is empty", cap.bits());
    }
    Ok(())
}

fn revoke_of_a_badged_one_takes_its_copies(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let badged = env.mint(endpoint, ALL, 5)?;
    let copy = env.copy(badged, ALL)?;
    let other = env.mint(endpoint, ALL, 6)?;
    at(badged).revoke()?;
    check!(is_gone(env, &at(copy))?, "the copy is still there");
    for cap in [endpoint, badged, other] {
        check!(!is_gone(env, &at(cap))?, "slot {} is empty", cap.bits());
    }
    Ok(())
}

fn revoke_leaves_siblings_and_itself(env: &mut Env) -> Outcome {
    let untyped = env.untyped(16)?;
    let first = env.slots(2)?;
    let halves = sel4::ObjectBlueprint::Untyped { size_bits: 15 };
    let own = kernel_tests::env::own_cnode();
    untyped.untyped_retype(&halves, &own, first, 2)?;
    let (a, b) = (cap::Untyped::from_bits(first as u64), cap::Untyped::from_bits(first as u64 + 1));
    let (x, y) = (env.slot()?, env.slot()?);
    a.untyped_retype(&sel4::ObjectBlueprint::Endpoint, &own, x, 1)?;
    b.untyped_retype(&sel4::ObjectBlueprint::Endpoint, &own, y, 1)?;
    at(a).revoke()?;
    check!(is_gone(env, &at(cap::Endpoint::from_bits(x as u64)))?, "the child is still there");
    check!(!is_gone(env, &at(cap::Endpoint::from_bits(y as u64)))?, "the sibling's child is gone");
    check!(!is_gone(env, &at(b))?, "the sibling is gone");
    Ok(())
}

fn revoke_is_deep_and_exact(env: &mut Env) -> Outcome {
    // A chain of untypeds, each half of the one before, with an endpoint at the end; a copy of the first stands aside.
    let aside: cap::Endpoint = env.make()?;
    let top = env.untyped(16)?;
    let mut parent = top;
    let own = kernel_tests::env::own_cnode();
    let mut chain: heapless::Vec<cap::Untyped, 12> = heapless::Vec::new();
    for bits in (5..16).rev() {
        let slot = env.slot()?;
        parent.untyped_retype(&sel4::ObjectBlueprint::Untyped { size_bits: bits }, &own, slot, 1)?;
        parent = cap::Untyped::from_bits(slot as u64);
        let _ = chain.push(parent);
    }
    let end = env.slot()?;
    parent.untyped_retype(&sel4::ObjectBlueprint::Endpoint, &own, end, 1)?;
    at(chain[5]).revoke()?;
    for (i, cap) in chain.iter().enumerate() {
        check_eq!(is_gone(env, &at(*cap))?, i > 5, "absence of a link of the chain");
    }
    check!(is_gone(env, &at(cap::Endpoint::from_bits(end as u64)))?, "the end is still there");
    check!(!is_gone(env, &at(aside))?, "what stood aside is gone");
    Ok(())
}

fn object_lives_until_its_last_capability(env: &mut Env) -> Outcome {
    let notification: cap::Notification = env.make()?;
    let copy = env.copy(notification, ALL)?;
    let badged = env.mint(notification, ALL, 3)?;
    at(notification).delete()?;
    badged.signal();
    check_eq!(copy.poll(), 3, "the word of the notification");
    Ok(())
}

fn cancel_badged_sends_restarts_those_of_the_badge(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let body = |me: &mut kernel_tests::Me| {
        let endpoint = cap::Endpoint::from_bits(me.args[0]);
        endpoint.send_with_mrs(sel4::MessageInfo::new(0, 0, 0, 1), [me.args[1]]);
    };
    let (five, six) = (env.mint(endpoint, ALL, 5)?, env.mint(endpoint, ALL, 6)?);
    let first = env.spawn(HIGH, body, [five.bits(), 51, 0, 0])?;
    let second = env.spawn(HIGH, body, [six.bits(), 61, 0, 0])?;
    at(five).cancel_badged_sends()?;
    // The first sender sent anew, and so stands behind the second.
    check_eq!(env.recv(endpoint)?.badge, 6, "badge of the first message");
    check_eq!(env.recv(endpoint)?.badge, 5, "badge of the second message");
    env.join(&[first, second])
}

fn cancel_badged_sends_needs_all_rights(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let weak = env.mint(endpoint, CapRights::read_write(), 5)?;
    expect_error(at(weak).cancel_badged_sends(), Error::IllegalOperation, &[])?;
    let notification: cap::Notification = env.make()?;
    expect_error(at(notification).cancel_badged_sends(), Error::IllegalOperation, &[])
}

/// A thread that counts timer interrupts into cell 0, on the highest priority.
fn spawn_ticker(env: &mut Env) -> Outcome<super::irq::Pit> {
    let pit = super::irq::Pit::new(env)?;
    env.spawn(
        HIGH,
        |me| {
            let (handler, ticks) =
                (cap::IrqHandler::from_bits(me.args[0]), cap::Notification::from_bits(me.args[1]));
            loop {
                ticks.wait();
                thread::add(0, 1);
                let _ = handler.irq_handler_ack();
            }
        },
        [pit.handler.bits(), pit.notification.bits(), 0, 0],
    )?;
    Ok(pit)
}

/// What the two checks of preemption share: `work` takes at least `MANY` deletions.
const MANY: usize = 1 << 14;

fn preempted(env: &mut Env, work: impl FnOnce() -> sel4::Result<()>) -> Outcome {
    let pit = spawn_ticker(env)?;
    pit.every_us(env, 500)?;
    env.wait_until(2_000_000, || thread::get(0) > 0)?;
    let (before, start) = (thread::get(0), machine::rdtsc());
    work()?;
    let us = (machine::rdtsc() - start) / machine::ticks_per_us(&env.bootinfo);
    let ticks = thread::get(0) - before;
    check!(us < 2000 || ticks >= 2, "{ticks} interrupts arrived in {us} us");
    Ok(())
}

fn revoke_of_a_huge_tree_can_be_preempted(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let cnode = env.cnode(14)?;
    for i in 0..MANY {
        cnode.absolute_cptr_from_bits_with_depth(i as u64, 14).mint(&at(endpoint), ALL, i as u64 + 1)?;
    }
    preempted(env, || at(endpoint).revoke())?;
    for i in [0, MANY / 2, MANY - 1] {
        let slot = cnode.absolute_cptr_from_bits_with_depth(i as u64, 14);
        check!(is_gone(env, &slot)?, "slot {i} is still in use");
    }
    Ok(())
}

fn delete_of_a_huge_cnode_can_be_preempted(env: &mut Env) -> Outcome {
    let endpoint: cap::Endpoint = env.make()?;
    let cnode = env.cnode(14)?;
    for i in 0..MANY {
        cnode.absolute_cptr_from_bits_with_depth(i as u64, 14).copy(&at(endpoint), ALL)?;
    }
    preempted(env, || at(cnode).delete())?;
    check!(is_gone(env, &at(cnode))?, "the CNode is still there");
    // All copies are gone: the last capability's deletion ends the object.
    let slot = env.slot()?;
    env.arena.untyped_retype(&sel4::ObjectBlueprint::Endpoint, &kernel_tests::env::own_cnode(), slot, 1)?;
    Ok(())
}
