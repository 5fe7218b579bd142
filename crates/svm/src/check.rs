// SPDX-License-Identifier: MIT OR Apache-2.0
//! The consistency checks of VMRUN (APM 15.5.1), and one that an emulator needs, done before it: so that a block that a VMM spoilt is told apart from one
//! that the kernel spoilt, and does not depend on how thorough the processor is.

use crate::limits::*;
use crate::vmcb::{Save, segment};

/// Why VMRUN would refuse a save area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// EFER.SVME is clear, or EFER has bits that this processor has not.
    Efer,
    /// CR0 has NW without CD, or bits above 32.
    Cr0,
    /// CR3 points beyond physical memory.
    Cr3,
    /// CR4 has bits that this processor has not.
    Cr4,
    /// DR6 or DR7 has bits above 32.
    Debug,
    /// Long mode with paging needs PAE.
    LongModeWithoutPae,
    /// Long mode with paging needs protected mode.
    LongModeWithoutProtection,
    /// EFER.LME is set, paging and PAE are off. VMRUN takes that, but QEMU (seen in 7.2) doesn't give the host its CR0 back at an exit
    /// from there, which is the machine's end.
    LongModeWaiting,
    /// A code segment is both 64-bit and 32-bit.
    CodeSize,
    /// The guest's page-attribute table has an undefined type.
    Pat,
}

/// A rule and the states that break it.
pub type Rule = (Refusal, fn(&Save, &Limits) -> bool);

/// The rules, in the order in which they are looked at. The guest's own CR4 and EFER may hold more than a VMM may write, so only their
/// combinations and reserved halves count here.
pub const RULES: [Rule; 10] = [
    (Refusal::Efer, |save, _| save.efer & EFER_SVME == 0 || save.efer >> 32 != 0),
    (Refusal::Cr0, |save, _| save.cr0 >> 32 != 0 || save.cr0 & (CR0_NW | CR0_CD) == CR0_NW),
    (Refusal::Cr3, |save, limits| save.cr3 & !limits.cr3() != 0),
    (Refusal::Cr4, |save, _| save.cr4 >> 32 != 0),
    (Refusal::Debug, |save, _| save.dr6 >> 32 != 0 || save.dr7 >> 32 != 0),
    (Refusal::LongModeWithoutPae, |save, _| long_paging(save) && save.cr4 & CR4_PAE == 0),
    (Refusal::LongModeWithoutProtection, |save, _| long_paging(save) && save.cr0 & CR0_PE == 0),
    (Refusal::LongModeWaiting, |save, _| is_waiting(save)),
    (Refusal::CodeSize, |save, _| long_paging(save) && has_both_sizes(save)),
    (Refusal::Pat, |save, _| crate::field::fix_pat(save.g_pat) != save.g_pat),
];

const fn long_paging(save: &Save) -> bool {
    save.efer & EFER_LME != 0 && save.cr0 & CR0_PG != 0
}

const fn is_waiting(save: &Save) -> bool {
    save.efer & EFER_LME != 0 && save.cr0 & CR0_PG == 0 && save.cr4 & CR4_PAE == 0
}

const fn has_both_sizes(save: &Save) -> bool {
    let code = save.segments[segment::CS].attributes;
    code & segment::LONG != 0 && code & segment::DEFAULT_BIG != 0
}

/// What VMRUN would say of `save`: the first rule that it breaks.
pub fn save_area(save: &Save, limits: &Limits) -> Result<(), Refusal> {
    match RULES.iter().find(|(_, breaks)| breaks(save, limits)) {
        Some((refusal, _)) => Err(*refusal),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::tests::LIMITS;

    fn refused(change: impl FnOnce(&mut Save)) -> Result<(), Refusal> {
        let mut save = Save::RESET;
        change(&mut save);
        save_area(&save, &LIMITS)
    }

    #[test]
    fn reset_state_is_accepted() {
        assert_eq!(refused(|_| ()), Ok(()));
    }

    fn long(save: &mut Save) {
        save.efer |= EFER_LME;
        save.cr0 = CR0_PG | CR0_PE;
        save.cr4 = CR4_PAE;
    }

    /// A change of the reset state, or of long mode, and what is said of it.
    type Spoilt = (Refusal, fn(&mut Save));

    const SPOILT: [Spoilt; 17] = [
        (Refusal::Efer, |s| s.efer = 0),
        (Refusal::Efer, |s| s.efer |= 1 << 32),
        (Refusal::Efer, |s| s.efer |= 1 << 63),
        (Refusal::Cr0, |s| s.cr0 = CR0_NW),
        (Refusal::Cr0, |s| s.cr0 |= 1 << 32),
        (Refusal::Cr0, |s| s.cr0 |= 1 << 63),
        (Refusal::Cr3, |s| s.cr3 = 1 << 40),
        (Refusal::Cr3, |s| s.cr3 = 1 << 63),
        (Refusal::Cr4, |s| s.cr4 |= 1 << 40),
        (Refusal::Debug, |s| s.dr6 |= 1 << 32),
        (Refusal::Debug, |s| s.dr7 |= 1 << 32),
        (Refusal::LongModeWithoutPae, |s| s.cr4 &= !CR4_PAE),
        (Refusal::LongModeWithoutProtection, |s| s.cr0 &= !CR0_PE),
        (Refusal::LongModeWaiting, |s| (s.cr0, s.cr4) = (CR0_PE, 0)),
        (Refusal::CodeSize, |s| s.segments[segment::CS].attributes |= segment::LONG | segment::DEFAULT_BIG),
        (Refusal::Pat, |s| s.g_pat = 2),
        (Refusal::Pat, |s| s.g_pat |= 0xff << 56),
    ];

    #[test]
    fn each_rule_refuses() {
        assert_eq!(refused(long), Ok(()));
        for (refusal, spoil) in SPOILT {
            let spoilt = |save: &mut Save| {
                long(save);
                spoil(save);
            };
            assert_eq!(refused(spoilt), Err(refusal));
        }
        for (refusal, _) in RULES {
            assert!(
                SPOILT.iter().any(|(wanted, _)| *wanted == refusal),
                "nothing breaks the rule {refusal:?}"
            );
        }
    }
}
