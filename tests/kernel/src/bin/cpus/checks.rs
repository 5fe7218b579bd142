// SPDX-License-Identifier: MIT OR Apache-2.0
//! One rule each of how processors act on each other.

use core::arch::asm;

use kernel_tests::env::{HIGH, LOW, MAIN, at, root_guard};
use kernel_tests::{Env, Me, Outcome, check, check_eq, space, thread};
use sel4::init_thread::slot;
use sel4::{CPtr, CapRights, Fault, MessageInfo, VmAttributes, cap};

use crate::worker::*;

kernel_tests::checks! {
    every_processor_has_its_control,
    each_control_gives_time_on_its_processor,
    a_low_priority_on_another_processor_runs_beside,
    signals_wake_threads_of_other_processors,
    calls_and_replies_cross_processors,
    a_passive_server_runs_on_its_callers_processor,
    a_suspended_thread_stops_at_once_elsewhere,
    a_suspended_system_call_is_made_again,
    registers_of_a_thread_that_runs_elsewhere_are_its_own,
    a_deleted_thread_stops_at_once_elsewhere,
    a_deleted_context_stops_its_thread_elsewhere,
    an_unmapped_page_is_gone_everywhere,
    a_deleted_address_space_stops_threads_elsewhere,
    a_deleted_identifier_pool_stops_threads_elsewhere,
    a_running_thread_moves_with_its_context,
    the_initial_thread_moves_itself,
    vector_registers_and_bases_move_along,
    priorities_count_on_each_processor_alone,
    consumed_time_is_that_of_the_other_processor,
}

const BASE: usize = 0x1000_0000_0000;
const ATTRS: VmAttributes = VmAttributes::DEFAULT;

fn every_processor_has_its_control(env: &mut Env) -> Outcome {
    let nodes = env.bootinfo.num_nodes();
    check!(nodes >= 2, "the machine has one processor");
    check_eq!(
        env.bootinfo.inner().sched_control.end - env.bootinfo.inner().sched_control.start,
        nodes as u64,
        "controls"
    );
    Ok(())
}

fn each_control_gives_time_on_its_processor(env: &mut Env) -> Outcome {
    let mut seen = 0u64;
    for core in 0..env.bootinfo.num_nodes() {
        thread::put(PROCESSOR, u64::MAX);
        let worker = env.thread(|_| thread::put(PROCESSOR, processor()), [0; 4])?;
        put_on(env, core, worker.sc)?;
        // On this processor it has to come first.
        env.start(worker, HIGH)?;
        until(|| thread::get(PROCESSOR) != u64::MAX);
        check!(
            seen & 1 << thread::get(PROCESSOR) == 0,
            "two controls for processor {}",
            thread::get(PROCESSOR)
        );
        check_eq!(thread::get(PROCESSOR) == processor(), core == 0, "the first control is of this processor");
        seen |= 1 << thread::get(PROCESSOR);
        worker.tcb.tcb_suspend()?;
    }
    Ok(())
}

fn a_low_priority_on_another_processor_runs_beside(env: &mut Env) -> Outcome {
    let worker = env.thread(count, [0; 4])?;
    put_on(env, 1, worker.sc)?;
    env.start(worker, LOW)?;
    // This thread, of a higher priority, never waits.
    until_moved(COUNT, 1000);
    Ok(())
}

fn signals_wake_threads_of_other_processors(env: &mut Env) -> Outcome {
    const ROUNDS: u64 = 200;
    let (there, back): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
    let signal = env.mint(back, CapRights::all(), 1)?;
    spawn_on(env, 1, pong, [there.bits(), signal.bits(), ROUNDS, 0])?;
    for _ in 0..ROUNDS {
        there.signal();
        while back.poll() == 0 {
            core::hint::spin_loop();
        }
    }
    Ok(())
}

fn calls_and_replies_cross_processors(env: &mut Env) -> Outcome {
    const ROUNDS: u64 = 200;
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    spawn_on(env, 1, serve, [endpoint.bits(), reply.bits(), 0, 0])?;
    for i in 0..ROUNDS {
        let answer = endpoint.call_with_mrs(MessageInfo::new(0, 0, 0, 1), [i]);
        check_eq!(answer.msg[0], i + 1, "the answer");
        check!(answer.msg[1] != processor(), "the server runs on its client's processor");
    }
    Ok(())
}

fn a_passive_server_runs_on_its_callers_processor(env: &mut Env) -> Outcome {
    let (endpoint, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
    let server = spawn_on(env, 1, serve, [endpoint.bits(), reply.bits(), 0, 0])?;
    let other = endpoint.call_with_mrs(MessageInfo::new(0, 0, 0, 1), [0]).msg[1];
    check!(other != processor(), "the server began on this processor");
    server.sc.sched_context_unbind()?;
    let client = spawn_on(env, 1, call, [endpoint.bits(), 100, 5, 0])?;
    for i in 0..100 {
        let answer = endpoint.call_with_mrs(MessageInfo::new(0, 0, 0, 1), [i]);
        check_eq!([answer.msg[0], answer.msg[1]], [i + 1, processor()], "the answer, and where it was made");
    }
    until(|| thread::get(5) == 100);
    client.tcb.tcb_suspend()?;
    Ok(())
}

fn a_suspended_thread_stops_at_once_elsewhere(env: &mut Env) -> Outcome {
    for body in [count, count_in_calls] {
        let worker = spawn_on(env, 1, body, [0; 4])?;
        for _ in 0..20 {
            until_moved(COUNT, 10);
            worker.tcb.tcb_suspend()?;
            check!(!moves(COUNT), "a suspended thread counts on");
            worker.tcb.tcb_resume()?;
        }
        until_moved(COUNT, 10);
        worker.tcb.tcb_suspend()?;
    }
    Ok(())
}

/// What is stopped in the middle of a system call makes it again when it is resumed: none is lost, none is answered twice.
fn a_suspended_system_call_is_made_again(env: &mut Env) -> Outcome {
    const CALLS: u64 = 300;
    // Each signal counts, since it is waited for.
    let (there, back): (cap::Notification, cap::Notification) = (env.make()?, env.make()?);
    let signal = env.mint(back, CapRights::all(), 1)?;
    let worker = spawn_on(env, 1, pong, [there.bits(), signal.bits(), CALLS, 0])?;
    for _ in 0..CALLS {
        there.signal();
        worker.tcb.tcb_suspend()?;
        worker.tcb.tcb_resume()?;
        while back.poll() == 0 {
            core::hint::spin_loop();
        }
    }
    Ok(())
}

fn registers_of_a_thread_that_runs_elsewhere_are_its_own(env: &mut Env) -> Outcome {
    fn spin(_: &mut Me) {
        thread::put(COUNT, 1);
        // SAFETY: for ever.
        unsafe { asm!("mov rbx, 0x1234567", "mov r13, 0x89abcdef", "2: jmp 2b", options(noreturn)) }
    }
    let worker = spawn_on(env, 1, spin, [0; 4])?;
    until(|| thread::get(COUNT) == 1);
    loop {
        let registers = worker.tcb.tcb_read_all_registers(false)?;
        if registers.r13 == 0x89ab_cdef {
            check_eq!(registers.rbx, 0x123_4567, "RBX");
            break;
        }
    }
    let mut registers = worker.tcb.tcb_read_all_registers(true)?;
    check_eq!(registers.r13, 0x89ab_cdef, "R13");
    registers.rip = go_on as *const () as u64;
    worker.tcb.tcb_write_all_registers(true, &registers)?;
    until(|| thread::get(COUNT) == 2);
    Ok(())
}

extern "C" fn go_on() -> ! {
    loop {
        thread::put(COUNT, 2);
    }
}

fn a_deleted_thread_stops_at_once_elsewhere(env: &mut Env) -> Outcome {
    for body in [count, count_in_calls, tell_processor] {
        let worker = spawn_on(env, 1, body, [0; 4])?;
        until_moved(COUNT, 10);
        at(worker.tcb).revoke()?;
        at(worker.tcb).delete()?;
        check!(!moves(COUNT), "a deleted thread counts on");
    }
    Ok(())
}

fn a_deleted_context_stops_its_thread_elsewhere(env: &mut Env) -> Outcome {
    let worker = spawn_on(env, 1, count, [0; 4])?;
    until_moved(COUNT, 10);
    worker.sc.sched_context_unbind()?;
    check!(!moves(COUNT), "a thread without time counts on");
    worker.sc.sched_context_bind(worker.tcb)?;
    until_moved(COUNT, 10);
    at(worker.sc).revoke()?;
    at(worker.sc).delete()?;
    check!(!moves(COUNT), "a thread whose time is deleted counts on");
    Ok(())
}

/// Counts in the word at args[0], and in a cell.
fn count_at(me: &mut Me) {
    loop {
        // SAFETY: the check maps a page there, and expects the fault when it is gone.
        unsafe { asm!("lock inc qword ptr [{}]", in(reg) me.args[0], options(nostack)) };
        thread::add(COUNT, 1);
    }
}

fn an_unmapped_page_is_gone_everywhere(env: &mut Env) -> Outcome {
    const ALIAS: usize = BASE + 0x1000;
    space::map_tables(env, slot::VSPACE.cap(), BASE)?;
    let frame: cap::Granule = env.make()?;
    let alias = env.copy(frame, CapRights::all())?;
    alias.frame_map(slot::VSPACE.cap(), ALIAS, CapRights::read_write(), ATTRS)?;
    // SAFETY: the page is mapped.
    let word = unsafe { &*(ALIAS as *const core::sync::atomic::AtomicU64) };
    frame.frame_map(slot::VSPACE.cap(), BASE, CapRights::read_write(), ATTRS)?;
    let worker = spawn_on(env, 1, count_at, [BASE as u64, 0, 0, 0])?;
    for _ in 0..20 {
        until_moved(COUNT, 100);
        frame.frame_unmap()?;
        let counted = word.load(core::sync::atomic::Ordering::SeqCst);
        let (info, _) = env.recv_later(env.fault_ep, env.reply);
        let fault = sel4::with_ipc_buffer(|buffer| Fault::new(buffer, &info));
        check!(matches!(&fault, Some(Fault::VmFault(f)) if f.addr == BASE as u64), "the fault is {fault:x?}");
        check_eq!(word.load(core::sync::atomic::Ordering::SeqCst), counted, "what was counted in the page");
        frame.frame_map(slot::VSPACE.cap(), BASE, CapRights::read_write(), ATTRS)?;
        env.answer(0, 0, [0]);
    }
    worker.tcb.tcb_suspend()?;
    Ok(())
}

fn a_deleted_address_space_stops_threads_elsewhere(env: &mut Env) -> Outcome {
    let vspace = space::with_image(env)?;
    in_space(env, vspace)?;
    at(vspace).revoke()?;
    at(vspace).delete()?;
    check!(!moves(COUNT), "a thread without an address space counts on");
    Ok(())
}

fn in_space(env: &mut Env, vspace: cap::VSpace) -> Outcome<kernel_tests::Thread> {
    let worker = env.thread(count, [0; 4])?;
    let guard = root_guard(&env.bootinfo);
    worker.tcb.tcb_set_space(CPtr::from_bits(0), slot::CNODE.cap(), guard, vspace)?;
    put_on(env, 1, worker.sc)?;
    env.start(worker, MAIN)?;
    until_moved(COUNT, 10);
    Ok(worker)
}

fn a_deleted_identifier_pool_stops_threads_elsewhere(env: &mut Env) -> Outcome {
    let memory = env.untyped(12)?;
    let pool = env.empty::<sel4::cap_type::AsidPool>()?;
    slot::ASID_CONTROL.cap().asid_control_make_pool(memory, &at(pool))?;
    let vspace = space::with_image_from(env, pool)?;
    in_space(env, vspace)?;
    at(pool).delete()?;
    check!(!moves(COUNT), "a thread without an address space counts on");
    Ok(())
}

fn a_running_thread_moves_with_its_context(env: &mut Env) -> Outcome {
    let nodes = env.bootinfo.num_nodes();
    let worker = spawn_on(env, 1, tell_processor, [0; 4])?;
    until_moved(COUNT, 10);
    let mut before = thread::get(PROCESSOR);
    check!(before != processor(), "it began on this processor");
    if nodes > 2 {
        for core in [2, 1].repeat_for(20) {
            put_on(env, core, worker.sc)?;
            until_moved(COUNT, 2);
            check!(thread::get(PROCESSOR) != before, "it didn't move");
            before = thread::get(PROCESSOR);
        }
    }
    // Here it waits until this thread, which has the higher priority, lets it.
    put_on(env, 0, worker.sc)?;
    check!(!moves(COUNT), "it runs elsewhere still");
    put_on(env, 1, worker.sc)?;
    until_moved(COUNT, 10);
    Ok(())
}

trait RepeatFor {
    fn repeat_for(self, times: usize) -> impl Iterator<Item = usize>;
}

impl<const N: usize> RepeatFor for [usize; N] {
    fn repeat_for(self, times: usize) -> impl Iterator<Item = usize> {
        (0..times).flat_map(move |_| self)
    }
}

fn the_initial_thread_moves_itself(env: &mut Env) -> Outcome {
    let (own, sc) = (processor(), slot::SC.cap());
    for _ in 0..50 {
        put_on(env, 1, sc)?;
        check!(processor() != own, "the thread is still where it was");
        put_on(env, 0, sc)?;
        check_eq!(processor(), own, "the processor");
    }
    Ok(())
}

/// Holds a value in registers that are saved late, and counts how often it was there. The image is built without SSE.
fn hold(me: &mut Me) {
    let value = me.args[0];
    // SAFETY: the registers are this thread's.
    unsafe { asm!("movq xmm3, {0}", "movq xmm15, {0}", "wrfsbase {0}", in(reg) value) };
    loop {
        let (low, high, base): (u64, u64, u64);
        // SAFETY: as above.
        unsafe {
            asm!("movq {}, xmm3", "movq {}, xmm15", "rdfsbase {}", out(reg) low, out(reg) high, out(reg) base);
        }
        if (low, high, base) != (value, value, value) {
            thread::add(COUNT + 2, 1);
        }
        thread::add(COUNT, 1);
        // Where it waits, others' registers come into the processor.
        if me.args[1] != 0 {
            sel4::yield_();
        }
    }
}

fn vector_registers_and_bases_move_along(env: &mut Env) -> Outcome {
    let nodes = env.bootinfo.num_nodes();
    let workers = [
        spawn_on(env, 1, hold, [0x1111_1111, 1, 0, 0])?,
        spawn_on(env, 1, hold, [0x2222_2222, 1, 0, 0])?,
        spawn_on(env, nodes - 1, hold, [0x3333_3333, 0, 0, 0])?,
    ];
    for round in 0..100 {
        put_on(env, 1 + round % (nodes - 1), workers[round % 3].sc)?;
        if round % 4 == 0 {
            // A while on this processor, where it doesn't run.
            put_on(env, 0, workers[1].sc)?;
            put_on(env, 1, workers[1].sc)?;
        }
        until_moved(COUNT, 3);
    }
    check_eq!(thread::get(COUNT + 2), 0, "how often a register was another's");
    Ok(())
}

fn priorities_count_on_each_processor_alone(env: &mut Env) -> Outcome {
    fn second(_: &mut Me) {
        loop {
            thread::add(3, 1);
        }
    }
    let first = spawn_on(env, 1, count, [0; 4])?;
    let other = env.thread(second, [0; 4])?;
    put_on(env, 1, other.sc)?;
    env.start(other, LOW - 1)?;
    until_moved(COUNT, 1000);
    check_eq!(thread::get(3), 0, "what the lower one counted");
    first.tcb.tcb_set_priority(slot::TCB.cap(), LOW - 2)?;
    until_moved(3, 1000);
    check!(!moves(COUNT), "the lower one counts on");
    Ok(())
}

fn consumed_time_is_that_of_the_other_processor(env: &mut Env) -> Outcome {
    let worker = spawn_on(env, 1, count, [0; 4])?;
    until_moved(COUNT, 1000);
    worker.sc.sched_context_consumed()?;
    let mut total = 0;
    while total < 2000 {
        total += worker.sc.sched_context_consumed()?;
    }
    worker.tcb.tcb_suspend()?;
    worker.sc.sched_context_consumed()?;
    check_eq!(worker.sc.sched_context_consumed()?, 0, "what a suspended thread uses");
    Ok(())
}
