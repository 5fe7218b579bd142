// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a PVH guest's CPU at its first instruction (Xen's `hvm/start_info.h`; AMD64 manual, volume 2, appendix B and
//! table 14-1), as fields to write, and the exit-time state that decoding needs.
use crate::decode::Mode;
use crate::layout::tables;
use sel4_abi::vmcb;

const CR0_PE_ET: u64 = 0x11;
const RFLAGS_RESERVED: u64 = 2;
const PAT_RESET: u64 = 0x0007_0406_0007_0406;

/// Attributes as the control block packs them: type, S, DPL, P in bits 0..8; AVL, L, D/B, G in bits 8..12.
mod attributes {
    /// Present, code, readable, accessed, 32-bit, 4 KiB granularity.
    pub const CODE32: u64 = 0xc9b;
    /// Present, data, writable, accessed, 32-bit, 4 KiB granularity.
    pub const DATA32: u64 = 0xc93;
    /// Present, busy 32-bit TSS.
    pub const BUSY_TSS: u64 = 0x08b;
    /// Present LDT.
    pub const LDT: u64 = 0x082;
    /// CS.L.
    pub const LONG: u64 = 1 << 9;
    /// CS.D.
    pub const DEFAULT_BIG: u64 = 1 << 10;
}

/// Numbers of the segment registers in the control block.
mod segment {
    pub const ES: u64 = 0;
    pub const CS: u64 = 1;
    pub const GS: u64 = 5;
    pub const GDTR: u64 = 6;
    pub const LDTR: u64 = 7;
    pub const IDTR: u64 = 8;
    pub const TR: u64 = 9;
}

/// Field number of the word with a segment's selector (bits 0..16), attributes (16..32) and limit (32..64).
const fn word(segment: u64) -> u64 {
    vmcb::ES_SELECTOR + vmcb::SEGMENT_STRIDE * segment
}
/// Field number of a segment's base.
const fn base(segment: u64) -> u64 {
    word(segment) + 8
}
/// Field number of a segment's attributes.
const fn attribute_field(segment: u64) -> u64 {
    word(segment) + 2
}
/// Field number of a segment's limit.
const fn limit_field(segment: u64) -> u64 {
    word(segment) + 4
}

/// The field that holds CS's attributes.
pub const CS_ATTRIBUTES: u64 = attribute_field(segment::CS);
/// The field that holds CS's base.
pub const CS_BASE: u64 = base(segment::CS);

/// RBX at entry: the start information.
pub const ENTRY_RBX: u64 = tables::START_INFO;

/// Gives each field and its value, for a guest whose TSC starts near 0 when the host's is `now`. RIP isn't among them: it goes with the entry.
///
/// # Errors
/// The first error of `write`.
pub fn initial<E>(now: u64, mut write: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
    let mut segment = |n: u64, attributes: u64, limit: u64| {
        write(word(n), 0)?;
        write(attribute_field(n), attributes)?;
        write(limit_field(n), limit)?;
        write(base(n), 0)
    };
    for n in segment::ES..=segment::GS {
        segment(n, if n == segment::CS { attributes::CODE32 } else { attributes::DATA32 }, 0xffff_ffff)?;
    }
    segment(segment::GDTR, 0, 0)?;
    segment(segment::IDTR, 0, 0)?;
    segment(segment::LDTR, attributes::LDT, 0)?;
    segment(segment::TR, attributes::BUSY_TSS, 0x67)?;
    for (field, value) in [
        (vmcb::CPL, 0),
        (vmcb::EFER, 0),
        (vmcb::CR0, CR0_PE_ET),
        (vmcb::CR3, 0),
        (vmcb::CR4, 0),
        (vmcb::DR6, 0xffff_0ff0),
        (vmcb::DR7, 0x400),
        (vmcb::RFLAGS, RFLAGS_RESERVED),
        (vmcb::RSP, 0),
        (vmcb::RAX, 0),
        (vmcb::G_PAT, PAT_RESET),
        (vmcb::TSC_OFFSET, now.wrapping_neg()),
    ] {
        write(field, value)?;
    }
    Ok(())
}

/// The code segment's mode, from its attributes; `long` if EFER.LMA.
#[must_use]
pub fn mode(cs_attributes: u64, long: bool) -> Mode {
    if long && cs_attributes & attributes::LONG != 0 {
        Mode::Bits64
    } else if cs_attributes & attributes::DEFAULT_BIG != 0 {
        Mode::Bits32
    } else {
        Mode::Bits16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn entry_state_is_the_contract() {
        let mut fields = BTreeMap::new();
        initial(1000, |field, value| {
            assert_eq!(fields.insert(field, value), None, "{field:x} once");
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!(fields[&0x412], 0xc9b);
        assert_eq!(fields[&0x432], 0xc93);
        assert_eq!(fields[&0x492], 0x08b);
        assert_eq!(fields[&0x494], 0x67);
        assert_eq!(fields[&vmcb::CR0], 0x11);
        assert_eq!(fields[&vmcb::EFER], 0);
        assert_eq!(fields[&vmcb::TSC_OFFSET].wrapping_add(1000), 0);
        assert_eq!(initial(0, |_, _| Err::<(), u8>(3)), Err(3));
    }

    #[test]
    fn modes() {
        assert_eq!(mode(0x29b, true), Mode::Bits64);
        assert_eq!(mode(0x29b, false), Mode::Bits16);
        assert_eq!(mode(0xc9b, true), Mode::Bits32);
        assert_eq!((CS_ATTRIBUTES, CS_BASE), (0x412, 0x418));
    }
}
