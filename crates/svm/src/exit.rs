// SPDX-License-Identifier: MIT OR Apache-2.0
//! EXITCODE (APM volume 2, appendix C): numbers, names, and the length of the instruction where the exit defines it.

/// Read of control register n: this plus n.
pub const READ_CR: u64 = 0x000;
/// Write of control register n: this plus n.
pub const WRITE_CR: u64 = 0x010;
/// Read of debug register n: this plus n.
pub const READ_DR: u64 = 0x020;
/// Write of debug register n: this plus n.
pub const WRITE_DR: u64 = 0x030;
/// Exception vector n: this plus n.
pub const EXCEPTION: u64 = 0x040;

macro_rules! codes {
    ($($name:ident = $value:expr, $text:expr;)+) => {
        $(#[doc = concat!("Exit `", $text, "`.")] pub const $name: u64 = $value;)+

        /// The manual's name of an exit code, without its prefix; "unknown" for what this crate does not know.
        pub const fn name(code: u64) -> &'static str {
            match code {
                0x000..=0x00f => "CR read",
                0x010..=0x01f => "CR write",
                0x020..=0x02f => "DR read",
                0x030..=0x03f => "DR write",
                0x040..=0x05f => "exception",
                $($value => $text,)+
                _ if is_refusal(code) => "INVALID",
                _ => "unknown",
            }
        }
    };
}

codes! {
    INTR = 0x060, "INTR";
    NMI = 0x061, "NMI";
    SMI = 0x062, "SMI";
    INIT = 0x063, "INIT";
    VINTR = 0x064, "VINTR";
    CR0_SELECTIVE_WRITE = 0x065, "CR0_SEL_WRITE";
    IDTR_READ = 0x066, "IDTR_READ";
    GDTR_READ = 0x067, "GDTR_READ";
    LDTR_READ = 0x068, "LDTR_READ";
    TR_READ = 0x069, "TR_READ";
    IDTR_WRITE = 0x06a, "IDTR_WRITE";
    GDTR_WRITE = 0x06b, "GDTR_WRITE";
    LDTR_WRITE = 0x06c, "LDTR_WRITE";
    TR_WRITE = 0x06d, "TR_WRITE";
    RDTSC = 0x06e, "RDTSC";
    RDPMC = 0x06f, "RDPMC";
    PUSHF = 0x070, "PUSHF";
    POPF = 0x071, "POPF";
    CPUID = 0x072, "CPUID";
    RSM = 0x073, "RSM";
    IRET = 0x074, "IRET";
    SOFTWARE_INTERRUPT = 0x075, "SWINT";
    INVD = 0x076, "INVD";
    PAUSE = 0x077, "PAUSE";
    HLT = 0x078, "HLT";
    INVLPG = 0x079, "INVLPG";
    INVLPGA = 0x07a, "INVLPGA";
    IOIO = 0x07b, "IOIO";
    MSR = 0x07c, "MSR";
    TASK_SWITCH = 0x07d, "TASK_SWITCH";
    FERR_FREEZE = 0x07e, "FERR_FREEZE";
    SHUTDOWN = 0x07f, "SHUTDOWN";
    VMRUN = 0x080, "VMRUN";
    VMMCALL = 0x081, "VMMCALL";
    VMLOAD = 0x082, "VMLOAD";
    VMSAVE = 0x083, "VMSAVE";
    STGI = 0x084, "STGI";
    CLGI = 0x085, "CLGI";
    SKINIT = 0x086, "SKINIT";
    RDTSCP = 0x087, "RDTSCP";
    ICEBP = 0x088, "ICEBP";
    WBINVD = 0x089, "WBINVD";
    MONITOR = 0x08a, "MONITOR";
    MWAIT = 0x08b, "MWAIT";
    MWAIT_CONDITIONAL = 0x08c, "MWAIT_CONDITIONAL";
    XSETBV = 0x08d, "XSETBV";
    RDPRU = 0x08e, "RDPRU";
    EFER_WRITE_TRAP = 0x08f, "EFER_WRITE_TRAP";
    INVLPGB = 0x0a0, "INVLPGB";
    INVLPGB_ILLEGAL = 0x0a1, "INVLPGB_ILLEGAL";
    INVPCID = 0x0a2, "INVPCID";
    MCOMMIT = 0x0a3, "MCOMMIT";
    TLBSYNC = 0x0a4, "TLBSYNC";
    NESTED_PAGE_FAULT = 0x400, "NPF";
    AVIC_INCOMPLETE_IPI = 0x401, "AVIC_INCOMPLETE_IPI";
    AVIC_NOACCEL = 0x402, "AVIC_NOACCEL";
    VMGEXIT = 0x403, "VMGEXIT";
}

/// What a refused entry reports. The manual says -1; one emulator sets only the low half, so [`is_refusal`] compares that.
pub const REFUSED: u64 = u64::MAX;

/// VMRUN refused the control block.
pub const fn is_refusal(code: u64) -> bool {
    code as u32 == u32::MAX
}

/// Bytes from the exiting instruction to the next one, 0 if neither processor nor exit tells.
///
/// `next_rip` is the processor's next-RIP field, `None` without that feature. Opcodes without operands have one length
/// (prefixes aside, which no assembler puts there); RDTSC and RDTSCP may both report 0x6e, so that one stays unknown.
/// IOIO's EXITINFO2 is the next RIP on every processor (APM 15.10.2).
pub const fn instruction_length(code: u64, rip: u64, info2: u64, next_rip: Option<u64>) -> u64 {
    if code == IOIO {
        return within(info2.wrapping_sub(rip));
    }
    if let Some(next) = next_rip
        && next != 0
        && is_instruction(code)
    {
        return within(next.wrapping_sub(rip));
    }
    match code {
        HLT => 1,
        CPUID | MSR | INVD | WBINVD | RDPMC | RSM => 2,
        VMRUN | VMMCALL | VMLOAD | VMSAVE | STGI | CLGI | SKINIT | INVLPGA | RDTSCP | MONITOR | MWAIT
        | MWAIT_CONDITIONAL | XSETBV | RDPRU => 3,
        _ => 0,
    }
}

/// No instruction is longer than 15 bytes; what claims to be is not a length.
const fn within(length: u64) -> u64 {
    if length <= 15 { length } else { 0 }
}

/// The exits for which next-RIP is defined: instruction intercepts (APM 15.7.1).
const fn is_instruction(code: u64) -> bool {
    matches!(code, 0x000..=0x03f | 0x065..=0x07c | 0x080..=0x08e | 0x0a0..=0x0a4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_without_next_rip() {
        let length = |code| instruction_length(code, 0x1000, 0, None);
        assert_eq!(length(CPUID), 2);
        assert_eq!(length(HLT), 1);
        assert_eq!(length(MSR), 2);
        assert_eq!(length(VMMCALL), 3);
        assert_eq!(length(XSETBV), 3);
        assert_eq!(length(WBINVD), 2);
        assert_eq!(length(RDTSC), 0);
        assert_eq!(length(NESTED_PAGE_FAULT), 0);
        assert_eq!(length(SHUTDOWN), 0);
    }

    #[test]
    fn ports_tell_their_next_rip() {
        assert_eq!(instruction_length(IOIO, 0x1000, 0x1002, None), 2);
        assert_eq!(instruction_length(IOIO, 0x1000, 0x1001, Some(0)), 1);
        assert_eq!(instruction_length(IOIO, 0x1000, 0x5000, None), 0);
    }

    #[test]
    fn the_processor_is_believed_within_reason() {
        assert_eq!(instruction_length(CPUID, 0x1000, 0, Some(0x1003)), 3);
        assert_eq!(instruction_length(CPUID, 0x1000, 0, Some(0)), 2);
        assert_eq!(instruction_length(NESTED_PAGE_FAULT, 0x1000, 0, Some(0x1003)), 0);
    }

    #[test]
    fn refusals_and_names() {
        assert!(is_refusal(0xffff_ffff));
        assert!(is_refusal(u64::MAX));
        assert!(!is_refusal(0x400));
        assert_eq!(name(0x72), "CPUID");
        assert_eq!(name(0x4e), "exception");
        assert_eq!(name(0xffff_ffff), "INVALID");
        assert_eq!(name(0x999), "unknown");
    }
}
