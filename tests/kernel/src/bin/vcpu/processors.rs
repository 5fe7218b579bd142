// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests on another processor than the thread that acts on them. Run on a machine with at least two, where nothing else runs.

use core::hint::spin_loop;

use kernel_tests::env::at;
use kernel_tests::{Env, Failure, Outcome, Thread, check, check_eq, machine, thread};
use sel4::cap;

use crate::code::DONE;
use crate::threads::{guests, spinning};
use crate::vm::{Vm, exit};

kernel_tests::checks! {
    a_guest_spins_beside_its_makers_thread,
    a_guest_stops_at_once_with_its_thread_elsewhere,
    a_guest_moves_between_processors,
    a_notification_interrupts_a_guest_elsewhere,
    a_guest_elsewhere_loses_an_unmapped_page_at_once,
    a_guest_elsewhere_loses_its_vcpu_and_its_root_at_once,
    two_guests_run_at_the_same_time,
}

/// Where a guest counts, and the flag that ends it.
const COUNT: usize = 0x9408;
const FLAG: usize = 0x9400;

fn control(env: &Env, core: usize) -> Outcome<cap::SchedControl> {
    let slot = env.bootinfo.sched_control(core);
    Ok(slot.ok_or(Failure::new(format_args!("processor {core} has no control")))?.cap())
}

/// A guest that spins, of a thread on the second processor.
fn elsewhere(env: &mut Env, n: usize) -> Outcome<(Thread, &'static Vm)> {
    let own = env.sched_control;
    env.sched_control = control(env, 1)?;
    let thread = spinning(env, n);
    env.sched_control = own;
    let vm = guests()[n].as_ref().ok_or(Failure::new(format_args!("no guest")))?;
    Ok((thread?, vm))
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        spin_loop();
    }
}

fn until_moved(vm: &Vm) {
    let from = vm.peek(COUNT);
    until(|| vm.peek(COUNT) != from);
}

/// Looks for long enough that a guest which ran would have counted on.
fn moves(vm: &Vm) -> bool {
    let from = vm.peek(COUNT);
    for _ in 0..50 {
        machine::pass(1);
        spin_loop();
    }
    vm.peek(COUNT) != from
}

/// Lets the guest come to its end, which adds up what its registers held.
fn end(vm: &Vm, n: usize) -> Outcome {
    vm.poke(FLAG, 1);
    until(|| thread::get(3 + n) != 0);
    check_eq!(thread::get(2), exit::VMMCALL, "the exit");
    check_eq!(thread::get(3 + n), DONE, "RAX");
    Ok(())
}

fn a_guest_spins_beside_its_makers_thread(env: &mut Env) -> Outcome {
    let (_, vm) = elsewhere(env, 0)?;
    (0..10).for_each(|_| until_moved(vm));
    end(vm, 0)
}

fn a_guest_stops_at_once_with_its_thread_elsewhere(env: &mut Env) -> Outcome {
    let (thread, vm) = elsewhere(env, 0)?;
    for _ in 0..20 {
        thread.tcb.tcb_suspend()?;
        check!(!moves(vm), "the guest of a suspended thread counts on");
        thread.tcb.tcb_resume()?;
        until_moved(vm);
    }
    end(vm, 0)
}

fn a_guest_moves_between_processors(env: &mut Env) -> Outcome {
    let (thread, vm) = elsewhere(env, 0)?;
    // On this processor it waits, since this thread has the higher priority.
    thread.tcb.tcb_set_priority(sel4::init_thread::slot::TCB.cap(), kernel_tests::env::LOW)?;
    for _ in 0..20 {
        control(env, 0)?.sched_control_configure_flags(thread.sc, 10_000, 10_000, 0, 0, 0)?;
        check!(!moves(vm), "the guest runs on its old processor");
        control(env, 1)?.sched_control_configure_flags(thread.sc, 10_000, 10_000, 0, 0, 0)?;
        until_moved(vm);
    }
    // And it runs on this one.
    control(env, 0)?.sched_control_configure_flags(thread.sc, 10_000, 10_000, 0, 0, 0)?;
    vm.poke(FLAG, 1);
    env.join(&[thread])?;
    check_eq!((thread::get(2), thread::get(3)), (exit::VMMCALL, DONE), "the exit, and RAX");
    Ok(())
}

fn a_notification_interrupts_a_guest_elsewhere(env: &mut Env) -> Outcome {
    let (thread, vm) = elsewhere(env, 0)?;
    let notification: cap::Notification = env.make()?;
    thread.tcb.tcb_suspend()?;
    thread.tcb.tcb_bind_notification(notification)?;
    thread.tcb.tcb_resume()?;
    until_moved(vm);
    for _ in 0..50 {
        let before = thread::get(1);
        notification.signal();
        until(|| thread::get(1) > before);
        until_moved(vm);
    }
    end(vm, 0)
}

fn a_guest_elsewhere_loses_an_unmapped_page_at_once(env: &mut Env) -> Outcome {
    let (_, vm) = elsewhere(env, 0)?;
    vm.nested.frame_unmap()?;
    check!(!moves(vm), "the guest counts in a page that it lost");
    until(|| thread::get(2) != 0);
    check_eq!(thread::get(2), exit::NESTED_PAGE_FAULT, "the exit");
    Ok(())
}

fn a_guest_elsewhere_loses_its_vcpu_and_its_root_at_once(env: &mut Env) -> Outcome {
    let (_, vm) = elsewhere(env, 0)?;
    at(vm.root).revoke()?;
    at(vm.root).delete()?;
    check!(!moves(vm), "the guest runs without nested tables");
    until(|| thread::get(2) != 0);
    check_eq!(thread::get(2), exit::NESTED_PAGE_FAULT, "the exit");
    env.reuse_threads();

    thread::put(0, 1);
    thread::put(1, 0);
    let (_, vm) = elsewhere(env, 1)?;
    at(vm.vcpu).delete()?;
    check!(!moves(vm), "the guest runs without a virtual CPU");
    until(|| thread::get(1) == 1);
    Ok(())
}

fn two_guests_run_at_the_same_time(env: &mut Env) -> Outcome {
    let (_, vm) = elsewhere(env, 0)?;
    let own = spinning(env, 1)?;
    let here = guests()[1].as_ref().ok_or(Failure::new(format_args!("no guest")))?;
    for _ in 0..20 {
        until_moved(vm);
        let from = here.peek(COUNT);
        while here.peek(COUNT) == from {
            sel4::yield_();
        }
    }
    here.poke(FLAG, 1);
    env.join(&[own])?;
    check_eq!(thread::get(4), DONE, "RAX of the one on this processor");
    end(vm, 0)
}
