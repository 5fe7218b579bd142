// SPDX-License-Identifier: MIT OR Apache-2.0
//! timer-server's protocol: one deadline per client, told by a signal. A signal can come too early: when timer-server starts anew it
//! has forgotten all deadlines and signals everybody. So who is signalled looks at the clock, and asks again if it isn't time yet.

use crate::message::requests;
use serde::{Deserialize, Serialize};

/// Asks for a signal when the time-stamp counter reaches `tsc` (absolute; in the past: at once). Replaces the
/// client's deadline if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDeadline {
    /// Absolute time, ticks of the time-stamp counter. Not of variable length: this message is sent often.
    #[serde(with = "postcard::fixint::le")]
    pub tsc: u64,
}

/// Forgets the client's deadline, if there is one. A signal that was given before stays given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel;

/// Errors of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerError {
    /// The client was given no notification to be signalled by.
    NoNotification,
}

requests! {
    TIMER, TimerError;
    SetDeadline = 1 -> ();
    Cancel = 2 -> ();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{decode, encode};

    #[test]
    fn round_trip_and_size() {
        let mut words = [0; 4];
        let request = SetDeadline { tsc: u64::MAX };
        let n = encode(&request, &mut words).unwrap();
        assert_eq!(n, 2);
        assert_eq!(decode(&words[..n]), Some(request));
        assert_eq!(encode(&Cancel, &mut words), Some(1));
    }
}
