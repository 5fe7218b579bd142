// SPDX-License-Identifier: MIT OR Apache-2.0
//! The longest stretch from a kernel entry to the way out, in ticks of the time-stamp counter: interrupts are off in between. Only in a kernel
//! that is built to measure this (feature `pretend-interrupted`), which takes an interrupt for pending at each preemption point.

use crate::arch;
use crate::sync::KernelCell;

/// This kernel measures.
pub const ON: bool = cfg!(feature = "pretend-interrupted");

/// Instructions of the entry code before [`begin`] and of the exit code after [`end`], at most.
const ENTRY_AND_EXIT: u64 = 70;

struct Stretch {
    /// When the kernel was entered, 0 outside of it.
    since: u64,
    longest: u64,
}

static STRETCH: KernelCell<Stretch> = KernelCell::new(Stretch { since: 0, longest: 0 });

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
        let since = core::mem::replace(&mut s.since, 0);
        if since != 0 {
            s.longest = s.longest.max(arch::now() - since + ENTRY_AND_EXIT);
        }
    }
}

/// The longest one since this was asked last.
pub fn take() -> u64 {
    core::mem::take(&mut stretch().longest)
}
