// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entering a guest, and the exits that its VMM never sees: physical interrupts, debug registers, reflected exceptions.

use core::arch::asm;

use ::mitigations::Steps;
use svm::event::{self, Event, Kind};
use svm::exit;
use svm::vmcb::{int_ctl, tlb_control};

use super::debug::Owner;
use super::object::{Due, SvmVcpu};
use super::switch::postern_svm_switch;
use super::{Machine, Vcpu};
use crate::arch::{apic, smp};
use crate::asid::NestedRoot;
use crate::stretch;
use crate::virt::{EntryResult, mitigations};

const DB: u64 = exit::EXCEPTION + 1;
const AC: u64 = exit::EXCEPTION + 17;
const MC: u64 = exit::EXCEPTION + 18;

/// Runs the guest until something is for the core or for the VMM.
#[inline]
pub fn enter(machine: &mut Machine, vcpu: Vcpu, root: NestedRoot) -> EntryResult {
    let state = SvmVcpu::of(vcpu);
    if !state.due.is_empty() && !see_to_what_is_due(machine, state) {
        return if state.header.dead.get() { EntryResult::Exit } else { EntryResult::HostInterrupt };
    }
    let root = if root == NestedRoot::NONE { machine.empty_root } else { root.bits() };
    let mut flush = tlb_control::NOTHING;
    if !machine.tlb.is_current(&state.tag, root) {
        let steps = mitigations::steps_for(NestedRoot::entry_flush(root));
        // Before there is a new identifier: the flush that goes with it is the next entry's.
        if steps.contains(Steps::L1D_FILL) && is_interrupted(state) {
            return EntryResult::HostInterrupt;
        }
        let (asid, needed) = machine.tlb.renew(&mut state.tag, root);
        state.vmcb.control.asid = asid;
        state.vmcb.control.n_cr3 = NestedRoot::paddr(root);
        state.steps = steps;
        flush = needed;
        state.counters.renewals += 1;
        state.counters.tlb_flushes += u64::from(flush != tlb_control::NOTHING);
    }
    state.vmcb.control.tlb_control = flush;
    // A guest that comes after another one never owns the registers.
    if !machine.extended.is_owner(vcpu) {
        forget_predictions(machine, vcpu, state);
        machine.extended.acquire(vcpu, state);
    }
    if Owner::is_wanted(state) {
        machine.debug.acquire(vcpu, state);
    }
    loop {
        run_once(machine, vcpu, state);
        if smp::are_many() {
            return end_among_many(vcpu, state);
        }
        let code = state.vmcb.control.exit_code;
        match code {
            exit::INTR => return EntryResult::HostInterrupt,
            // Both were taken when the global interrupt flag came back.
            exit::NMI | exit::SMI | exit::INIT => {}
            exit::READ_DR..=0x03f if state.vmcb.control.intercept_dr != 0 => {
                machine.debug.acquire(vcpu, state)
            }
            DB | AC if state.exceptions & 1 << (code - exit::EXCEPTION) == 0 => reflect(state, code),
            // SAFETY: the machine check was the host's; this is its own gate.
            MC => unsafe { asm!("int 18") },
            _ => {
                if exit::is_refusal(code) {
                    state.header.dead.set(true);
                    machine.tlb.refused(state.vmcb.control.tlb_control);
                }
                return EntryResult::Exit;
            }
        }
        state.vmcb.control.tlb_control = tlb_control::NOTHING;
    }
}

/// What most entries needn't do. False if the guest isn't to be entered now, or never again (`dead`).
#[cold]
#[inline(never)]
fn see_to_what_is_due(machine: &Machine, state: &mut SvmVcpu) -> bool {
    let due = core::mem::replace(&mut state.due, Due::empty());
    if due.contains(Due::CHECK) && !state.check(machine) {
        state.header.dead.set(true);
        return false;
    }
    !(due.contains(Due::LOOK) && state.steps.contains(Steps::L1D_FILL) && is_interrupted(state))
}

/// Before the fill: whether an interrupt of this processor's is pending, which would wait for that on top of all that it has waited for. The entry
/// ends then as if it had come in the guest. What comes during the fill waits for that alone, and another processor that waits for the kernel has
/// got it by then. The next entry looks too, if it fills.
#[cold]
#[inline(never)]
fn is_interrupted(state: &mut SvmVcpu) -> bool {
    state.due |= Due::LOOK;
    apic::interrupt_pending() || stretch::is_lost_here()
}

/// The end of a run where there are several processors: takes the kernel. While this one waits for that, the virtual CPU may be taken away: what
/// has to be done to it is done before. What the guest's VMM doesn't see ends the run as an interrupt does, since anything may have changed.
#[cold]
#[inline(never)]
fn end_among_many(vcpu: Vcpu, state: &mut SvmVcpu) -> EntryResult {
    let (code, flush) = (state.vmcb.control.exit_code, state.vmcb.control.tlb_control);
    let wants_debug = matches!(code, exit::READ_DR..=0x03f) && state.vmcb.control.intercept_dr != 0;
    let unseen = match code {
        exit::INTR | exit::NMI | exit::SMI | exit::INIT => true,
        DB | AC if state.exceptions & 1 << (code - exit::EXCEPTION) == 0 => {
            reflect(state, code);
            true
        }
        MC => {
            // SAFETY: the machine check was the host's; this is its own gate.
            unsafe { asm!("int 18") };
            true
        }
        _ => wants_debug,
    };
    let refused = exit::is_refusal(code);
    if refused {
        state.header.dead.set(true);
    }
    let k = smp::acquire();
    let machine = super::machine();
    if refused {
        machine.tlb.refused(flush);
    }
    if wants_debug && !k.sched.disturbed {
        machine.debug.acquire(vcpu, state);
    }
    if unseen { EntryResult::HostInterrupt } else { EntryResult::Exit }
}

/// One VMRUN; afterwards EVENTINJ is what the next one has to deliver, and the kernel has been given back.
#[inline]
fn run_once(machine: &mut Machine, vcpu: Vcpu, state: &mut SvmVcpu) {
    let (injected, rip) = (state.vmcb.control.event_inj, state.vmcb.save.rip);
    let shadow = state.vmcb.control.interrupt_shadow & 1;
    machine.extended.before_entry(state.xcr0);
    state.vmcb.save.rax = state.registers[0].get();
    smp::release();
    // SAFETY: `reset` and `enter` set intercepts, maps, identifier and root, no allowed field changes them, and the extended
    // state is this guest's. The whole object is passed, so the compiler knows that all of it may change.
    unsafe { postern_svm_switch(state, vcpu.paddr(), machine.host_state) };
    stretch::begin();
    state.registers[0].set(state.vmcb.save.rax);
    state.xcr0 = machine.extended.after_exit(state.xcr0);

    // An emulator doesn't load the shadow at entry, so a physical interrupt before the guest's next instruction reports none. A VMM
    // that believed it would deliver between STI and HLT, and the guest would sleep over its wake-up.
    if shadow != 0 && state.vmcb.control.exit_code == exit::INTR && state.vmcb.save.rip == rip {
        state.vmcb.control.interrupt_shadow |= shadow;
    }
    let info = state.vmcb.control.exit_int_info;
    if info & event::VALID == 0 {
        state.vmcb.control.event_inj = 0;
    } else {
        interrupted(state, info, injected, rip);
    }
}

/// Puts a barrier between the predictions of the guest that ran last and those of this one. Whoever ran last is noted in any case: a guest
/// without barriers gives up its own protection, not that of the next one.
#[cold]
fn forget_predictions(machine: &mut Machine, vcpu: Vcpu, state: &mut SvmVcpu) {
    if machine.predictions_of != vcpu.paddr() && state.steps.contains(Steps::PREDICTORS) {
        mitigations::predictor_barrier();
        state.counters.predictor_barriers += 1;
    }
    machine.predictions_of = vcpu.paddr();
}

/// An exit in the middle of a delivery.
#[cold]
fn interrupted(state: &mut SvmVcpu, info: u64, injected: u64, rip: u64) {
    let is_injected = Event::to_inject(info).0 == injected && rip == state.vmcb.save.rip;
    let pending = event::normalise(info, is_injected);
    state.vmcb.control.event_inj = pending.event.0;
    if pending.drop_virtual_interrupt {
        state.vmcb.control.int_ctl &= !int_ctl::V_IRQ;
    }
}

/// Gives the guest the exception that was only intercepted so that its delivery can't go on for ever inside the processor.
/// If another event was being delivered, that one goes first; its delivery raises the exception again.
#[cold]
fn reflect(state: &mut SvmVcpu, code: u64) {
    if !Event(state.vmcb.control.event_inj).is_valid() {
        let event = if code == DB { Event::new(Kind::Exception, 1) } else { Event::with_error(17, 0) };
        state.vmcb.control.event_inj = event.0;
    }
}
