// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which model-specific registers a guest has (`docs/guest-abi.md`), and the rules of EFER (AMD64 manual, volume 2, section 3.1.7).
use crate::apic;
use sel4_abi::vmcb;

/// What an MSR number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Msr {
    /// EFER.
    Efer,
    /// APIC base.
    ApicBase,
    /// x2APIC register.
    X2apic,
    /// The time-stamp counter: read only.
    Tsc,
    /// TSC_AUX: held.
    TscAux,
    /// A field of the control block that holds nothing but this register; addresses must be canonical.
    Field(u64),
    /// Reads 0, can't be written.
    Zero,
    /// Not there.
    None,
}

/// Classifies `msr`.
#[must_use]
pub fn classify(msr: u32) -> Msr {
    match msr {
        0xc000_0080 => Msr::Efer,
        apic::X2APIC_FIRST..=apic::X2APIC_LAST => Msr::X2apic,
        0x1b => Msr::ApicBase,
        0x10 => Msr::Tsc,
        0xc000_0103 => Msr::TscAux,
        0x277 => Msr::Field(vmcb::G_PAT),
        0x174 => Msr::Field(vmcb::SYSENTER_CS),
        0x175 => Msr::Field(vmcb::SYSENTER_ESP),
        0x176 => Msr::Field(vmcb::SYSENTER_EIP),
        0xc000_0081 => Msr::Field(vmcb::STAR),
        0xc000_0082 => Msr::Field(vmcb::LSTAR),
        0xc000_0083 => Msr::Field(vmcb::CSTAR),
        0xc000_0084 => Msr::Field(vmcb::SFMASK),
        0xc000_0100 => Msr::Field(segment_base(4)),
        0xc000_0101 => Msr::Field(segment_base(5)),
        0xc000_0102 => Msr::Field(vmcb::KERNEL_GS_BASE),
        0xfe | 0x2ff => Msr::Zero,
        _ => Msr::None,
    }
}

/// Whether a register that is [`Msr::Field`] can hold `value`; otherwise writing it is a general-protection fault.
#[must_use]
pub fn can_hold(field: u64, value: u64) -> bool {
    match field {
        vmcb::G_PAT => value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7)),
        vmcb::STAR => true,
        vmcb::SFMASK | vmcb::SYSENTER_CS => value >> 32 == 0,
        // Addresses must be canonical.
        _ => ((value << 16) as i64 >> 16) as u64 == value,
    }
}

/// The field number of a segment's base; `n` as in [`vmcb::SEGMENT_STRIDE`].
const fn segment_base(n: u64) -> u64 {
    vmcb::ES_SELECTOR + vmcb::SEGMENT_STRIDE * n + 8
}

const EFER_SCE: u64 = 1;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;
const EFER_FFXSR: u64 = 1 << 14;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_PCIDE: u64 = 1 << 17;

/// Bits of EFER that a guest sees.
pub const EFER_VISIBLE: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR;

/// What EFER becomes when the guest writes `value`; `None` is a general-protection fault: a reserved bit, or LME changed with paging on.
#[must_use]
pub fn efer(old: u64, value: u64, cr0: u64) -> Option<u64> {
    if value & !EFER_VISIBLE != 0 || (cr0 & CR0_PG != 0 && (old ^ value) & EFER_LME != 0) {
        return None;
    }
    // LMA is the processor's.
    Some(value & !EFER_LMA | old & EFER_LMA)
}

/// Whether EFER.LME has to be held back: paging and PAE are off. The kernel refuses the entry otherwise (`docs/abi.md`).
#[must_use]
pub fn long_mode_waits(efer: u64, cr0: u64, cr4: u64) -> bool {
    efer & EFER_LME != 0 && cr0 & CR0_PG == 0 && cr4 & CR4_PAE == 0
}

/// Whether a guest with this EFER may write CR4 so; the rest of its bits is judged by what the kernel stores. Otherwise it is a
/// general-protection fault: PAE cleared in long mode, or PCIDE set, which CPUID hides.
#[must_use]
pub fn may_write_cr4(efer: u64, value: u64) -> bool {
    (efer & EFER_LMA == 0 || value & CR4_PAE != 0) && value & CR4_PCIDE == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cr4_rules() {
        assert!(may_write_cr4(0x500, 0x620) && may_write_cr4(0x100, 0) && may_write_cr4(0, 0));
        assert!(!may_write_cr4(0x500, 0x600));
        assert!(!may_write_cr4(0x500, 1 << 17 | 0x20));
        assert!(long_mode_waits(0x100, 0x11, 0x600));
        assert!(!long_mode_waits(0x100, 0x11, 0x20) && !long_mode_waits(0, 0x11, 0));
        assert!(!long_mode_waits(0x500, 0x8000_0011, 0x20));
    }

    #[test]
    fn numbers() {
        assert_eq!(classify(0xc000_0101), Msr::Field(0x458));
        assert_eq!(classify(0x8ff), Msr::X2apic);
        assert_eq!(classify(0x900), Msr::None);
        assert_eq!(classify(0xfe), Msr::Zero);
        // Never a VMM's: VM_CR, HSAVE_PA, machine checks, microcode, DEBUGCTL, deadline.
        for msr in [0xc001_0114, 0xc001_0117, 0x400, 0x8b, 0x1d9, 0x6e0, 0x3a, 0x48] {
            assert_eq!(classify(msr), Msr::None, "{msr:x}");
        }
    }

    #[test]
    fn values_that_fault() {
        assert!(can_hold(vmcb::G_PAT, 0x0007_0406_0105_0406));
        assert!(!can_hold(vmcb::G_PAT, 0x0207_0406_0007_0406));
        assert!(!can_hold(vmcb::G_PAT, 8 << 56));
        assert!(can_hold(vmcb::LSTAR, 0xffff_8000_0000_0000));
        assert!(!can_hold(vmcb::LSTAR, 0x8000_0000_0000));
        assert!(!can_hold(vmcb::SFMASK, 1 << 32));
        assert!(can_hold(vmcb::STAR, u64::MAX));
    }

    #[test]
    fn efer_rules() {
        assert_eq!(efer(0, EFER_LME | EFER_NXE, 0x11), Some(0x900));
        assert_eq!(efer(0x500, EFER_LME | EFER_SCE, 0x8000_0011), Some(0x501));
        assert_eq!(efer(0x500, EFER_SCE, 0x8000_0011), None);
        assert_eq!(efer(0, 1 << 12, 0x11), None, "SVME");
        assert_eq!(efer(0, 1 << 10, 0x11), Some(0));
    }
}
