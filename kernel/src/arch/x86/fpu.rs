// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87 and SSE state of threads. It is switched eagerly, so that no thread can see another's by speculation; threads with the flag
//! `fpuDisabled` own none and leave what is loaded where it is.

use core::arch::asm;

use sel4_abi::TCB_FLAG_FPU_DISABLED;

use crate::arch::context::FpuState;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::sync::KernelCell;
use crate::virt;

struct State {
    /// Whose state is in the processor, where it is to be stored: a thread's, or [`SPARE`].
    owner: *const FpuState,
    /// What keeps the ordinary switch from being made: [`NO_XSAVE`], [`TRAPPING`], [`GUEST`].
    special: u8,
}

/// There is no XSAVE, but FXSAVE.
const NO_XSAVE: u8 = 1;
/// There are no instructions for segment bases: of no interest here, but for [`is_ordinary`].
const NO_FSGSBASE: u8 = 8;
/// CR0.TS is set.
const TRAPPING: u8 = 2;
/// A guest's registers are in the processor.
const GUEST: u8 = 4;

/// For state that is nobody's.
static SPARE: KernelCell<FpuState> = KernelCell::new(FpuState::new());
static STATE: KernelCell<State> = KernelCell::new(State { owner: SPARE.as_ptr(), special: 0 });

fn state() -> &'static mut State {
    // SAFETY: the functions of this file take it one after the other and don't keep it.
    unsafe { STATE.get() }
}

/// Says how state is saved, and whether there are instructions for segment bases.
pub fn init(xsave: bool, fsgsbase: bool) {
    state().special = if xsave { 0 } else { NO_XSAVE } | if fsgsbase { 0 } else { NO_FSGSBASE };
}

/// Saves with XSAVE, and loads.
///
/// # Safety
/// There is XSAVE. `old` and `new` are live, or the spare area; only [`FpuState::init`] and this file write such areas, so the header of
/// `new` is valid.
#[inline(always)]
unsafe fn exchange(old: *const FpuState, new: *const FpuState) {
    // SAFETY: the areas are 576 bytes, aligned to 64; XCR0 is 3 while threads' state is loaded.
    unsafe {
        asm!("xsave64 [{old}]", "xrstor64 [{new}]", old = in(reg) old, new = in(reg) new,
            in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
    }
}

fn save(area: *const FpuState) {
    // SAFETY: as for `exchange`.
    unsafe {
        if state().special & NO_XSAVE == 0 {
            asm!("xsave64 [{}]", in(reg) area, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

fn load(area: *const FpuState) {
    // SAFETY: as for `exchange`.
    unsafe {
        if state().special & NO_XSAVE == 0 {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        } else {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

/// Decides whether use of the registers traps; whoever saves or loads them makes sure first that it doesn't.
pub fn set_task_switched(on: bool) {
    if (state().special & TRAPPING != 0) == on {
        return;
    }
    state().special ^= TRAPPING;
    // SAFETY: CR0.TS only decides whether user level's floating point traps.
    unsafe {
        if on {
            asm!("mov {t}, cr0; or {t}, 8; mov cr0, {t}", t = out(reg) _, options(nostack));
        } else {
            asm!("clts", options(nostack, preserves_flags));
        }
    }
}

/// The thread is about to run.
#[inline(always)]
pub fn activate(t: Ptr<Tcb>) {
    if t.flags.get() & TCB_FLAG_FPU_DISABLED != 0 {
        return set_task_switched(true);
    }
    if state().special != 0 {
        return activate_specially(&t.fpu);
    }
    // SAFETY: nothing is special.
    unsafe { activate_ordinary(t) }
}

/// True if the thread has state, and nothing else has to be done to load it than an exchange.
#[inline(always)]
pub fn is_ordinary(t: Ptr<Tcb>) -> bool {
    state().special == 0 && t.flags.get() & TCB_FLAG_FPU_DISABLED == 0
}

/// As [`activate`].
///
/// # Safety
/// There is nothing special: XSAVE exists, and use of the registers doesn't trap.
#[inline(always)]
pub unsafe fn activate_ordinary(t: Ptr<Tcb>) {
    let (s, own) = (state(), &raw const t.fpu);
    if s.owner != own {
        // SAFETY: by the caller's promise.
        unsafe { exchange(s.owner, own) };
        s.owner = own;
    }
}

#[cold]
#[inline(never)]
fn activate_specially(own: *const FpuState) {
    set_task_switched(false);
    if state().special & GUEST != 0 {
        virt::release_extended_state();
        state().special &= !GUEST;
    }
    if state().owner != own {
        save(state().owner);
        load(own);
        state().owner = own;
    }
}

/// A guest's registers are put into the processor in place of a thread's.
pub fn take_for_guest() {
    set_task_switched(false);
    if state().special & GUEST == 0 {
        save(state().owner);
        state().owner = SPARE.as_ptr();
        state().special |= GUEST;
    }
}

/// The thread's state is of no interest any more.
pub fn forget(t: Ptr<Tcb>) {
    if core::ptr::eq(state().owner, &t.fpu) {
        state().owner = SPARE.as_ptr();
    }
}
