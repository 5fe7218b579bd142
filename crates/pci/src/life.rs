// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of a device that can be passed through, as a machine of states. Whoever has the device does what a step
//! means; whether the step may be is decided here.
//!
//! ```text
//! found → reserved → quiet → attached → (faulted → quarantined) → detached → quiet
//!             └────────────── reset-failed ─────────────────────────┘
//! ```

use core::fmt;

use serde::{Deserialize, Serialize};

/// Where a device is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum State {
    /// It is there, and nobody's.
    Found,
    /// A VM was promised it. Nobody has used it since boot but firmware.
    Reserved,
    /// Reset, or never used; it reaches nothing, and nothing reaches it.
    Quiet,
    /// Its VM's: registers, DMA, interrupts.
    Attached,
    /// Its VM's, but it has caused too many DMA faults: it is being taken off the bus.
    Faulted,
    /// Its VM's, but off the bus: neither DMA nor interrupts.
    Quarantined,
    /// Taken from its VM, with what that has left in it.
    Detached,
    /// It didn't come back from a reset. There is no way back in this boot.
    ResetFailed,
}

/// What happens to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The description promises it to a VM.
    Reserve,
    /// Its reset is over and it is back; or it has none, and nobody has used it.
    Calm,
    /// Its reset is over and it isn't back.
    Lose,
    /// Its VM gets it.
    Attach,
    /// It has reached the limit of DMA faults.
    Fault,
    /// It is off the bus for that.
    Quarantine,
    /// Its VM loses it.
    Detach,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Found,
        Self::Reserved,
        Self::Quiet,
        Self::Attached,
        Self::Faulted,
        Self::Quarantined,
        Self::Detached,
        Self::ResetFailed,
    ];

    /// The state after `event`; `None` if that must not happen here.
    pub const fn after(self, event: Event) -> Option<Self> {
        Some(match (self, event) {
            (Self::Found, Event::Reserve) => Self::Reserved,
            // A device that waits for its VM can be reset again, and can get lost in that.
            (Self::Reserved | Self::Detached | Self::Quiet, Event::Calm) => Self::Quiet,
            (Self::Reserved | Self::Detached | Self::Quiet, Event::Lose) => Self::ResetFailed,
            (Self::Quiet, Event::Attach) => Self::Attached,
            (Self::Attached, Event::Fault) => Self::Faulted,
            (Self::Faulted, Event::Quarantine) => Self::Quarantined,
            (Self::Attached | Self::Faulted | Self::Quarantined, Event::Detach) => Self::Detached,
            _ => return None,
        })
    }

    /// Whether it may be a bus master. On hardware its messages are writes of the bus master as well.
    pub const fn may_master_the_bus(self) -> bool {
        matches!(self, Self::Attached)
    }

    /// Whether it is its VM's, be it in quarantine.
    pub const fn is_given(self) -> bool {
        matches!(self, Self::Attached | Self::Faulted | Self::Quarantined)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Found => "found",
            Self::Reserved => "reserved",
            Self::Quiet => "quiet",
            Self::Attached => "attached",
            Self::Faulted => "faulted",
            Self::Quarantined => "quarantined",
            Self::Detached => "detached",
            Self::ResetFailed => "reset-failed",
        })
    }
}

/// A step that must not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Illegal {
    /// Where the device is, and stays.
    pub state: State,
    /// What was to happen.
    pub event: Event,
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a device that is {} can't get the event {:?}", self.state, self.event)
    }
}

/// The life of one device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Life(State);

impl Life {
    /// Of a device that was found.
    pub const fn new() -> Self {
        Self(State::Found)
    }

    /// Where it is.
    pub const fn state(self) -> State {
        self.0
    }

    /// Takes a step.
    ///
    /// # Errors
    /// [`Illegal`], and then the device stays where it is.
    pub fn step(&mut self, event: Event) -> Result<State, Illegal> {
        self.0 = self.0.after(event).ok_or(Illegal { state: self.0, event })?;
        Ok(self.0)
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Event::*;
    use State::*;

    const EVENTS: [Event; 7] = [Reserve, Calm, Lose, Attach, Fault, Quarantine, Detach];

    /// All that may be. What isn't here must not.
    const LEGAL: [(State, Event, State); 13] = [
        (Found, Reserve, Reserved),
        (Reserved, Calm, Quiet),
        (Reserved, Lose, ResetFailed),
        (Quiet, Calm, Quiet),
        (Quiet, Lose, ResetFailed),
        (Quiet, Attach, Attached),
        (Attached, Fault, Faulted),
        (Attached, Detach, Detached),
        (Faulted, Quarantine, Quarantined),
        (Faulted, Detach, Detached),
        (Quarantined, Detach, Detached),
        (Detached, Calm, Quiet),
        (Detached, Lose, ResetFailed),
    ];

    #[test]
    fn every_step_is_legal_or_refused() {
        let mut tried = 0;
        for state in State::ALL {
            for event in EVENTS {
                tried += 1;
                let wanted = LEGAL.iter().find(|(s, e, _)| (*s, *e) == (state, event)).map(|(.., to)| *to);
                assert_eq!(state.after(event), wanted, "{state} {event:?}");
                let mut life = Life(state);
                match wanted {
                    Some(to) => assert_eq!((life.step(event), life.state()), (Ok(to), to)),
                    None => {
                        assert_eq!(life.step(event), Err(Illegal { state, event }));
                        assert_eq!(life.state(), state, "a refused step changes nothing");
                    }
                }
            }
        }
        assert_eq!(tried, 8 * 7);
    }

    /// Where one can come to from `from` without passing through `but`.
    fn reachable(from: State, but: Option<State>) -> std::vec::Vec<State> {
        let mut found = std::vec![from];
        let mut next = 0;
        while let Some(state) = found.get(next).copied() {
            next += 1;
            for to in EVENTS.into_iter().filter_map(|event| state.after(event)) {
                if Some(to) != but && !found.contains(&to) {
                    found.push(to);
                }
            }
        }
        found
    }

    #[test]
    fn what_the_machine_promises() {
        assert_eq!(reachable(Found, None).len(), State::ALL.len(), "no state is there for nothing");
        assert_eq!(reachable(ResetFailed, None), [ResetFailed], "there is no way back");
        // Whoever has had a device, the next one gets it quiet.
        for used in [Faulted, Quarantined, Detached] {
            assert!(!reachable(used, Some(Quiet)).contains(&Attached), "{used}");
        }
        assert!(!reachable(Found, Some(Quiet)).contains(&Attached));
        assert!(!reachable(Attached, Some(Detached)).contains(&Quiet));
        let masters: std::vec::Vec<_> = State::ALL.into_iter().filter(|s| s.may_master_the_bus()).collect();
        assert_eq!(masters, [Attached]);
    }

    #[test]
    fn texts() {
        assert_eq!(ResetFailed.to_string(), "reset-failed");
        let illegal = Life::default().step(Attach).unwrap_err();
        assert_eq!(illegal.to_string(), "a device that is found can't get the event Attach");
    }
}
