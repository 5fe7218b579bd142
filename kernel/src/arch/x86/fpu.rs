// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87 and SSE state of threads. It is switched eagerly, so that no thread can see another's by speculation; threads with the flag
//! `fpuDisabled` own none and leave what is loaded where it is.

use core::arch::asm;

use sel4_abi::TCB_FLAG_FPU_DISABLED;

use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::sync::KernelCell;
use crate::virt;

struct State {
    owner: Option<Ptr<Tcb>>,
    xsave: bool,
    disabled: bool,
}

static STATE: KernelCell<State> = KernelCell::new(State { owner: None, xsave: false, disabled: false });

fn state() -> &'static mut State {
    // SAFETY: the functions of this file take it one after the other and don't keep it.
    unsafe { STATE.get() }
}

/// Says how state is saved.
pub fn init(xsave: bool) {
    state().xsave = xsave;
}

fn save(t: Ptr<Tcb>) {
    let area = t.fpu.as_ptr();
    // SAFETY: the area is 576 bytes, aligned to 64; XCR0 is 3 while threads' state is loaded.
    unsafe {
        if state().xsave {
            asm!("xsave64 [{}]", in(reg) area, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

fn load(t: Ptr<Tcb>) {
    let area = t.fpu.as_ptr();
    // SAFETY: only `FpuState::init` and `save` write the area, so its header is valid.
    unsafe {
        if state().xsave {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        } else {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

/// Decides whether use of the registers traps; whoever saves or loads them makes sure first that it doesn't.
pub fn set_task_switched(on: bool) {
    if state().disabled == on {
        return;
    }
    state().disabled = on;
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
#[inline]
pub fn activate(t: Ptr<Tcb>) {
    if t.flags.get() & TCB_FLAG_FPU_DISABLED != 0 {
        set_task_switched(true);
        return;
    }
    set_task_switched(false);
    if state().owner != Some(t) {
        release();
        virt::release_extended_state();
        load(t);
        state().owner = Some(t);
    }
}

/// Saves the state of the thread whose state is loaded: somebody else needs the registers.
pub fn release() {
    if let Some(old) = state().owner.take() {
        set_task_switched(false);
        save(old);
    }
}

/// The thread's state is of no interest any more.
pub fn forget(t: Ptr<Tcb>) {
    if state().owner == Some(t) {
        state().owner = None;
    }
}
