// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC's timer (AMD64 manual, volume 2, section 16.4.1). Its clock at divisor 1 is the guest's TSC.

/// Shortest period that is kept, in ticks: a guest that asks for less gets its interrupts merged.
pub const SHORTEST_PERIOD: u64 = 20_000;

/// Count, divisor and mode. Times are guest TSC ticks.
#[derive(Clone, Default)]
pub struct Timer {
    initial: u32,
    divide: u32,
    periodic: bool,
    /// When the present count began; `None` if stopped.
    start: Option<u64>,
}

impl Timer {
    /// The initial-count register.
    #[must_use]
    pub fn initial(&self) -> u32 {
        self.initial
    }

    /// Writes the initial count: starts, or stops if 0.
    pub fn set_initial(&mut self, count: u32, now: u64) {
        self.initial = count;
        self.start = (count != 0).then_some(now);
    }

    /// The divide-configuration register.
    #[must_use]
    pub fn divide(&self) -> u32 {
        self.divide
    }

    /// Writes the divide configuration. A running count goes on from its present value.
    pub fn set_divide(&mut self, value: u32, now: u64) {
        let current = self.current(now);
        self.divide = value & 0xb;
        if self.start.is_some() {
            let gone = u64::from(self.initial.saturating_sub(current));
            self.start = Some(now.saturating_sub(gone << self.shift()));
        }
    }

    /// One-shot or periodic.
    pub fn set_periodic(&mut self, periodic: bool) {
        self.periodic = periodic;
    }

    /// Binary logarithm of the divisor: 1 to 128.
    fn shift(&self) -> u32 {
        let code = (self.divide & 3) | ((self.divide >> 1) & 4);
        (code + 1) & 7
    }

    fn length(&self) -> u64 {
        let length = u64::from(self.initial) << self.shift();
        if self.periodic { length.max(SHORTEST_PERIOD) } else { length }
    }

    /// The current-count register.
    #[must_use]
    pub fn current(&self, now: u64) -> u32 {
        let Some(start) = self.start else { return 0 };
        let gone = now.saturating_sub(start) >> self.shift();
        let initial = u64::from(self.initial);
        if self.periodic {
            (initial - gone % initial.max(1)) as u32
        } else {
            initial.saturating_sub(gone) as u32
        }
    }

    /// When it runs out.
    #[must_use]
    pub fn expiry(&self) -> Option<u64> {
        Some(self.start?.saturating_add(self.length()))
    }

    /// Lets time pass: whether it ran out since. A periodic one starts anew; periods missed are merged.
    pub fn expire(&mut self, now: u64) -> bool {
        let Some(expiry) = self.expiry() else { return false };
        if now < expiry {
            return false;
        }
        if self.periodic {
            let late = (now - expiry) % self.length();
            self.start = Some(now - late);
        } else {
            self.start = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_shot_runs_once() {
        let mut timer = Timer::default();
        timer.set_divide(0b1011, 0);
        timer.set_initial(1000, 5000);
        assert_eq!(timer.current(5400), 600);
        assert_eq!(timer.expiry(), Some(6000));
        assert!(!timer.expire(5999));
        assert!(timer.expire(6000));
        assert!(!timer.expire(9000));
        assert_eq!((timer.current(7000), timer.expiry(), timer.initial()), (0, None, 1000));
    }

    #[test]
    fn all_divisors() {
        for (code, divisor) in [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)] {
            let mut timer = Timer::default();
            timer.set_divide(code, 0);
            timer.set_initial(10, 0);
            assert_eq!(timer.expiry(), Some(10 * divisor), "{code}");
        }
    }

    #[test]
    fn periods_keep_their_phase_and_merge_when_missed() {
        let mut timer = Timer::default();
        timer.set_divide(0b1011, 0);
        timer.set_periodic(true);
        timer.set_initial(100_000, 0);
        assert!(timer.expire(100_000));
        assert_eq!(timer.expiry(), Some(200_000));
        assert!(timer.expire(450_000));
        assert!(!timer.expire(450_000));
        assert_eq!(timer.expiry(), Some(500_000));
        timer.set_initial(1, 0);
        assert_eq!(timer.expiry(), Some(SHORTEST_PERIOD));
        timer.set_initial(0, 0);
        assert_eq!(timer.expiry(), None);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut timer = Timer::default();
        timer.set_divide(0b1010, 0);
        timer.set_initial(u32::MAX, u64::MAX - 5);
        assert_eq!(timer.expiry(), Some(u64::MAX));
        assert!(timer.expire(u64::MAX));
        timer.set_periodic(true);
        timer.set_initial(u32::MAX, 0);
        assert!(timer.expire(u64::MAX));
        timer.set_divide(0, 3);
        let _ = timer.current(0);
    }
}
