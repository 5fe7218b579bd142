// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole address spaces: their identifiers, and threads in them.

use kernel_tests::env::{HIGH, MAIN, at, own_cnode, root_guard};
use kernel_tests::{Env, Outcome, check, check_eq, expect_error, space, thread};
use sel4::init_thread::slot;
use sel4::{CPtr, CapRights, Error, ObjectBlueprint, VmAttributes, cap, cap_type};

use super::vspace::{BASE, body_peek, peek, poke};

kernel_tests::checks! {
    vspace_without_identifier_is_refused,
    vspace_gets_one_identifier,
    asid_pools_are_made_of_4_kib,
    asid_pools_run_out,
    another_vspace_runs_threads,
    deleted_vspace_stops_its_threads,
    deleted_pool_stops_its_threads,
    another_vspace_counts_at_once,
}

const ATTRS: VmAttributes = VmAttributes::DEFAULT;
const RW: CapRights = CapRights::read_write();

fn vspace_without_identifier_is_refused(env: &mut Env) -> Outcome {
    let vspace: cap::VSpace = env.make()?;
    let pdpt: cap::Pdpt = env.make()?;
    expect_error(pdpt.pdpt_map(vspace, BASE, ATTRS), Error::InvalidCapability, &[1])?;
    let tcb: cap::Tcb = env.make()?;
    let guard = root_guard(&env.bootinfo);
    let result = tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace);
    expect_error(result, Error::IllegalOperation, &[])
}

fn vspace_gets_one_identifier(env: &mut Env) -> Outcome {
    let vspace = space::empty(env)?;
    let again = slot::ASID_POOL.cap().asid_pool_assign(vspace);
    expect_error(again, Error::InvalidCapability, &[1])?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = slot::ASID_POOL.cap().asid_pool_assign(cap::VSpace::from_bits(endpoint.bits()));
    expect_error(wrong, Error::InvalidCapability, &[1])
}

fn asid_pools_are_made_of_4_kib(env: &mut Env) -> Outcome {
    let control = slot::ASID_CONTROL.cap();
    let pool = env.empty::<cap_type::AsidPool>()?;
    let small = env.untyped(11)?;
    expect_error(control.asid_control_make_pool(small, &at(pool)), Error::InvalidCapability, &[1])?;
    let endpoint: cap::Endpoint = env.make()?;
    let wrong = cap::Untyped::from_bits(endpoint.bits());
    expect_error(control.asid_control_make_pool(wrong, &at(pool)), Error::InvalidCapability, &[1])?;
    let memory = env.untyped(12)?;
    expect_error(control.asid_control_make_pool(memory, &at(endpoint)), Error::DeleteFirst, &[])?;
    control.asid_control_make_pool(memory, &at(pool))?;
    // The memory is in use now.
    let other = env.empty::<cap_type::AsidPool>()?;
    check!(control.asid_control_make_pool(memory, &at(other)).is_err(), "two pools in one memory");
    let vspace: cap::VSpace = env.make()?;
    pool.asid_pool_assign(vspace)?;
    env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, BASE, ATTRS)?;
    Ok(())
}

fn asid_pools_run_out(env: &mut Env) -> Outcome {
    // Eight pools, of which the initial thread's is one. Twice, so that deleted ones are seen to come back.
    for _ in 0..2 {
        let memory = env.untyped(16)?;
        let first = env.slots(8)?;
        let pieces = ObjectBlueprint::Untyped { size_bits: 12 };
        memory.untyped_retype(&pieces, &own_cnode(), first, 8)?;
        for i in 0..8 {
            let pool = env.empty::<cap_type::AsidPool>()?;
            let piece = cap::Untyped::from_bits((first + i) as u64);
            let result = slot::ASID_CONTROL.cap().asid_control_make_pool(piece, &at(pool));
            if i < 7 { result? } else { expect_error(result, Error::DeleteFirst, &[])? }
        }
        at(memory).revoke()?;
    }
    Ok(())
}

fn another_vspace_runs_threads(env: &mut Env) -> Outcome {
    let vspace = space::with_image(env)?;
    // At this address each address space has a page of its own.
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    space::map_tables(env, vspace, BASE)?;
    let (own, other): (cap::Granule, cap::Granule) = (env.make()?, env.make()?);
    own.frame_map(slot::VSPACE.cap(), BASE, RW, ATTRS)?;
    poke(BASE, 0x11);
    other.frame_map(vspace, BASE, RW, ATTRS)?;
    let thread = env.thread(body_peek, [BASE as u64, 0, 0, 0])?;
    let guard = root_guard(&env.bootinfo);
    thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?;
    thread::put(0, 0x22);
    env.start(thread, HIGH)?;
    env.join(&[thread])?;
    check_eq!(thread::get(0), 0, "the word in the other address space");
    check_eq!(peek(BASE), 0x11, "the word in this one");
    Ok(())
}

fn deleted_vspace_stops_its_threads(env: &mut Env) -> Outcome {
    let (vspace, other) = (space::with_image(env)?, space::with_image(env)?);
    let thread = env.thread(body_count, [0; 4])?;
    let guard = root_guard(&env.bootinfo);
    thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?;
    env.start(thread, MAIN)?;
    while thread::get(0) < 5 {
        sel4::yield_();
    }
    // The thread holds a copy of the capability; with it the last one goes.
    at(vspace).revoke()?;
    at(vspace).delete()?;
    let before = thread::get(0);
    (0..10).for_each(|_| sel4::yield_());
    check_eq!(thread::get(0), before, "what the thread counted");
    // It stopped with a fault; in another address space it goes on.
    thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, other)?;
    thread.tcb.tcb_resume()?;
    (0..10).for_each(|_| sel4::yield_());
    check!(thread::get(0) > before, "the thread doesn't run in its new address space");
    Ok(())
}

fn body_count(_: &mut thread::Me) {
    loop {
        thread::add(0, 1);
        sel4::yield_();
    }
}

fn deleted_pool_stops_its_threads(env: &mut Env) -> Outcome {
    let memory = env.untyped(12)?;
    let pool = env.empty::<cap_type::AsidPool>()?;
    slot::ASID_CONTROL.cap().asid_control_make_pool(memory, &at(pool))?;
    let vspace = space::with_image_from(env, pool)?;
    let thread = env.thread(body_count, [0; 4])?;
    let guard = root_guard(&env.bootinfo);
    thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?;
    env.start(thread, MAIN)?;
    while thread::get(0) < 5 {
        sel4::yield_();
    }
    // The root table and all capabilities to it are still there, its identifier is not.
    at(pool).delete()?;
    let before = thread::get(0);
    (0..10).for_each(|_| sel4::yield_());
    check_eq!(thread::get(0), before, "what the thread counted");
    Ok(())
}

fn another_vspace_counts_at_once(env: &mut Env) -> Outcome {
    let spaces = [space::with_image(env)?, space::with_image(env)?];
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    for (vspace, mark) in spaces.into_iter().zip([0x11, 0x22]) {
        let frame: cap::Granule = env.make()?;
        frame.frame_map(slot::VSPACE.cap(), BASE, RW, ATTRS)?;
        poke(BASE, mark);
        frame.frame_unmap()?;
        space::map_tables(env, vspace, BASE)?;
        frame.frame_map(vspace, BASE, RW, ATTRS)?;
    }
    let thread = env.thread(
        |me| loop {
            thread::put(0, peek(me.args[0] as usize));
            sel4::yield_();
        },
        [BASE as u64, 0, 0, 0],
    )?;
    let guard = root_guard(&env.bootinfo);
    let mut start = Some(thread);
    for (vspace, mark) in [(spaces[0], 0x11), (spaces[1], 0x22), (spaces[0], 0x11)] {
        thread.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?;
        if let Some(thread) = start.take() {
            env.start(thread, MAIN)?;
        }
        (0..3).for_each(|_| sel4::yield_());
        check_eq!(thread::get(0), mark, "the word that the thread sees");
    }
    Ok(())
}
