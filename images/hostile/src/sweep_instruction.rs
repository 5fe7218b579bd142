// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that steer virtualization, the system's sleep or its caches. On Postern a guest has none of the first two kinds: each must
//! be an exception, and the processor's interrupts, which CLGI would turn off for all, must go on.

use core::arch::asm;
use guest_runtime::checks::Checks;
use guest_runtime::{cpuid, irq, println};

/// What RAX is for them: memory of the guest, a plausible operand.
const OPERAND: u64 = 0x1000;

/// Runs an instruction; whether it was #UD or #GP.
macro_rules! faults {
    ($($instruction:literal),+) => {{
        let failed: u8;
        // SAFETY: none of these is an instruction that a guest has; that is what is tested. After an exception the handler resumes at
        // label 3 with carry set. None changes another register than RAX, RCX and RDX, nor memory in use.
        unsafe {
            asm!(
                "clc", "2:", $($instruction,)+ "3: setc {failed}",
                ".pushsection .fixups, \"a\"", ".quad 2b, 3b", ".popsection",
                failed = out(reg_byte) failed, inout("rax") OPERAND => _, inout("rcx") 0u64 => _, inout("rdx") 0u64 => _,
                options(nostack)
            );
        }
        failed != 0
    }};
}

pub fn run(checks: &mut Checks) {
    if cpuid::postern().is_none() {
        println!("hostile: elsewhere the hypervisor may have these instructions for its guests");
        checks.report("instruction-sweep-elsewhere", Ok::<(), &str>(()));
        return;
    }
    // SVM's (AMD64 manual, volume 3, chapter 4), then VT-x's, SMX's, then those of power management, SMM and counters; SYSCALL, which
    // EFER doesn't allow.
    let results = [
        ("vmrun", faults!("vmrun rax")),
        ("vmmcall", faults!("vmmcall")),
        ("vmload", faults!("vmload rax")),
        ("vmsave", faults!("vmsave rax")),
        ("stgi", faults!("stgi")),
        ("clgi", faults!("clgi")),
        ("skinit", faults!("skinit eax")),
        ("invlpga", faults!("invlpga rax, ecx")),
        ("vmcall", faults!("vmcall")),
        ("vmxoff", faults!("vmxoff")),
        ("getsec", faults!(".byte 0x0f, 0x37")),
        ("monitor", faults!("monitor")),
        ("mwait", faults!("mwait")),
        ("rsm", faults!("rsm")),
        ("rdpmc", faults!("rdpmc")),
        ("syscall", faults!("syscall")),
    ];
    for (name, faulted) in results {
        let result = if faulted { Ok(()) } else { Err("it did not fault") };
        checks.report(name, result);
    }
    // These may be used, and must not reach the machine's caches in a way that anybody notices.
    checks.equal("wbinvd", faults!("wbinvd"), false);

    irq::wait_for_timer(2_000_000);
    checks.report("interrupts-go-on", Ok::<(), &str>(()));
}
