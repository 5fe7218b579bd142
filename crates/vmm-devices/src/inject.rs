// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an entry into the guest carries: the event to deliver (EVENTINJ, AMD64 manual, volume 2, section 15.20) and whether
//! to exit as soon as interrupts are possible.
use crate::apic::LocalApic;

/// EVENTINJ and EXITINTINFO: the event is valid.
pub const VALID: u64 = 1 << 31;
const EXCEPTION: u64 = 3 << 8;
const HAS_ERROR_CODE: u64 = 1 << 11;
/// RFLAGS: interrupts enabled.
pub const RFLAGS_IF: u64 = 1 << 9;

/// An external interrupt.
#[must_use]
pub fn interrupt(vector: u8) -> u64 {
    VALID | u64::from(vector)
}

/// Invalid opcode.
pub const INVALID_OPCODE: u64 = VALID | EXCEPTION | 6;
/// General protection, error code 0.
pub const GENERAL_PROTECTION: u64 = VALID | EXCEPTION | HAS_ERROR_CODE | 13;

/// The event and the wish of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// EVENTINJ; 0 for none.
    pub event: u64,
    /// Exit as soon as the guest can take an interrupt.
    pub window: bool,
}

/// Decides what the next entry carries.
///
/// `event` is what must be delivered in any case: the event whose delivery the exit interrupted, or an exception for the instruction
/// that exited (0 for none). It goes first; interrupts wait in the APIC, and `can_interrupt` says whether the guest can take one now.
/// A vector that goes into the result has been accepted.
pub fn next_entry(apic: &mut LocalApic, event: u64, can_interrupt: bool) -> Entry {
    let Some(vector) = apic.pending() else {
        return Entry { event: if event & VALID != 0 { event } else { 0 }, window: false };
    };
    if event & VALID != 0 {
        return Entry { event, window: true };
    }
    if !can_interrupt {
        return Entry { event: 0, window: true };
    }
    apic.accept(vector);
    Entry { event: interrupt(vector), window: apic.pending().is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apic::register as r;
    use crate::random::Random;

    fn apic() -> LocalApic {
        let mut apic = LocalApic::new();
        apic.write_page(r::SPURIOUS, 4, 0x1ff, 0);
        apic
    }

    #[test]
    fn nothing_pending_nothing_asked() {
        assert_eq!(next_entry(&mut apic(), 0, true), Entry { event: 0, window: false });
        assert_eq!(next_entry(&mut apic(), 0x4_0000_0041, true), Entry { event: 0, window: false });
        assert_eq!(
            next_entry(&mut apic(), INVALID_OPCODE, true),
            Entry { event: INVALID_OPCODE, window: false }
        );
    }

    #[test]
    fn an_interrupted_delivery_goes_first() {
        let mut apic = apic();
        apic.raise(0x41);
        assert_eq!(
            next_entry(&mut apic, interrupt(0x30), true),
            Entry { event: interrupt(0x30), window: true }
        );
        assert_eq!(apic.pending(), Some(0x41));
        assert_eq!(next_entry(&mut apic, 0, false), Entry { event: 0, window: true });
        assert_eq!(next_entry(&mut apic, 0, true), Entry { event: interrupt(0x41), window: false });
        assert_eq!(apic.pending(), None);
    }

    /// A processor that interrupts deliveries at random, opens and closes its window at random: each vector arrives once.
    #[test]
    fn random_deliveries_arrive_once() {
        let mut random = Random(0x0bad_cafe_dead_0001);
        let mut next = || random.next();
        let mut apic = apic();
        let (mut raised, mut taken) = ([0u32; 256], [0u32; 256]);
        let mut waiting = [false; 256];
        let mut interrupted = 0;
        let mut idle = 0;
        let mut round = 0;
        while idle < 2000 {
            round += 1;
            if round < 50_000 && next() % 3 == 0 {
                let vector = (next() % 200 + 32) as u8;
                apic.raise(vector);
                if !waiting[usize::from(vector)] {
                    raised[usize::from(vector)] += 1;
                    waiting[usize::from(vector)] = true;
                }
            }
            let open = next() % 2 == 0;
            let entry = next_entry(&mut apic, interrupted, open);
            if entry.event == 0 {
                idle += u32::from(round >= 50_000 && !entry.window);
                interrupted = 0;
                continue;
            }
            let vector = entry.event as u8;
            waiting[usize::from(vector)] &= entry.event == interrupted;
            if next() % 4 == 0 {
                interrupted = entry.event; // the delivery was interrupted by an exit
                continue;
            }
            interrupted = 0;
            taken[usize::from(vector)] += 1;
            apic.write_page(r::EOI, 4, 0, 0);
        }
        assert_eq!(raised, taken);
    }
}
