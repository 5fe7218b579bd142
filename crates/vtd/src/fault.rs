// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fault records (section 11.4.7.6) and the reasons in them (section 7.1.3).

/// Bytes of a record.
pub const RECORD_BYTES: u64 = 16;

/// The bit of a record's upper half that says that it is taken, and that clears it when written (F).
pub const TAKEN: u64 = 1 << 63;

/// A recorded fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRecord {
    /// Who asked.
    pub requester: u16,
    /// The IOVA's page; for an interrupt fault, the entry's number in bits 48–63.
    pub iova: u64,
    /// Whether memory was to be read (otherwise written). Interrupt messages are writes.
    pub read: bool,
    /// The reason's code: [`reason_text`].
    pub reason: u8,
}

impl FaultRecord {
    /// Decodes a record, `None` if it isn't taken.
    pub fn decode(low: u64, high: u64) -> Option<FaultRecord> {
        (high & TAKEN != 0).then_some(FaultRecord {
            requester: high as u16,
            iova: low & !0xfff,
            read: high >> 62 & 1 != 0,
            reason: (high >> 32) as u8,
        })
    }
}

/// What a reason's code means, as a sentence's end: "the DMA was refused because …".
pub fn reason_text(code: u8) -> &'static str {
    match code {
        0x01 => "the bus has no root entry",
        0x02 => "the device has no I/O space",
        0x03 => "the context entry is not valid",
        0x04 => "the address is beyond the I/O space",
        0x05 => "the address is not mapped for writing",
        0x06 => "the address is not mapped for reading",
        0x07 => "an I/O page table could not be read",
        0x08 => "the root table could not be read",
        0x09 => "the context table could not be read",
        0x0a => "the root entry has reserved bits set",
        0x0b => "the context entry has reserved bits set",
        0x0c => "an I/O page-table entry has reserved bits set",
        0x0d => "requests of this kind are blocked by the context entry",
        0x20 => "the interrupt message has reserved bits set",
        0x21 => "the interrupt message names an entry beyond the table",
        0x22 => "the interrupt message names an entry that is absent",
        0x23 => "the interrupt remapping table could not be read",
        0x24 => "the interrupt remapping entry has reserved bits set",
        0x25 => "interrupt messages of the compatibility format are blocked",
        0x26 => "the interrupt message names another device's entry",
        0x27 => "a posted-interrupt descriptor could not be read",
        0x28 => "a posted-interrupt descriptor has reserved bits set",
        _ => "of a reason that only newer specifications name",
    }
}

/// Whether a reason is about an interrupt message and not about memory.
pub fn is_interrupt(code: u8) -> bool {
    (0x20..0x30).contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_decoded() {
        let fault = FaultRecord::decode(0x1234_5000, TAKEN | 1 << 62 | 6 << 32 | 0x0100).unwrap();
        assert_eq!(fault, FaultRecord { requester: 0x0100, iova: 0x1234_5000, read: true, reason: 6 });
        let fault = FaultRecord::decode(0x1234_5000, TAKEN | 5 << 32 | 0x0100).unwrap();
        assert!(!fault.read);
        assert_eq!(FaultRecord::decode(0x1234_5000, 6 << 32), None);
    }

    #[test]
    fn every_code_has_a_text_and_known_codes_have_their_own() {
        let known: Vec<u8> = (1..=0xd).chain(0x20..=0x28).collect();
        let unknown = reason_text(0xff);
        for &code in &known {
            assert_ne!(reason_text(code), unknown);
            assert_eq!(known.iter().filter(|&&other| reason_text(other) == reason_text(code)).count(), 1);
        }
        assert!(is_interrupt(0x26) && !is_interrupt(6));
    }
}
