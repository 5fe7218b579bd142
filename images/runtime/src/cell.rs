// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data shared between `main` and interrupt handlers on one CPU.

use core::cell::{Cell, UnsafeCell};

/// A value that is reached with interrupts off, by one borrower at a time.
pub struct IrqCell<T> {
    value: UnsafeCell<T>,
    busy: Cell<bool>,
}

// SAFETY: a guest has one CPU; `with` turns interrupts off, so no handler can run in between, and `busy` refuses nesting.
unsafe impl<T: Send> Sync for IrqCell<T> {}

impl<T> IrqCell<T> {
    /// A cell holding `value`.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(value), busy: Cell::new(false) }
    }

    /// Runs `body` on the value with interrupts off.
    ///
    /// # Panics
    /// If `body` comes back to the same cell.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        without_interrupts(|| {
            assert!(!self.busy.replace(true), "a cell was entered twice");
            // SAFETY: `busy` was false, so there is no other reference; interrupts are off, so none can appear.
            let result = body(unsafe { &mut *self.value.get() });
            self.busy.set(false);
            result
        })
    }

    /// As [`Self::with`], but `None` where the cell is in use: for code that reports failures.
    pub fn try_with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        without_interrupts(|| if self.busy.get() { None } else { Some(self.with(body)) })
    }
}

/// Runs `body` with interrupts off and restores their state.
pub fn without_interrupts<R>(body: impl FnOnce() -> R) -> R {
    #[cfg(target_os = "none")]
    {
        let were_on = crate::cpu::interrupts_are_on();
        crate::cpu::interrupts_off();
        let result = body();
        if were_on {
            crate::cpu::interrupts_on();
        }
        result
    }
    #[cfg(not(target_os = "none"))]
    body()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_borrower_at_a_time() {
        let cell = IrqCell::new(1);
        cell.with(|value| {
            *value += 1;
            assert_eq!(cell.try_with(|_| ()), None);
        });
        assert_eq!(cell.with(|value| *value), 2);
    }
}
