// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events: what EVENTINJ delivers and what EXITINTINFO says was being delivered (APM 15.20, 15.7.2). One word: vector
//! 0..8, type 8..11, error code valid 11, valid 31, error code 32..64.

/// Kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// External or virtual interrupt.
    Interrupt = 0,
    /// Non-maskable interrupt.
    Nmi = 2,
    /// Exception.
    Exception = 3,
    /// INT n.
    Software = 4,
}

const KIND_SHIFT: u32 = 8;
const KIND_MASK: u64 = 7 << KIND_SHIFT;
/// Bits that mean something; EVENTINJ is cut to them.
const DEFINED: u64 = 0xffff_ffff_8000_0fff;

/// Bit 31: the event is to be delivered.
pub const VALID: u64 = 1 << 31;
/// Bit 11: the event pushes its error code.
pub const ERROR_CODE: u64 = 1 << 11;

/// An event word; not valid if bit 31 is clear, whatever else it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Event(pub u64);

impl Event {
    /// No event.
    pub const NONE: Self = Self(0);

    /// An event without an error code.
    pub const fn new(kind: Kind, vector: u8) -> Self {
        Self(VALID | (kind as u64) << KIND_SHIFT | vector as u64)
    }

    /// An exception with an error code.
    pub const fn with_error(vector: u8, error: u32) -> Self {
        Self(Self::new(Kind::Exception, vector).0 | ERROR_CODE | (error as u64) << 32)
    }

    /// The event exists.
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Vector.
    pub const fn vector(self) -> u8 {
        self.0 as u8
    }

    /// Kind, `None` for the reserved types.
    pub const fn kind(self) -> Option<Kind> {
        match (self.0 & KIND_MASK) >> KIND_SHIFT {
            0 => Some(Kind::Interrupt),
            2 => Some(Kind::Nmi),
            3 => Some(Kind::Exception),
            4 => Some(Kind::Software),
            _ => None,
        }
    }

    /// A word of a VMM as EVENTINJ takes it: nothing if it is not valid, reserved bits cleared. Illegal types and vectors
    /// stay: VMRUN refuses them, and that is the answer.
    pub const fn to_inject(word: u64) -> Self {
        if word & VALID == 0 { Self::NONE } else { Self(word & DEFINED) }
    }
}

/// An event that was being delivered, and the copy of it that may still wait elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// What to put into EVENTINJ, so that the event is delivered exactly once.
    pub event: Event,
    /// The event came from V_IRQ, which must be cleared, since the processor left it pending.
    pub drop_virtual_interrupt: bool,
}

/// Makes of EXITINTINFO what can be given back as EVENTINJ.
///
/// `injected` says that the word is the event that the VMM itself injected at this entry and that the guest has not moved
/// since: then even a software interrupt has no instruction behind it and is kept. Otherwise:
///
/// - stale contents without the valid bit are no event;
/// - INT n, INT3 and INTO happen again when the guest executes them again, since RIP still points at them;
/// - an "exception" whose vector no exception has is an external interrupt that came from V_IRQ (seen on emulators: the
///   type is wrong and V_IRQ is still pending);
/// - an "exception" with vector 2 is the NMI, which VMRUN only takes by its own type.
pub const fn normalise(info: u64, injected: bool) -> Interrupted {
    let event = Event::to_inject(info);
    let none = Interrupted { event: Event::NONE, drop_virtual_interrupt: false };
    if !event.is_valid() {
        return none;
    }
    let kept = Interrupted { event, drop_virtual_interrupt: false };
    match (event.kind(), event.vector()) {
        (Some(Kind::Software), _) | (Some(Kind::Exception), 3 | 4) if !injected => none,
        (Some(Kind::Exception), 2) => Interrupted { event: Event::new(Kind::Nmi, 2), ..kept },
        (Some(Kind::Exception), vector @ 31..) if !injected => {
            Interrupted { event: Event::new(Kind::Interrupt, vector), drop_virtual_interrupt: true }
        }
        _ => kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(event: Event) -> Interrupted {
        Interrupted { event, drop_virtual_interrupt: false }
    }

    #[test]
    fn stale_words_are_no_events() {
        assert_eq!(normalise(0x0000_0000_0000_0330, false), kept(Event::NONE));
        assert_eq!(normalise(0, false), kept(Event::NONE));
        assert_eq!(Event::to_inject(0x30), Event::NONE);
    }

    #[test]
    fn interrupts_and_exceptions_are_kept() {
        let interrupt = Event::new(Kind::Interrupt, 0x41);
        assert_eq!(normalise(interrupt.0, false), kept(interrupt));
        let fault = Event::with_error(14, 6);
        assert_eq!(normalise(fault.0, false), kept(fault));
        let nmi = Event::new(Kind::Nmi, 2);
        assert_eq!(normalise(nmi.0, false), kept(nmi));
    }

    #[test]
    fn virtual_interrupt_reported_as_exception() {
        let wrong = Event::new(Kind::Exception, 0x41);
        let right = Interrupted { event: Event::new(Kind::Interrupt, 0x41), drop_virtual_interrupt: true };
        assert_eq!(normalise(wrong.0, false), right);
        let edge = normalise(Event::new(Kind::Exception, 31).0, false);
        assert_eq!(edge.event.kind(), Some(Kind::Interrupt));
        assert!(edge.drop_virtual_interrupt);
        assert_eq!(
            normalise(Event::new(Kind::Exception, 30).0, false),
            kept(Event::new(Kind::Exception, 30))
        );
    }

    #[test]
    fn software_events_are_executed_again() {
        assert_eq!(normalise(Event::new(Kind::Software, 0x80).0, false), kept(Event::NONE));
        assert_eq!(normalise(Event::new(Kind::Exception, 3).0, false), kept(Event::NONE));
        assert_eq!(normalise(Event::new(Kind::Exception, 4).0, false), kept(Event::NONE));
        let injected = Event::new(Kind::Software, 0x80);
        assert_eq!(normalise(injected.0, true), kept(injected));
    }

    #[test]
    fn nmi_as_exception_becomes_nmi() {
        assert_eq!(normalise(Event::new(Kind::Exception, 2).0, false), kept(Event::new(Kind::Nmi, 2)));
    }

    #[test]
    fn reserved_bits_are_cleared() {
        assert_eq!(Event::to_inject(u64::MAX).0, DEFINED);
        assert_eq!(Event::new(Kind::Exception, 13).vector(), 13);
        assert_eq!(Event(VALID | 1 << 8).kind(), None);
    }
}
