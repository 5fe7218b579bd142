// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt remapping table entries, remapped format (section 9.10).

/// Bytes of an entry.
pub const ENTRY_BYTES: u64 = 16;

const PRESENT: u64 = 1 << 0;
const LEVEL: u64 = 1 << 4;
/// The first of the bits that are left to software: the entry belongs to somebody, present or not.
const TAKEN: u64 = 1 << 8;

/// An entry. Delivery is fixed, the destination one processor by its physical APIC ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Irte {
    /// Bits 0–63.
    pub low: u64,
    /// Bits 64–127.
    pub high: u64,
}

impl Irte {
    /// An entry that drops every message and belongs to nobody.
    pub const ABSENT: Irte = Irte { low: 0, high: 0 };

    /// A present entry, used by messages of exactly this source: SVT = 01 and SQ = 00, so all 16 bits of the source
    /// ID are compared. With `destination` an 8-bit APIC ID, as in units that run without EIM.
    pub fn new(source: u16, vector: u8, destination: u8, level_triggered: bool) -> Irte {
        let trigger = if level_triggered { LEVEL } else { 0 };
        Irte {
            low: PRESENT | trigger | TAKEN | u64::from(vector) << 16 | u64::from(destination) << 40,
            high: u64::from(source) | 1 << 18,
        }
    }

    /// Whether messages pass.
    pub fn is_present(self) -> bool {
        self.low & PRESENT != 0
    }

    /// Whether the entry belongs to somebody. A blocked entry does.
    pub fn is_taken(self) -> bool {
        self.low & TAKEN != 0
    }

    /// The same entry, with messages dropped or passing.
    pub fn blocked(self, blocked: bool) -> Irte {
        let low = if blocked { self.low & !PRESENT } else { self.low | PRESENT };
        Irte { low, ..self }
    }

    /// The source that is verified.
    pub fn source(self) -> u16 {
        self.high as u16
    }

    /// The vector that is raised.
    pub fn vector(self) -> u8 {
        (self.low >> 16) as u8
    }

    /// Physical address of entry `index` in the table at `table`.
    pub fn address(table: u64, index: u16) -> u64 {
        table + u64::from(index) * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_verifies_the_whole_source() {
        let irte = Irte::new(0x0100, 0x41, 2, false);
        assert_eq!(irte.low, 0x0000_0200_0041_0101);
        assert_eq!(irte.high, 0x4_0100);
        assert_eq!((irte.source(), irte.vector()), (0x0100, 0x41));
        // SVT (bits 18–19) is 01, SQ (bits 16–17) is 00.
        assert_eq!(irte.high >> 16, 0b01_00);
        assert_eq!(Irte::new(0, 0x30, 0, true).low & LEVEL, LEVEL);
    }

    #[test]
    fn a_blocked_entry_is_absent_and_still_taken() {
        let irte = Irte::new(0x0100, 0x41, 0, false);
        let blocked = irte.blocked(true);
        assert!(!blocked.is_present() && blocked.is_taken());
        assert_eq!(blocked.blocked(false), irte);
        assert!(!Irte::ABSENT.is_taken());
        assert_eq!(Irte::address(0x4000, 3), 0x4030);
    }
}
