// SPDX-License-Identifier: MIT OR Apache-2.0
//! The longest stretch from a kernel entry to the way out, in ticks of the time-stamp counter: interrupts are off in between. Only in a kernel
//! that is built to measure this (feature `pretend-interrupted`), which takes an interrupt for pending at each preemption point.
//!
//! But a system call that loses what it has found ([`Kernel::look`](crate::kernel::Kernel::look)) would never come to its end so. The first
//! time it is interrupted at the first such point, the second time only at the second one, and so on until there are no more. Where it goes on, a
//! stretch ends and another one begins.

use crate::arch;
use crate::sync::KernelCell;

/// This kernel measures.
pub const ON: bool = cfg!(feature = "pretend-interrupted");

/// Instructions of the entry code before [`begin`] and of the exit code after [`end`], at most.
const ENTRY_AND_EXIT: u64 = 140;

struct Stretch {
    /// When the kernel was entered, 0 outside of it.
    since: u64,
    longest: u64,
    /// Points in this stretch at which what was found can be lost.
    points: u32,
    /// The one at which it is lost this time.
    turn: u32,
    /// It was.
    lost: bool,
}

static STRETCH: KernelCell<Stretch> =
    KernelCell::new(Stretch { since: 0, longest: 0, points: 0, turn: 1, lost: false });

impl Stretch {
    fn ends(&mut self) {
        let since = core::mem::replace(&mut self.since, 0);
        if since != 0 {
            self.longest = self.longest.max(arch::now() - since + ENTRY_AND_EXIT);
        }
    }
}

fn stretch() -> &'static mut Stretch {
    // SAFETY: whoever has the kernel has it, and the functions of this file don't keep it.
    unsafe { STRETCH.get() }
}

/// The kernel was entered.
#[inline(always)]
pub fn begin() {
    if ON {
        stretch().since = arch::now();
    }
}

/// The kernel is about to be left.
#[inline(always)]
pub fn end() {
    if ON {
        let s = stretch();
        s.ends();
        s.points = 0;
        if !core::mem::take(&mut s.lost) {
            s.turn = 1;
        }
    }
}

/// Interrupts would have been taken here.
#[inline(always)]
pub fn between() {
    if ON {
        let s = stretch();
        s.ends();
        s.points = 0;
        begin();
    }
}

/// True where the system call is to be made again and loses what it has found.
#[inline(always)]
pub fn is_lost_here() -> bool {
    if !ON {
        return false;
    }
    let s = stretch();
    s.points += 1;
    if s.points == s.turn {
        s.turn += 1;
        s.lost = true;
        return true;
    }
    s.ends();
    begin();
    false
}

/// The longest one since this was asked last.
pub fn take() -> u64 {
    core::mem::take(&mut stretch().longest)
}
