// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt vectors: who handles which, how often each came, and sleeping until one comes.

use crate::apic::TIMER_VECTOR;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering::Relaxed};

/// Called with interrupts off, with its vector. Shares data by atomics and [`crate::cell::IrqCell`].
pub type Handler = fn(vector: u8);

/// The first vector that [`register`] gives out.
const FIRST: u8 = 0x30;
/// The last vector that [`register`] gives out.
const LAST: u8 = 0xef;

static NEXT: AtomicU8 = AtomicU8::new(FIRST);
static HANDLERS: [AtomicPtr<()>; 256] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 256];
static COUNTS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];

/// Takes a free vector for a handler; `None` when all 192 are taken.
pub fn register(handler: Handler) -> Option<u8> {
    let vector = NEXT.load(Relaxed);
    if vector > LAST {
        return None;
    }
    NEXT.store(vector + 1, Relaxed);
    HANDLERS[usize::from(vector)].store(handler as *mut (), Relaxed);
    Some(vector)
}

/// How often the vector's interrupt came.
pub fn count(vector: u8) -> u64 {
    COUNTS[usize::from(vector)].load(Relaxed)
}

/// How often the timer's interrupt came.
pub fn timer_count() -> u64 {
    count(TIMER_VECTOR)
}

/// All interrupts so far, spurious ones included.
pub fn total() -> u64 {
    COUNTS.iter().map(|count| count.load(Relaxed)).sum()
}

/// Interrupts that came without a handler.
pub fn unexpected() -> u64 {
    let unhandled =
        |vector: &usize| *vector != usize::from(TIMER_VECTOR) && HANDLERS[*vector].load(Relaxed).is_null();
    (0..256).filter(unhandled).map(|vector| COUNTS[vector].load(Relaxed)).sum()
}

/// Sleeps until an interrupt has been handled. Call it with interrupts off, after having checked that there is nothing to do: an
/// interrupt that came since is then seen at once, not lost. Interrupts are off again afterwards.
#[cfg(target_os = "none")]
pub fn wait() {
    crate::cpu::wait_for_interrupt();
    crate::cpu::interrupts_off();
}

/// Sleeps until `done` says so or the clock ([`crate::time::now`]) reaches `deadline`, in nanoseconds; whether it was done. Call it with
/// interrupts off.
#[cfg(target_os = "none")]
pub fn wait_until(deadline: u64, mut done: impl FnMut() -> bool) -> bool {
    let mut armed = false;
    loop {
        if done() {
            return true;
        }
        let left = deadline.saturating_sub(crate::time::now());
        if left == 0 {
            return false;
        }
        // Once is enough as a rule: every setting costs an exit. A timer that fired early is set again.
        if !armed {
            crate::apic::arm(left);
        }
        let timers = timer_count();
        wait();
        armed = timer_count() == timers;
    }
}

/// Sets the timer to `nanoseconds` and sleeps, without a deadline, until it has fired. Interrupts are off afterwards.
#[cfg(target_os = "none")]
pub fn wait_for_timer(nanoseconds: u64) {
    crate::cpu::interrupts_off();
    let before = timer_count();
    crate::apic::arm(nanoseconds);
    while timer_count() == before {
        wait();
    }
}

/// Runs `body` with interrupts on, and turns them off afterwards.
#[cfg(target_os = "none")]
pub fn with_enabled<R>(body: impl FnOnce() -> R) -> R {
    crate::cpu::interrupts_on();
    let result = body();
    crate::cpu::interrupts_off();
    result
}

/// From the trap stubs: counts, handles, ends.
#[cfg(target_os = "none")]
pub(crate) extern "C" fn dispatch(vector: u8) {
    let index = usize::from(vector);
    let handler = HANDLERS[index].load(Relaxed);
    if !handler.is_null() {
        // SAFETY: only `register` stores here, and only handlers.
        let handler = unsafe { core::mem::transmute::<*mut (), Handler>(handler) };
        handler(vector);
    }
    // Interrupts are off and there is one CPU: no read-modify-write is needed.
    COUNTS[index].store(COUNTS[index].load(Relaxed) + 1, Relaxed);
    if vector != crate::apic::SPURIOUS_VECTOR {
        crate::apic::end_of_interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_given_out_once() {
        let first = register(|_| ()).unwrap();
        let second = register(|_| ()).unwrap();
        assert!(first >= FIRST && second == first + 1);
        assert_eq!(count(first), 0);
        while register(|_| ()).is_some() {}
        assert_eq!(NEXT.load(Relaxed), LAST + 1);
    }
}
