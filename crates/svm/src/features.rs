// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a processor has of SVM (APM volume 3, appendix E: CPUID 0x8000_0001 and 0x8000_000a).

use crate::limits::*;

/// VM_CR: SVM control, among it the firmware's switch.
pub const MSR_VM_CR: u32 = 0xc001_0114;
/// Host-physical address of the host's save area, 4 KiB.
pub const MSR_VM_HSAVE_PA: u32 = 0xc001_0117;
/// Bit of VM_CR: EFER.SVME can't be set.
pub const VM_CR_SVMDIS: u64 = 1 << 4;

/// The registers of one CPUID leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Leaf {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// Why guests can't run on this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// CPUID does not list SVM.
    NoSvm,
    /// SVM has no nested paging.
    NoNestedPaging,
    /// Firmware disabled SVM.
    Disabled,
}

impl Absent {
    /// A sentence for the boot log.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSvm => "the processor has no AMD SVM",
            Self::NoNestedPaging => "the processor's SVM has no nested paging",
            Self::Disabled => "firmware has disabled SVM (VM_CR.SVMDIS); enable virtualization in its setup",
        }
    }
}

/// What the kernel uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Identifiers, the host's included.
    pub asids: u32,
    /// The control block tells the next RIP.
    pub next_rip: bool,
    /// One identifier can be flushed alone.
    pub flush_by_asid: bool,
    /// What the guest's registers may hold.
    pub limits: Limits,
}

/// The leaves that [`decode`] looks at.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Leaves {
    /// Leaf 1.
    pub basic: Leaf,
    /// Leaf 7, subleaf 0; zero if there is none.
    pub structured: Leaf,
    /// Leaf 0xd, subleaf 0; zero without XSAVE.
    pub xsave: Leaf,
    /// Leaf 0x8000_0001.
    pub extended: Leaf,
    /// Leaf 0x8000_0008.
    pub sizes: Leaf,
    /// Leaf 0x8000_000a; zero if there is none.
    pub svm: Leaf,
}

/// Decides whether and how guests run. `vm_cr` is only looked at when CPUID lists SVM: read it then, else pass 0.
pub const fn decode(leaves: &Leaves, vm_cr: u64) -> Result<Features, Absent> {
    if leaves.extended.ecx & 1 << 2 == 0 {
        return Err(Absent::NoSvm);
    }
    if leaves.svm.edx & 1 == 0 {
        return Err(Absent::NoNestedPaging);
    }
    if vm_cr & VM_CR_SVMDIS != 0 {
        return Err(Absent::Disabled);
    }
    Ok(Features {
        asids: leaves.svm.ebx,
        next_rip: leaves.svm.edx & 1 << 3 != 0,
        flush_by_asid: leaves.svm.edx & 1 << 6 != 0,
        limits: limits(leaves),
    })
}

/// True if CPUID lists SVM, so that VM_CR exists.
pub const fn has_svm(leaves: &Leaves) -> bool {
    leaves.extended.ecx & 1 << 2 != 0
}

const fn when(bit: bool, value: u64) -> u64 {
    if bit { value } else { 0 }
}

const fn limits(leaves: &Leaves) -> Limits {
    let structured = leaves.structured;
    let xsave = leaves.basic.ecx & 1 << 26 != 0;
    let cr4 = CR4_ALWAYS
        | when(structured.ecx & 1 << 2 != 0, CR4_UMIP)
        | when(structured.ebx & 1 != 0, CR4_FSGSBASE)
        | when(leaves.basic.ecx & 1 << 17 != 0, CR4_PCIDE)
        | when(xsave, CR4_OSXSAVE)
        | when(structured.ebx & 1 << 7 != 0, CR4_SMEP)
        | when(structured.ebx & 1 << 20 != 0, CR4_SMAP);
    let efer = EFER_SCE
        | EFER_SVME
        | when(leaves.extended.edx & 1 << 29 != 0, EFER_LME | EFER_LMA)
        | when(leaves.extended.edx & 1 << 20 != 0, EFER_NXE)
        | when(leaves.extended.edx & 1 << 25 != 0, EFER_FFXSR);
    let bits = leaves.sizes.eax & 0xff;
    let xcr0 = if xsave { leaves.xsave.eax as u64 & (XCR0_X87 | XCR0_SSE | XCR0_AVX) } else { XCR0_X87 };
    Limits { cr4, efer, physical_bits: if bits < 36 || bits > 52 { 36 } else { bits }, xcr0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An EPYC as QEMU 7.2 emulates it.
    fn emulated() -> Leaves {
        Leaves {
            basic: Leaf { ecx: 1 << 26, ..Leaf::default() },
            structured: Leaf { ebx: 1 | 1 << 7 | 1 << 20, ..Leaf::default() },
            xsave: Leaf { eax: 7, ecx: 0x340, ..Leaf::default() },
            extended: Leaf { ecx: 1 << 2, edx: 1 << 20 | 1 << 29, ..Leaf::default() },
            sizes: Leaf { eax: 0x3028, ..Leaf::default() },
            svm: Leaf { eax: 1, ebx: 16, edx: 1, ..Leaf::default() },
        }
    }

    #[test]
    fn the_emulated_processor() {
        let features = decode(&emulated(), 0).unwrap();
        assert_eq!(features.asids, 16);
        assert!(!features.next_rip && !features.flush_by_asid);
        assert_eq!(features.limits, crate::field::tests::LIMITS);
        assert_eq!(features.limits.cr3(), 0xff_ffff_ffff);
    }

    #[test]
    fn reasons() {
        let mut leaves = emulated();
        assert_eq!(decode(&leaves, VM_CR_SVMDIS), Err(Absent::Disabled));
        leaves.svm.edx = 0;
        assert_eq!(decode(&leaves, 0), Err(Absent::NoNestedPaging));
        leaves.extended.ecx = 0;
        assert_eq!(decode(&leaves, 0), Err(Absent::NoSvm));
        assert!(Absent::Disabled.text().contains("firmware"));
    }

    #[test]
    fn odd_address_widths_are_not_believed() {
        let mut leaves = emulated();
        leaves.sizes.eax = 0;
        assert_eq!(decode(&leaves, 0).unwrap().limits.physical_bits, 36);
    }
}
