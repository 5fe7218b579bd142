// SPDX-License-Identifier: MIT OR Apache-2.0
//! The timer, set as seldom as possible: each setting costs an exit, waking up once too often costs the same.

/// What the one-shot timer was last set to.
#[derive(Debug, Default)]
pub struct Alarm {
    /// When it fires, in nanoseconds, if it still will.
    armed: Option<u64>,
}

impl Alarm {
    /// What to set the timer to so that it fires at `deadline` or earlier, in nanoseconds from `now`; `None` where it will anyway, or
    /// needn't. The timer counts as set afterwards.
    pub fn set(&mut self, now: u64, deadline: Option<u64>) -> Option<u64> {
        let deadline = deadline?;
        if self.armed.is_some_and(|armed| armed > now && armed <= deadline) {
            return None;
        }
        self.armed = Some(deadline);
        Some(deadline.saturating_sub(now).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_sets_it() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.set(10, None), None);
        assert_eq!(alarm.set(10, Some(110)), Some(100));
        assert_eq!(alarm.set(50, Some(1000)), None, "it wakes at 110 and is set anew then");
        assert_eq!(alarm.set(50, Some(60)), Some(10));
        assert_eq!(alarm.set(61, Some(1000)), Some(939), "it has fired");
        assert_eq!(alarm.set(2000, Some(1500)), Some(1), "a deadline that has passed fires at once");
    }
}
