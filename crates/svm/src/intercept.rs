// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intercept bits (APM 15.9, table B-1) and the set that every guest of this kernel has.

/// First word, offset 0x00c.
pub mod misc1 {
    #![allow(missing_docs)]
    pub const INTR: u32 = 1 << 0;
    pub const NMI: u32 = 1 << 1;
    pub const SMI: u32 = 1 << 2;
    pub const INIT: u32 = 1 << 3;
    pub const VINTR: u32 = 1 << 4;
    pub const CR0_SELECTIVE_WRITE: u32 = 1 << 5;
    pub const RDTSC: u32 = 1 << 14;
    pub const RDPMC: u32 = 1 << 15;
    pub const CPUID: u32 = 1 << 18;
    pub const RSM: u32 = 1 << 19;
    pub const IRET: u32 = 1 << 20;
    pub const SOFTWARE_INTERRUPT: u32 = 1 << 21;
    pub const INVD: u32 = 1 << 22;
    pub const PAUSE: u32 = 1 << 23;
    pub const HLT: u32 = 1 << 24;
    pub const INVLPG: u32 = 1 << 25;
    pub const INVLPGA: u32 = 1 << 26;
    pub const IOIO: u32 = 1 << 27;
    pub const MSR: u32 = 1 << 28;
    pub const TASK_SWITCH: u32 = 1 << 29;
    pub const FERR_FREEZE: u32 = 1 << 30;
    pub const SHUTDOWN: u32 = 1 << 31;
}

/// Second word, offset 0x010.
pub mod misc2 {
    #![allow(missing_docs)]
    pub const VMRUN: u32 = 1 << 0;
    pub const VMMCALL: u32 = 1 << 1;
    pub const VMLOAD: u32 = 1 << 2;
    pub const VMSAVE: u32 = 1 << 3;
    pub const STGI: u32 = 1 << 4;
    pub const CLGI: u32 = 1 << 5;
    pub const SKINIT: u32 = 1 << 6;
    pub const RDTSCP: u32 = 1 << 7;
    pub const ICEBP: u32 = 1 << 8;
    pub const WBINVD: u32 = 1 << 9;
    pub const MONITOR: u32 = 1 << 10;
    pub const MWAIT: u32 = 1 << 11;
    pub const MWAIT_ARMED: u32 = 1 << 12;
    pub const XSETBV: u32 = 1 << 13;
    pub const RDPRU: u32 = 1 << 14;
}

/// Third word, offset 0x014.
pub mod misc3 {
    #![allow(missing_docs)]
    pub const INVLPGB: u32 = 1 << 0;
    pub const ILLEGAL_INVLPGB: u32 = 1 << 1;
    pub const MCOMMIT: u32 = 1 << 3;
    pub const TLBSYNC: u32 = 1 << 4;
}

/// CR8 reads and writes: the guest's task priority is its VMM's, not the processor's V_TPR. CR4 writes, so that no guest gets into the
/// state of [`crate::check::Refusal::LongModeWaiting`].
pub const CR: u32 = (1 << 8) | (1 << 24) | (1 << 20);

/// DR0–DR3 reads and writes, and writes of DR7 (DR5 is its alias): off while the guest owns the debug registers.
pub const DR: u32 = 0x000f | (0x000f << 16) | (1 << 21) | (1 << 23);

/// #DB and #AC, so that a guest can't keep the processor in endless delivery of either (reflected at once unless the
/// VMM asked for them), and #MC, which is the host's.
pub const EXCEPTIONS: u32 = (1 << 1) | (1 << 17) | (1 << 18);

/// What every guest has of the first word.
pub const MISC1: u32 = misc1::INTR
    | misc1::NMI
    | misc1::SMI
    | misc1::INIT
    | misc1::RDPMC
    | misc1::CPUID
    | misc1::RSM
    | misc1::INVD
    | misc1::HLT
    | misc1::INVLPGA
    | misc1::IOIO
    | misc1::MSR
    | misc1::TASK_SWITCH
    | misc1::FERR_FREEZE
    | misc1::SHUTDOWN;

/// What every guest has of the second word. RDTSCP is not there: the host's TSC_AUX is 0 and holds no secret.
pub const MISC2: u32 = misc2::VMRUN
    | misc2::VMMCALL
    | misc2::VMLOAD
    | misc2::VMSAVE
    | misc2::STGI
    | misc2::CLGI
    | misc2::SKINIT
    | misc2::WBINVD
    | misc2::MONITOR
    | misc2::MWAIT
    | misc2::MWAIT_ARMED
    | misc2::XSETBV
    | misc2::RDPRU;

/// What every guest has of the third word.
pub const MISC3: u32 = misc3::INVLPGB | misc3::ILLEGAL_INVLPGB | misc3::MCOMMIT | misc3::TLBSYNC;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_that_reach_the_host_exit() {
        for bit in [misc1::INTR, misc1::NMI, misc1::IOIO, misc1::MSR, misc1::SHUTDOWN, misc1::INVLPGA] {
            assert_ne!(MISC1 & bit, 0);
        }
        // VMRUN refuses a block without its own intercept; the six others would give the guest the host's state.
        assert_eq!(MISC2 & 0x7f, 0x7f);
        assert_ne!(MISC2 & misc2::XSETBV, 0);
    }

    #[test]
    fn interrupt_window_is_off_at_first() {
        assert_eq!(MISC1 & misc1::VINTR, 0);
    }
}
