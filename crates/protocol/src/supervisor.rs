// SPDX-License-Identifier: MIT OR Apache-2.0
//! The supervisor's protocol: what parts tell the root task. The same endpoint gets their faults.

use crate::look::ask::{Ask, GetShown, Show, Shown, WhatIsAsked};
use crate::look::guest::{DescribeVm, Vm};
use crate::look::{Held, ListHeld};
use crate::message::requests;
use serde::{Deserialize, Serialize};

/// Most bytes of a reason.
pub const REASON_BYTES: usize = 320;
/// A sentence for the log.
pub type Reason = heapless::String<REASON_BYTES>;

/// The caller has started; the next part may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready;

/// A VM can't be run. pci-server says it once for each such VM before its [`Ready`]; a VMM says it of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which VM. A VMM can speak only of its own.
    pub vm: u16,
    /// Why, for the log.
    pub reason: Reason,
}

/// How a VM, or a part, came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitKind {
    /// The guest powered itself off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest did what ends it: triple fault, an access to nowhere, a refused entry.
    GuestFault,
    /// The part itself failed (a panic, for example).
    Failure,
}

/// The caller ends and waits for no answer. There is none: the root task stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exited {
    /// How.
    pub kind: ExitKind,
    /// The guest's exit code, 0 if it gave none.
    pub code: u32,
    /// A sentence for the log, may be empty.
    pub reason: Reason,
}

/// From pci-server: the devices of an ended VM are quiet, its memory can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quieted {
    /// Which VM.
    pub vm: u16,
}

/// From a part of a test: a part is to die. Only a root task that was built for tests knows the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// Which part ([`crate::client`]).
    pub client: u64,
    /// How.
    pub death: Death,
}

/// How a part dies in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// The root task takes it for failed.
    Stopped,
    /// Its next instruction is a fault.
    Fault,
    /// It faults with the next message or signal that it receives in its hands.
    Request,
    /// The root task takes it for failed when it next calls it, in the middle of whatever that is for. Servers only.
    Call,
}

/// From pci-server, before it is ready: a capability for the ports of a device's BAR, put into an empty slot of its own CNode. The same ports can be
/// asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last: with the first an aligned power of two, 4 to 256.
    pub last: u16,
    /// Index of the slot.
    pub slot: u16,
}

/// Errors of this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorError {
    /// The caller may not say this of that VM, or not now; or may not ask this.
    NotYours,
    /// The ports are somebody else's, or no BAR's.
    NoSuchPorts,
    /// This kernel doesn't tell.
    NotTold,
    /// The part doesn't run.
    NotRunning,
}

requests! {
    SUPERVISOR, SupervisorError;
    Ready = 1 -> ();
    Refused = 2 -> ();
    Exited = 3 -> ();
    Quieted = 4 -> ();
    Kill = 5 -> ();
    Ports = 8 -> ();
    ListHeld = 6 -> Held;
    DescribeVm = 9 -> Vm;
    Ask = 10 -> ();
    WhatIsAsked = 11 -> Option<crate::look::ask::Question>;
    Show = 12 -> ();
    GetShown = 13 -> Shown;
}

/// As much of `text` as fits a reason, cut at a character.
pub fn reason(text: &str) -> Reason {
    let mut end = text.len().min(REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Reason::try_from(&text[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{MAX_WORDS, decode, encode};

    #[test]
    fn largest_encodings_fit() {
        let mut words = [0; MAX_WORDS];
        let long = reason(&"ä".repeat(REASON_BYTES));
        assert_eq!(long.len(), REASON_BYTES);
        let exited = Exited { kind: ExitKind::Failure, code: u32::MAX, reason: long.clone() };
        let n = encode(&exited, &mut words).unwrap();
        assert_eq!(decode(&words[..n]), Some(exited));
        let refused = Refused { vm: u16::MAX, reason: long };
        let n = encode(&refused, &mut words).unwrap();
        assert_eq!(decode(&words[..n]), Some(refused));
        assert_eq!(encode(&Ready, &mut words), Some(1));
        assert_eq!(encode(&Quieted { vm: u16::MAX }, &mut words), Some(2));
    }

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let text = "x".to_string() + &"ä".repeat(REASON_BYTES);
        assert_eq!(reason(&text).len(), REASON_BYTES - 1);
    }

    #[test]
    fn hostile_text_is_malformed() {
        // kind 3, code 0, a reason of 2 bytes that are no UTF-8
        let words = [5, u64::from_le_bytes([3, 0, 2, 0xff, 0xfe, 0, 0, 0])];
        assert_eq!(decode::<Exited>(&words), None);
        // a reason longer than the message
        let words = [3, u64::from_le_bytes([3, 0, 200, 0, 0, 0, 0, 0])];
        assert_eq!(decode::<Exited>(&words), None);
    }
}
