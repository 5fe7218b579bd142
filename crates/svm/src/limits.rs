// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bits of the registers that VMRUN checks (APM 15.5.1), and what this processor allows of them.

#![allow(missing_docs)]

pub const EFER_SCE: u64 = 1 << 0;
pub const EFER_LME: u64 = 1 << 8;
pub const EFER_LMA: u64 = 1 << 10;
pub const EFER_NXE: u64 = 1 << 11;
pub const EFER_SVME: u64 = 1 << 12;
pub const EFER_FFXSR: u64 = 1 << 14;

pub const CR0_PE: u64 = 1 << 0;
pub const CR0_ET: u64 = 1 << 4;
pub const CR0_NW: u64 = 1 << 29;
pub const CR0_CD: u64 = 1 << 30;
pub const CR0_PG: u64 = 1 << 31;
/// The defined bits of CR0.
pub const CR0_DEFINED: u64 = 0xe005_003f;

pub const CR4_PAE: u64 = 1 << 5;
pub const CR4_UMIP: u64 = 1 << 11;
pub const CR4_FSGSBASE: u64 = 1 << 16;
pub const CR4_PCIDE: u64 = 1 << 17;
pub const CR4_OSXSAVE: u64 = 1 << 18;
pub const CR4_SMEP: u64 = 1 << 20;
pub const CR4_SMAP: u64 = 1 << 21;
/// VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT: every processor with SVM has them.
pub const CR4_ALWAYS: u64 = 0x7ff;

/// The page-attribute table after reset: WB WT UC- UC, twice.
pub const PAT_RESET: u64 = 0x0007_0406_0007_0406;

pub const XCR0_X87: u64 = 1 << 0;
pub const XCR0_SSE: u64 = 1 << 1;
pub const XCR0_AVX: u64 = 1 << 2;

/// The defined bits of RFLAGS; bit 1 always reads as one.
pub const RFLAGS_DEFINED: u64 = 0x003f_7fd5;
pub const RFLAGS_ALWAYS: u64 = 1 << 1;
pub const RFLAGS_IF: u64 = 1 << 9;

/// What this processor allows in the registers of a control block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bits that CR4 may hold.
    pub cr4: u64,
    /// Bits that EFER may hold, SVME among them.
    pub efer: u64,
    /// Width of physical addresses, bits; the same for the guest's.
    pub physical_bits: u32,
    /// Bits that a guest's XCR0 may hold.
    pub xcr0: u64,
}

impl Limits {
    /// Bits that CR3 may hold.
    pub const fn cr3(&self) -> u64 {
        (1 << self.physical_bits) - 1
    }
}

/// Sign-extends a linear address of 48 bits; what is canonical stays as it is.
pub const fn canonical(address: u64) -> u64 {
    ((address << 16) as i64 >> 16) as u64
}

/// The address is canonical for 48-bit linear addresses.
pub const fn is_canonical(address: u64) -> bool {
    canonical(address) == address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_addresses() {
        assert!(is_canonical(0x7fff_ffff_ffff));
        assert!(!is_canonical(0x8000_0000_0000));
        assert!(is_canonical(0xffff_8000_0000_0000));
        assert_eq!(canonical(0x8000_0000_0000), 0xffff_8000_0000_0000);
        assert_eq!(canonical(0x1234_0000_0000_1000), 0x1000);
    }
}
