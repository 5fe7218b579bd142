// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a processor says of itself: CPUID and `IA32_ARCH_CAPABILITIES` (Intel, "CPUID Enumeration and Architectural MSRs"; APM volume 3,
//! appendix E).

use bitflags::bitflags;

/// What this processor isn't susceptible to, and what its instructions do about the rest.
pub const MSR_ARCH_CAPABILITIES: u32 = 0x10a;
/// Writing bit 0 writes the L1 data cache back and invalidates it.
pub const MSR_FLUSH_CMD: u32 = 0x10b;
/// Writing bit 0 is the barrier for indirect branch predictions (IBPB).
pub const MSR_PRED_CMD: u32 = 0x49;

/// The registers of one CPUID leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// The leaves that [`Processor::decode`] looks at; a leaf that isn't there is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leaves {
    /// Leaf 0: the vendor.
    pub vendor: Leaf,
    /// Leaf 1: family and model.
    pub basic: Leaf,
    /// Leaf 7, subleaf 0.
    pub structured: Leaf,
    /// Leaf 0x8000_0008.
    pub sizes: Leaf,
    /// Leaf 0x8000_0021.
    pub extended: Leaf,
}

impl Leaves {
    /// True if `IA32_ARCH_CAPABILITIES` exists: CPUID 7, EDX bit 29.
    #[must_use]
    pub const fn has_arch_capabilities(&self) -> bool {
        self.structured.edx & 1 << 29 != 0
    }
}

/// Whose processor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// `GenuineIntel`.
    Intel,
    /// `AuthenticAMD`, and `HygonGenuine`, whose processors are AMD's Zen.
    Amd,
    /// Anybody else's: judged like Intel's, by what it says.
    Other,
}

bitflags! {
    /// What the processor says, in one word.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Says: u32 {
        /// `IA32_FLUSH_CMD` exists: CPUID 7, EDX bit 28.
        const FLUSH_L1D = 1 << 0;
        /// VERW clears the buffers: CPUID 7, EDX bit 10.
        const MD_CLEAR = 1 << 1;
        /// `IA32_PRED_CMD` exists: Intel's CPUID 7, EDX bit 26; AMD's 0x8000_0008, EBX bit 12.
        const IBPB = 1 << 2;
        /// Transactional memory: CPUID 7, EBX bit 11.
        const RTM = 1 << 3;
        /// No Meltdown and no L1 terminal fault: `IA32_ARCH_CAPABILITIES` bit 0.
        const RDCL_NO = 1 << 4;
        /// No need to flush the L1D at a guest entry: bit 3.
        const SKIP_L1DFL_VMENTRY = 1 << 5;
        /// No microarchitectural data sampling: bit 5.
        const MDS_NO = 1 << 6;
        /// `IA32_TSX_CTRL` exists, and with it the microcode whose VERW is right for TAA: bit 7.
        const TSX_CTRL = 1 << 7;
        /// No asynchronous abort: bit 8.
        const TAA_NO = 1 << 8;
        /// No stale data of device registers: bits 13, 14 and 15, all of them.
        const STALE_DATA_NO = 1 << 9;
        /// VERW overwrites the fill buffers: bit 17.
        const FB_CLEAR = 1 << 10;
        /// Susceptible to register file data sampling, and VERW clears the register file: bit 28.
        const RFDS_CLEAR = 1 << 11;
        /// VERW helps against transient scheduler attacks: CPUID 0x8000_0021, EAX bit 5.
        const VERW_CLEAR = 1 << 12;
        /// No transient scheduler attacks: the same leaf, ECX bits 1 and 2, both.
        const TSA_NO = 1 << 13;
    }
}

/// A processor, as far as the steps of a guest entry depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processor {
    /// Whose it is.
    pub vendor: Vendor,
    /// Its family, with the extended one.
    pub family: u32,
    /// What it says.
    pub says: Says,
}

impl Processor {
    /// `arch_capabilities` is looked at only if the register exists: read it then, else pass 0.
    #[must_use]
    pub fn decode(leaves: &Leaves, arch_capabilities: u64) -> Self {
        let capabilities = if leaves.has_arch_capabilities() { arch_capabilities } else { 0 };
        let (ebx, edx) = (u64::from(leaves.structured.ebx), u64::from(leaves.structured.edx));
        let (sizes, eax, ecx) =
            (u64::from(leaves.sizes.ebx), u64::from(leaves.extended.eax), u64::from(leaves.extended.ecx));
        let mut says = Says::empty();
        for (register, bits, what) in [
            (edx, 1 << 28, Says::FLUSH_L1D),
            (edx, 1 << 10, Says::MD_CLEAR),
            (edx, 1 << 26, Says::IBPB),
            (sizes, 1 << 12, Says::IBPB),
            (ebx, 1 << 11, Says::RTM),
            (capabilities, 1 << 0, Says::RDCL_NO),
            (capabilities, 1 << 3, Says::SKIP_L1DFL_VMENTRY),
            (capabilities, 1 << 5, Says::MDS_NO),
            (capabilities, 1 << 7, Says::TSX_CTRL),
            (capabilities, 1 << 8, Says::TAA_NO),
            (capabilities, 7 << 13, Says::STALE_DATA_NO),
            (capabilities, 1 << 17, Says::FB_CLEAR),
            (capabilities, 1 << 28, Says::RFDS_CLEAR),
            (eax, 1 << 5, Says::VERW_CLEAR),
            (ecx, 3 << 1, Says::TSA_NO),
        ] {
            if register & bits == bits {
                says |= what;
            }
        }
        Self { vendor: vendor(&leaves.vendor), family: family(leaves.basic.eax), says }
    }
}

fn vendor(leaf: &Leaf) -> Vendor {
    let mut name = [0; 12];
    for (bytes, register) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        bytes.copy_from_slice(&register.to_le_bytes());
    }
    match &name {
        b"GenuineIntel" => Vendor::Intel,
        b"AuthenticAMD" | b"HygonGenuine" => Vendor::Amd,
        _ => Vendor::Other,
    }
}

/// The extended family counts where the family is 15.
const fn family(signature: u32) -> u32 {
    match signature >> 8 & 15 {
        15 => 15 + (signature >> 20 & 0xff),
        family => family,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        assert_eq!([0x106a5, 0x80_0f12, 0xa0_0f11, 0xb0_0f21].map(family), [6, 0x17, 0x19, 0x1a]);
    }

    #[test]
    fn a_register_that_is_not_there_says_nothing() {
        let leaves = Leaves::default();
        assert_eq!(Processor::decode(&leaves, u64::MAX).says, Says::empty());
        let leaves = Leaves { structured: Leaf { edx: 1 << 29, ..Leaf::default() }, ..leaves };
        assert!(Processor::decode(&leaves, u64::MAX).says.contains(Says::RDCL_NO | Says::STALE_DATA_NO));
    }

    /// Two of three promises are none.
    #[test]
    fn what_takes_several_bits_takes_all_of_them() {
        let leaves = Leaves {
            structured: Leaf { edx: 1 << 29, ..Leaf::default() },
            extended: Leaf { ecx: 1 << 1, ..Leaf::default() },
            ..Leaves::default()
        };
        assert_eq!(Processor::decode(&leaves, 5 << 13).says, Says::empty());
    }
}
