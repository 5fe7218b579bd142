// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests beside other threads: interrupts of the host, notifications, suspension, deletion.

use core::cell::UnsafeCell;

use kernel_tests::env::MAIN;
use kernel_tests::{Env, Me, Outcome, check, check_eq, thread};
use sel4::CapRights;
use sel4_abi::vcpu;

use crate::checks::enter_without_vcpu_faults;
use crate::code::entry;
use crate::vm::{End, Vm, exit};

kernel_tests::checks! {
    enter_without_vcpu_faults,
    host_interrupts_do_not_reach_the_guest,
    notification_interrupts_the_guest,
    active_notification_comes_before_the_guest,
    suspended_guest_goes_on,
    deleted_vcpu_gives_its_thread_back,
    deleted_nested_root_faults,
    guests_of_two_threads_share_the_processor,
}

/// Bit of the badge with which a thread wakes the initial one.
const KICK: u64 = 1 << 40;

/// The guests of threads: a thread's body has no captures.
struct Guests(UnsafeCell<[Option<Vm>; 2]>);

// SAFETY: the initial thread fills a place before its thread starts; then that thread alone uses it until it has finished.
unsafe impl Sync for Guests {}

static GUESTS: Guests = Guests(UnsafeCell::new([const { None }; 2]));

pub fn guests() -> &'static mut [Option<Vm>; 2] {
    // SAFETY: see above; nobody keeps the reference beyond a statement that names one place.
    unsafe { &mut *GUESTS.0.get() }
}

/// Sets the guest's flag, in time that only the end of the guest's slice gives it; then signals if asked to.
fn raise_flag(me: &mut Me) {
    // SAFETY: the address is that of the flag in the guest's memory, which is mapped for the whole check.
    unsafe { (me.args[0] as *mut u64).write_volatile(1) }
}

/// Signals a notification.
fn kick(me: &mut Me) {
    sel4::cap::Notification::from_bits(me.args[0]).signal();
}

/// A guest that spins until a thread of the same priority has run: only the host's timer can bring that about.
fn host_interrupts_do_not_reach_the_guest(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_spin())?;
    env.spawn(MAIN, raise_flag, [vm.address(0x9400), 0, 0, 0])?;
    let end = loop {
        let end = vm.enter();
        // The end of the thread is a signal, which may end the run as well.
        if !matches!(end, End::Notification(_)) {
            break end;
        }
    };
    check_eq!(end, End::Exit(exit::VMMCALL), "the end");
    check_eq!(vm.registers[0], crate::code::DONE, "RAX");
    check!(vm.peek(0x9408) > 1, "the guest did not spin");
    Ok(())
}

fn notification_interrupts_the_guest(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_spin())?;
    let kicker = env.mint(env.events, CapRights::all(), KICK)?;
    env.spawn(MAIN, kick, [kicker.bits(), 0, 0, 0])?;
    match vm.enter() {
        End::Notification(badge) => check!(badge & KICK != 0, "badge {badge:#x}"),
        End::Exit(code) => check_eq!(code, 0, "the exit"),
    }
    check!(vm.rip != entry::guest_spin(), "the guest has not moved");
    check!(vm.peek(0x9408) > 0, "the guest did not spin");
    check!(vm.word(vcpu::MR_RFLAGS) & 2 != 0, "no RFLAGS");
    vm.poke(0x9400, 1);
    let end = loop {
        let end = vm.enter();
        if !matches!(end, End::Notification(_)) {
            break end;
        }
    };
    check_eq!(end, End::Exit(exit::VMMCALL), "the end");
    check_eq!(vm.registers[0], crate::code::DONE, "RAX");
    Ok(())
}

fn active_notification_comes_before_the_guest(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
    env.mint(env.events, CapRights::all(), KICK)?.signal();
    check_eq!(vm.enter(), End::Notification(KICK), "the first entry");
    check_eq!(vm.rip, entry::guest_cpuid(), "RIP");
    vm.expect(exit::CPUID)
}

/// Runs guest number `args[0]` until it exits; counts the notifications in cell 1, the exit's code goes to cell 2.
fn run_guest(me: &mut Me) {
    let Some(vm) = &mut guests()[me.args[0] as usize] else { return };
    let mut end = vm.enter_with(me.ipc);
    loop {
        match end {
            End::Exit(code) => {
                thread::put(2, code);
                thread::put(3 + me.args[0] as usize, vm.registers[0]);
                return;
            }
            End::Notification(_) => thread::add(1, 1),
        }
        if thread::get(0) != 0 {
            return;
        }
        end = vm.enter_with(me.ipc);
    }
}

/// Makes a thread that runs a spinning guest, and waits until the guest spins.
pub fn spinning(env: &mut Env, n: usize) -> Outcome<kernel_tests::Thread> {
    let vm = Vm::new(env, n, entry::guest_spin())?;
    let thread = env.thread(run_guest, [n as u64, 0, 0, 0])?;
    vm.bind(thread.tcb)?;
    let counter = vm.address(0x9408) as *const u64;
    guests()[n] = Some(vm);
    env.start(thread, MAIN)?;
    // SAFETY: the guest's counter, in memory that is mapped for the whole check.
    env.wait_until(10_000_000, || unsafe { counter.read_volatile() } > 0)?;
    Ok(thread)
}

fn suspended_guest_goes_on(env: &mut Env) -> Outcome {
    let thread = spinning(env, 0)?;
    let Some(vm) = &guests()[0] else { return Ok(()) };
    thread.tcb.tcb_suspend()?;
    let count = vm.peek(0x9408);
    for _ in 0..100_000 {
        core::hint::spin_loop();
    }
    check_eq!(vm.peek(0x9408), count, "the count of a suspended guest");
    thread.tcb.tcb_resume()?;
    env.wait_until(10_000_000, || vm.peek(0x9408) > count)?;
    vm.poke(0x9400, 1);
    env.join(&[thread])?;
    check_eq!(thread::get(2), exit::VMMCALL, "the exit");
    check_eq!(thread::get(3), crate::code::DONE, "RAX");
    check_eq!(thread::get(1), 1, "the returns without an exit");
    Ok(())
}

fn deleted_vcpu_gives_its_thread_back(env: &mut Env) -> Outcome {
    let thread = spinning(env, 0)?;
    thread::put(0, 1);
    let Some(vm) = &guests()[0] else { return Ok(()) };
    kernel_tests::env::at(vm.vcpu).delete()?;
    env.join(&[thread])?;
    check_eq!(thread::get(1), 1, "the returns without an exit");
    Ok(())
}

fn deleted_nested_root_faults(env: &mut Env) -> Outcome {
    let thread = spinning(env, 0)?;
    let Some(vm) = &guests()[0] else { return Ok(()) };
    // The copy that the thread holds was derived from this one.
    kernel_tests::env::at(vm.root).revoke()?;
    kernel_tests::env::at(vm.root).delete()?;
    env.join(&[thread])?;
    check_eq!(thread::get(2), exit::NESTED_PAGE_FAULT, "the exit");
    Ok(())
}

fn guests_of_two_threads_share_the_processor(env: &mut Env) -> Outcome {
    let a = spinning(env, 0)?;
    let b = spinning(env, 1)?;
    let [Some(vm_a), Some(vm_b)] = guests() else { return Ok(()) };
    let (count_a, count_b) = (vm_a.peek(0x9408), vm_b.peek(0x9408));
    env.wait_until(10_000_000, || vm_a.peek(0x9408) > count_a && vm_b.peek(0x9408) > count_b)?;
    vm_a.poke(0x9400, 1);
    vm_b.poke(0x9400, 1);
    env.join(&[a, b])?;
    check_eq!((thread::get(3), thread::get(4)), (crate::code::DONE, crate::code::DONE), "RAX of both");
    Ok(())
}
