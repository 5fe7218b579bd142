// SPDX-License-Identifier: MIT OR Apache-2.0
//! When guests' translations are dropped, and what the processor has to flush for it. That nothing stale is left no emulator shows; the
//! model in `crates/svm` does.

use kernel_tests::machine::cpuid;
use kernel_tests::{Env, Failure, Outcome, check_eq, expect_error};
use sel4::init_thread::slot;
use sel4::{CapRights, EptVmAttributes, Error, cap};
use sel4_abi::vmcb::{self, TLB_FLUSHES, TLB_RENEWALS};

use crate::code::entry;
use crate::steps::enter;
use crate::vm::{REFUSED_EVENT, Vm, exit};

kernel_tests::checks! {
    translations_are_dropped_when_they_may_have_changed,
    a_flush_serves_all_identifiers,
    a_refused_entry_leaves_its_flush_to_the_next,
}

/// Where a page comes and goes.
const PLACE: usize = 0x3000_0000;
const RO: CapRights = CapRights::read_only();
const RW: CapRights = CapRights::read_write();

fn renewals(vm: &Vm) -> Outcome<u64> {
    Ok(vm.vcpu.vcpu_read_vmcb(TLB_RENEWALS)?)
}

fn flushes(vm: &Vm) -> Outcome<u64> {
    Ok(vm.vcpu.vcpu_read_vmcb(TLB_FLUSHES)?)
}

/// Enters twice: what has to be dropped is dropped once.
fn renewals_after(vm: &mut Vm) -> Outcome<u64> {
    enter(vm, 2)?;
    renewals(vm)
}

fn translations_are_dropped_when_they_may_have_changed(env: &mut Env) -> Outcome {
    let mut vm = Vm::bound(env, 0, entry::guest_cpuid())?;
    check_eq!(renewals(&vm)?, 0, "a fresh VCPU");
    check_eq!(renewals_after(&mut vm)?, 1, "the first entry");
    let page = vm.map(env, PLACE, RW)?;
    check_eq!(renewals_after(&mut vm)?, 1, "a page where none was");
    page.frame_map_ept(vm.root, PLACE, RO, EptVmAttributes::DEFAULT)?;
    check_eq!(renewals_after(&mut vm)?, 2, "fewer rights");
    page.frame_unmap()?;
    check_eq!(renewals_after(&mut vm)?, 3, "no page any more");
    vm.set(vmcb::RSP, 0x1fff0)?;
    check_eq!(renewals_after(&mut vm)?, 3, "another RSP");
    // As where the guest itself writes it, the value doesn't matter.
    for (n, (field, value)) in
        (4..).zip([(vmcb::CR3, 0x1000), (vmcb::CR4, 0x6a0), (vmcb::G_PAT, 0x0007_0406_0007_0406)])
    {
        vm.set(field, value)?;
        check_eq!(renewals_after(&mut vm)?, n, "a write by the VMM");
    }
    for field in [TLB_RENEWALS, TLB_FLUSHES] {
        expect_error(vm.vcpu.vcpu_write_vmcb(field, 0), Error::IllegalOperation, &[])?;
    }
    Ok(())
}

/// Two guests: one whose tables change before each entry, and one whose tables don't.
struct Pair {
    busy: Vm,
    calm: Vm,
    page: cap::LargePage,
    /// Identifiers for guests.
    identifiers: u64,
}

impl Pair {
    /// Both are entered, and the processor has just flushed.
    fn new(env: &mut Env) -> Outcome<Self> {
        let [_, count, _, features] = cpuid(0x8000_000a);
        if count > 64 || features & 1 << 6 != 0 {
            return Err(Failure::skip("the processor has many identifiers, or can flush one alone"));
        }
        let busy = Vm::new(env, 0, entry::guest_cpuid())?;
        let calm = Vm::new(env, 1, entry::guest_cpuid())?;
        let page = busy.page(env, 0)?;
        let mut pair = Self { busy, calm, page, identifiers: u64::from(count) - 1 };
        // Two roots in 256 share what counts their changes.
        for n in 2..5 {
            pair.until_flush()?;
            let before = renewals(&pair.calm)?;
            pair.round()?;
            if renewals(&pair.calm)? == before {
                break;
            }
            pair.calm = Vm::new(env, n, entry::guest_cpuid())?;
        }
        pair.until_flush()?;
        Ok(pair)
    }

    fn until_flush(&mut self) -> Outcome {
        for _ in 0..=2 * self.identifiers {
            let before = flushes(&self.busy)?;
            self.round()?;
            if flushes(&self.busy)? != before {
                return Ok(());
            }
        }
        Err(Failure::new(format_args!("changes without end, and no flush")))
    }

    fn run(vm: &mut Vm) -> Outcome {
        vm.bind(slot::TCB.cap())?;
        enter(vm, 1)
    }

    fn round(&mut self) -> Outcome {
        self.page.frame_map_ept(self.busy.root, PLACE, RW, EptVmAttributes::DEFAULT)?;
        self.page.frame_unmap()?;
        Self::run(&mut self.busy)?;
        Self::run(&mut self.calm)
    }

    fn counts(&self) -> Outcome<[u64; 4]> {
        Ok([renewals(&self.busy)?, flushes(&self.busy)?, renewals(&self.calm)?, flushes(&self.calm)?])
    }
}

fn a_flush_serves_all_identifiers(env: &mut Env) -> Outcome {
    const FLUSHES: u64 = 3;
    let mut pair = Pair::new(env)?;
    let before = pair.counts()?;
    // In each generation the calm one takes one.
    let changes = FLUSHES * (pair.identifiers - 1);
    for _ in 0..changes {
        pair.round()?;
    }
    let after = pair.counts()?;
    let grown: [u64; 4] = core::array::from_fn(|n| after[n] - before[n]);
    check_eq!(grown, [changes, FLUSHES, FLUSHES, 0], "renewals and flushes of the busy one, of the calm one");
    Ok(())
}

fn a_refused_entry_leaves_its_flush_to_the_next(env: &mut Env) -> Outcome {
    let mut pair = Pair::new(env)?;
    // One is the busy guest's, one the calm one's; now all the others are taken, too.
    for _ in 2..pair.identifiers {
        pair.round()?;
    }
    let before = pair.counts()?;
    let mut spoilt = Vm::bound(env, 5, entry::guest_cpuid())?;
    spoilt.event = REFUSED_EVENT;
    spoilt.expect(exit::REFUSED)?;
    Pair::run(&mut pair.calm)?;
    Pair::run(&mut pair.busy)?;
    let after = pair.counts()?;
    let grown: [u64; 4] = core::array::from_fn(|n| after[n] - before[n]);
    check_eq!(grown, [1, 0, 1, 1], "renewals and flushes of the busy one, of the calm one");
    Ok(())
}
