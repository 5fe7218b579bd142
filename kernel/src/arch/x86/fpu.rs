// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87 and SSE state of threads. It is switched eagerly, so that no thread can see another's by speculation; threads with the flag
//! `fpuDisabled` own none and leave what is loaded where it is.

use core::arch::asm;
use core::cell::Cell;
use core::mem::offset_of;

use sel4_abi::TCB_FLAG_FPU_DISABLED;

use super::tables::{PerCpu, this};
use crate::arch::context::FpuState;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::virt;

/// Whose state a processor holds.
pub struct State {
    /// Where it is to be stored: a thread's, or `spare`.
    owner: Cell<*const FpuState>,
    /// What keeps the ordinary switch from being made: [`NO_XSAVE`], [`TRAPPING`], [`GUEST`]; or the short way from being taken.
    special: Cell<u8>,
    /// For state that is nobody's.
    spare: FpuState,
}

impl State {
    /// Before [`State::init`].
    pub const fn empty() -> Self {
        Self { owner: Cell::new(core::ptr::null()), special: Cell::new(0), spare: FpuState::new() }
    }

    /// Nobody's state.
    pub fn init(&self) {
        self.owner.set(&raw const self.spare);
    }

    /// True if the processor holds the thread's state; for other processors too, while they have the kernel.
    pub fn holds(&self, t: &Tcb) -> bool {
        core::ptr::eq(self.owner.get(), &raw const t.fpu)
    }

    /// From now on [`is_ordinary`] says no.
    pub fn leave_the_short_way(&self) {
        self.special.set(self.special.get() | MANY);
    }

    /// The processor's gate holds no frame any more.
    pub fn forget_frame(&self) {
        self.special.set(self.special.get() & !FRAMED);
    }

    fn has(&self, bit: u8) -> bool {
        self.special.get() & bit != 0
    }

    fn flip(&self, bit: u8) {
        self.special.set(self.special.get() ^ bit);
    }
}

/// Where `special` is in the processor's area.
pub const SPECIAL: usize = offset_of!(PerCpu, fpu) + offset_of!(State, special);

/// There is no XSAVE, but FXSAVE.
const NO_XSAVE: u8 = 1;
/// There are no instructions for segment bases: of no interest here, but for [`is_ordinary`].
const NO_FSGSBASE: u8 = 8;
/// There is more than one processor: of no interest here either.
const MANY: u8 = 16;
/// There is a thread's frame in the processor's gate (`gate` says so): nor this.
pub const FRAMED: u8 = 32;
/// CR0.TS is set.
const TRAPPING: u8 = 2;
/// A guest's registers are in the processor.
const GUEST: u8 = 4;

#[inline(always)]
fn state() -> &'static State {
    &this().fpu
}

/// Says how state is saved, and whether there are instructions for segment bases.
pub fn init(xsave: bool, fsgsbase: bool) {
    state().special.set(if xsave { 0 } else { NO_XSAVE } | if fsgsbase { 0 } else { NO_FSGSBASE });
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
        if !state().has(NO_XSAVE) {
            asm!("xsave64 [{}]", in(reg) area, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

fn load(area: *const FpuState) {
    // SAFETY: as for `exchange`.
    unsafe {
        if !state().has(NO_XSAVE) {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        } else {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

/// Decides whether use of the registers traps; whoever saves or loads them makes sure first that it doesn't.
pub fn set_task_switched(on: bool) {
    if state().has(TRAPPING) == on {
        return;
    }
    state().flip(TRAPPING);
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
    if state().special.get() != 0 {
        return activate_specially(&t.fpu);
    }
    // SAFETY: nothing is special.
    unsafe { activate_ordinary(t) }
}

/// True if nothing else has to be done to load a thread's state than an exchange, and there is one processor with one domain.
#[inline(always)]
pub fn is_ordinary() -> bool {
    // SAFETY: looks at the processor's own area.
    unsafe {
        asm!("cmp byte ptr gs:[{}], 0", "jne {}", const SPECIAL, label { return false }, options(readonly, nostack));
    }
    true
}

/// True if nobody has [left the short way](State::leave_the_short_way).
#[inline(always)]
pub fn is_alone() -> bool {
    !state().has(MANY)
}

/// As [`activate`].
///
/// # Safety
/// There is nothing special: XSAVE exists, and use of the registers doesn't trap.
#[inline(always)]
pub unsafe fn activate_ordinary(t: Ptr<Tcb>) {
    let (s, own) = (state(), &raw const t.fpu);
    if s.owner.get() != own {
        // SAFETY: by the caller's promise.
        unsafe { exchange(s.owner.get(), own) };
        s.owner.set(own);
    }
}

#[cold]
#[inline(never)]
fn activate_specially(own: *const FpuState) {
    set_task_switched(false);
    if state().has(GUEST) {
        virt::release_extended_state();
        state().flip(GUEST);
    }
    if state().owner.get() != own {
        save(state().owner.get());
        load(own);
        state().owner.set(own);
    }
}

/// A guest's registers are put into the processor in place of a thread's.
pub fn take_for_guest() {
    set_task_switched(false);
    if !state().has(GUEST) {
        save(state().owner.get());
        state().init();
        state().flip(GUEST);
    }
}

/// The thread's state is of no interest any more.
pub fn forget(t: Ptr<Tcb>) {
    if state().holds(&t) {
        state().init();
    }
}

/// Saves whatever the processor holds for a thread or a guest: it may be wanted elsewhere.
pub fn give_up() {
    set_task_switched(false);
    if state().has(GUEST) {
        virt::release_extended_state();
        state().flip(GUEST);
    } else {
        save(state().owner.get());
        state().init();
    }
}
