// SPDX-License-Identifier: MIT OR Apache-2.0
//! The consistency checks of VMRUN (APM 15.5.1), done before it: so that a block that a VMM spoilt is told apart from one
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
    /// A code segment is both 64-bit and 32-bit.
    CodeSize,
    /// The guest's page-attribute table has an undefined type.
    Pat,
}

/// What VMRUN would say of `save`. The guest's own CR4 and EFER may hold more than a VMM may write, so only their
/// combinations and reserved halves count here.
pub const fn save_area(save: &Save, limits: &Limits) -> Result<(), Refusal> {
    let long_paging = save.efer & EFER_LME != 0 && save.cr0 & CR0_PG != 0;
    let code = save.segments[segment::CS].attributes;
    let both_sizes = code & segment::LONG != 0 && code & segment::DEFAULT_BIG != 0;
    if save.efer & EFER_SVME == 0 || save.efer >> 32 != 0 {
        Err(Refusal::Efer)
    } else if save.cr0 >> 32 != 0 || save.cr0 & (CR0_NW | CR0_CD) == CR0_NW {
        Err(Refusal::Cr0)
    } else if save.cr3 & !limits.cr3() != 0 {
        Err(Refusal::Cr3)
    } else if save.cr4 >> 32 != 0 {
        Err(Refusal::Cr4)
    } else if save.dr6 >> 32 != 0 || save.dr7 >> 32 != 0 {
        Err(Refusal::Debug)
    } else if long_paging && save.cr4 & CR4_PAE == 0 {
        Err(Refusal::LongModeWithoutPae)
    } else if long_paging && save.cr0 & CR0_PE == 0 {
        Err(Refusal::LongModeWithoutProtection)
    } else if long_paging && both_sizes {
        Err(Refusal::CodeSize)
    } else if crate::field::fix_pat(save.g_pat) != save.g_pat {
        Err(Refusal::Pat)
    } else {
        Ok(())
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

    #[test]
    fn each_rule_refuses() {
        let long = |save: &mut Save| {
            save.efer |= EFER_LME;
            save.cr0 = CR0_PG | CR0_PE;
            save.cr4 = CR4_PAE;
        };
        assert_eq!(refused(long), Ok(()));
        assert_eq!(refused(|s| s.efer = 0), Err(Refusal::Efer));
        assert_eq!(refused(|s| s.cr0 = CR0_NW), Err(Refusal::Cr0));
        assert_eq!(refused(|s| s.cr3 = 1 << 40), Err(Refusal::Cr3));
        assert_eq!(refused(|s| s.cr4 = 1 << 40), Err(Refusal::Cr4));
        assert_eq!(refused(|s| s.dr7 = 1 << 32), Err(Refusal::Debug));
        assert_eq!(refused(|s| s.dr6 = 1 << 32), Err(Refusal::Debug));
        assert_eq!(refused(|s| s.g_pat = 2), Err(Refusal::Pat));
        let no_pae = |s: &mut Save| {
            long(s);
            s.cr4 = 0;
        };
        assert_eq!(refused(no_pae), Err(Refusal::LongModeWithoutPae));
        let no_protection = |s: &mut Save| {
            long(s);
            s.cr0 = CR0_PG;
        };
        assert_eq!(refused(no_protection), Err(Refusal::LongModeWithoutProtection));
        let sizes = |s: &mut Save| {
            long(s);
            s.segments[segment::CS].attributes = segment::LONG | segment::DEFAULT_BIG;
        };
        assert_eq!(refused(sizes), Err(Refusal::CodeSize));
    }
}
