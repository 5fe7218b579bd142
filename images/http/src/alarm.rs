// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timer, set as seldom as possible: each setting costs an exit, waking up once too often costs the same.

/// What the one-shot timer was last set to.
#[derive(Debug)]
pub struct Alarm {
    /// When it fires, in nanoseconds, if it still will.
    armed: Option<u64>,
    /// The most that it can be set to, in nanoseconds.
    longest: u64,
}

impl Alarm {
    /// A timer that isn't set and that can be set to at most `longest` nanoseconds.
    pub fn new(longest: u64) -> Self {
        Self { armed: None, longest }
    }

    /// The timer has fired. It may do so a little early, if its clock isn't quite the one that deadlines are told by.
    pub fn fired(&mut self) {
        self.armed = None;
    }

    /// What to set the timer to so that it fires at `deadline` or earlier, in nanoseconds from `now`; `None` where it will anyway, or
    /// needn't. The timer counts as set afterwards.
    pub fn set(&mut self, now: u64, deadline: Option<u64>) -> Option<u64> {
        let deadline = deadline?;
        if self.armed.is_some_and(|armed| armed > now && armed <= deadline) {
            return None;
        }
        let nanoseconds = deadline.saturating_sub(now).clamp(1, self.longest);
        self.armed = Some(now + nanoseconds);
        Some(nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_sets_it() {
        let mut alarm = Alarm::new(1000);
        assert_eq!(alarm.set(10, None), None);
        assert_eq!(alarm.set(10, Some(110)), Some(100));
        assert_eq!(alarm.set(50, Some(1000)), None, "it wakes at 110 and is set anew then");
        assert_eq!(alarm.set(50, Some(60)), Some(10));
        assert_eq!(alarm.set(61, Some(1000)), Some(939), "it has fired");
        assert_eq!(alarm.set(2000, Some(1500)), Some(1), "a deadline that has passed fires at once");
    }

    #[test]
    fn a_far_deadline_takes_several_settings() {
        let mut alarm = Alarm::new(1000);
        assert_eq!(alarm.set(0, Some(2500)), Some(1000));
        assert_eq!(alarm.set(1000, Some(2500)), Some(1000));
        assert_eq!(alarm.set(1500, Some(2500)), None);
        alarm.fired();
        assert_eq!(alarm.set(1999, Some(2500)), Some(501), "a little early");
        alarm.fired();
        assert_eq!(alarm.set(2000, Some(2500)), Some(500));
    }
}
