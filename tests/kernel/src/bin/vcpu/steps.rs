// SPDX-License-Identifier: MIT OR Apache-2.0
//! What guest entries do against speculation, and who says so: whoever gives their nested root its number.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel_tests::{Env, Failure, Outcome, check, check_eq, expect_error};
use mitigations::{Steps, fill};
use sel4::Error;
use sel4::abi::bootinfo as bi;
use sel4::cap;
use sel4::init_thread::slot;
use sel4_abi::entry_flush;
use sel4_abi::vmcb::{BUFFER_CLEARS, L1D_FLUSHES, PREDICTOR_BARRIERS};

use crate::checks::ticks;
use crate::code::entry;
use crate::vm::{REFUSED_EVENT, Vm, exit};

kernel_tests::checks! {
    a_forced_flush_grows_the_entry_by_just_its_instructions,
    an_entry_that_needs_nothing_does_nothing,
    counters_step_with_every_entry,
    a_vmm_does_not_turn_its_steps_off,
    a_policy_that_is_none_is_refused,
    predictions_end_where_the_guest_changes,
    a_new_guest_in_old_memory_is_another_one,
}

/// Instructions by which the forced entry grew, for `main`.
pub static GROWTH: AtomicU64 = AtomicU64::new(0);

/// A guest that is entered like this, bound to the initial thread.
fn bound(env: &mut Env, n: usize, entry: u64, flush: u64) -> Outcome<Vm> {
    let vm = Vm::entered(env, n, entry, flush)?;
    vm.bind(slot::TCB.cap())?;
    Ok(vm)
}

/// What the kernel says of its processor: the steps that it needs, and all that it can take.
fn steps(env: &Env) -> Outcome<(Steps, Steps)> {
    let found = env.bootinfo.extensions().ok_or(Failure::new(format_args!("no extensions")))?.features;
    let has = |feature: u32| found & feature != 0;
    let l1d = if has(bi::FEATURE_FLUSH_REGISTER) { Steps::L1D_FLUSH } else { Steps::L1D_FILL };
    let (mut auto, mut on) = (Steps::empty(), l1d);
    auto.set(l1d, has(bi::FEATURE_AUTO_L1D));
    for (step, needed, possible) in [
        (Steps::BUFFERS, bi::FEATURE_AUTO_BUFFERS, bi::FEATURE_BUFFERS),
        (Steps::PREDICTORS, bi::FEATURE_AUTO_PREDICTORS, bi::FEATURE_PREDICTORS),
    ] {
        auto.set(step, has(needed));
        on.set(step, has(possible));
    }
    Ok((auto, on))
}

/// L1D flushes, buffer clears, predictor barriers.
fn counters(vm: &Vm) -> Outcome<[u64; 3]> {
    let read = |field| vm.vcpu.vcpu_read_vmcb(field);
    Ok([read(L1D_FLUSHES)?, read(BUFFER_CLEARS)?, read(PREDICTOR_BARRIERS)?])
}

/// By how many instructions exits of a guest that is entered like this are longer than those of one without any step.
fn growth(env: &mut Env, flush: u64) -> Outcome<[u64; 2]> {
    let without = ticks(&mut bound(env, 0, entry::guest_timing(), entry_flush::OFF)?)?;
    let with = ticks(&mut bound(env, 1, entry::guest_timing(), flush)?)?;
    Ok([with[0] - without[0], with[1] - without[1]])
}

/// Whether exits grew by what these steps take.
fn as_long_as(growth: [u64; 2], steps: Steps) -> Outcome {
    let expected = fill::growth(steps);
    check!(growth.iter().all(|found| expected.contains(found)), "exits grew by {growth:?} instructions");
    Ok(())
}

fn a_forced_flush_grows_the_entry_by_just_its_instructions(env: &mut Env) -> Outcome {
    let (_, on) = steps(env)?;
    let found = growth(env, entry_flush::ON)?;
    GROWTH.store(found[0], Ordering::Relaxed);
    as_long_as(found, on)
}

/// Where the processor needs nothing, an entry is as long as one that was told to do nothing.
fn an_entry_that_needs_nothing_does_nothing(env: &mut Env) -> Outcome {
    let (auto, _) = steps(env)?;
    as_long_as(growth(env, entry_flush::AUTO)?, auto)
}

/// Enters so many times.
pub fn enter(vm: &mut Vm, times: u64) -> Outcome {
    for _ in 0..times {
        vm.rip = entry::guest_cpuid();
        vm.expect(exit::CPUID)?;
    }
    Ok(())
}

fn counters_step_with_every_entry(env: &mut Env) -> Outcome {
    const TIMES: u64 = 100;
    let (auto, on) = steps(env)?;
    let cases = [(entry_flush::OFF, Steps::empty()), (entry_flush::ON, on), (entry_flush::AUTO, auto)];
    for (n, (flush, steps)) in cases.into_iter().enumerate() {
        let mut vm = bound(env, n, entry::guest_cpuid(), flush)?;
        check_eq!(counters(&vm)?, [0; 3], "counters of a fresh VCPU");
        enter(&mut vm, TIMES)?;
        let found = counters(&vm)?;
        let l1d = steps.intersects(Steps::L1D_FILL | Steps::L1D_FLUSH);
        for (n, counted) in [l1d, steps.contains(Steps::BUFFERS)].into_iter().enumerate() {
            // A host interrupt makes one more entry.
            let expected = if counted { TIMES..=TIMES + 5 } else { 0..=0 };
            check!(expected.contains(&found[n]), "flush {flush}, counter {n}: {} steps", found[n]);
        }
        for field in [L1D_FLUSHES, BUFFER_CLEARS, PREDICTOR_BARRIERS] {
            expect_error(vm.vcpu.vcpu_write_vmcb(field, 0), Error::IllegalOperation, &[])?;
        }
    }
    Ok(())
}

/// A VMM has its VCPU, its thread, its nested root with its number, and memory, but no pool of identifiers. With none of them does it get
/// rid of a forced flush.
fn a_vmm_does_not_turn_its_steps_off(env: &mut Env) -> Outcome {
    let mut vm = bound(env, 0, entry::guest_cpuid(), entry_flush::ON)?;
    enter(&mut vm, 1)?;
    check!(counters(&vm)?[0] != 0, "nothing was flushed");
    // The root keeps its number, and what goes with it.
    let pool = slot::ASID_POOL.cap();
    let again = pool.asid_pool_assign_nested(vm.root, entry_flush::OFF);
    expect_error(again, Error::InvalidCapability, &[1])?;
    // One without a number runs nothing.
    let own: cap::EptPml4 = env.make()?;
    expect_error(slot::TCB.cap().tcb_set_ept_root(own), Error::IllegalOperation, &[])?;
    // Another VCPU on the same root flushes as the first one.
    vm.vcpu = env.make()?;
    vm.bind(slot::TCB.cap())?;
    vm.rip = 0xfff0;
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    check_eq!(counters(&vm)?[0], 1, "flushes of another VCPU");
    Ok(())
}

fn a_policy_that_is_none_is_refused(env: &mut Env) -> Outcome {
    let root: cap::EptPml4 = env.make()?;
    let pool = slot::ASID_POOL.cap();
    for none in [3, 4, 0xfff, u64::MAX] {
        expect_error(pool.asid_pool_assign_nested(root, none), Error::InvalidArgument, &[0])?;
    }
    pool.asid_pool_assign_nested(root, entry_flush::OFF)?;
    // For an address space of threads the word has no meaning, as in seL4.
    let space: cap::VSpace = env.make()?;
    pool.asid_pool_assign_nested(cap::EptPml4::from_bits(space.bits()), u64::MAX)?;
    Ok(())
}

fn predictions_end_where_the_guest_changes(env: &mut Env) -> Outcome {
    let (auto, _) = steps(env)?;
    let mut a = Vm::new(env, 0, entry::guest_cpuid())?;
    let mut b = Vm::new(env, 1, entry::guest_cpuid())?;
    let mut without = Vm::entered(env, 2, entry::guest_cpuid(), entry_flush::OFF)?;
    let expected = u64::from(auto.contains(Steps::PREDICTORS));
    for round in 1..=3 {
        for vm in [&mut a, &mut b] {
            vm.bind(slot::TCB.cap())?;
            enter(vm, 5)?;
            check_eq!(counters(vm)?[2], round * expected, "barriers after five entries in a row");
        }
    }
    // One that wants none leaves its predictions all the same: who comes after it has its barrier.
    without.bind(slot::TCB.cap())?;
    enter(&mut without, 1)?;
    b.bind(slot::TCB.cap())?;
    enter(&mut b, 1)?;
    check_eq!(counters(&without)?[2], 0, "barriers of the guest without");
    check_eq!(counters(&b)?[2], 4 * expected, "barriers of the guest after it");
    Ok(())
}

/// A VCPU that lies where one was that ran last.
fn a_new_guest_in_old_memory_is_another_one(env: &mut Env) -> Outcome {
    let (auto, _) = steps(env)?;
    let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
    enter(&mut vm, 1)?;
    let before = counters(&vm)?[2];
    // Dies of a refused entry, and lives again in its old place as another one.
    vm.event = REFUSED_EVENT;
    vm.expect(exit::REFUSED)?;
    vm.bind(slot::TCB.cap())?;
    check_eq!(counters(&vm)?[2], 0, "barriers of the new guest");
    (vm.rip, vm.event, vm.control) = (0xfff0, 0, 0);
    vm.expect(exit::NESTED_PAGE_FAULT)?;
    let expected = u64::from(auto.contains(Steps::PREDICTORS));
    check_eq!([before, counters(&vm)?[2]], [expected; 2], "barriers of the old and the new guest");
    Ok(())
}
