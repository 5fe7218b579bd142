// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every model-specific register in the ranges where there are any: read, written back, and where it can't be read written all the
//! same.

use guest_runtime::checks::Checks;
use guest_runtime::{cpu, cpuid, irq, println};

const RANGES: [(u32, u32); 4] =
    [(0, 0x2000), (0x4000_0000, 0x4000_0100), (0xc000_0000, 0xc000_2000), (0xc001_0000, 0xc001_2000)];
/// The local APIC's registers have a sweep of their own.
const X2APIC: core::ops::Range<u32> = 0x800..0x900;

/// Registers of the host's virtualization and of its power and machine-check hardware: never a guest's.
const FORBIDDEN: [u32; 8] = [
    0x3a,        // feature control
    0x480,       // VMX basic information
    0xc001_0114, // VM_CR
    0xc001_0117, // VM_HSAVE_PA
    0xc001_0015, // hardware configuration
    0xc001_0063, // P-state status
    0x1a4,       // prefetch control
    0x79,        // microcode update
];
/// Registers that the guest interface names.
const PROMISED: [u32; 12] = [
    0x10,
    0x1b,
    0x277,
    0xfe,
    0x2ff,
    0xc000_0080,
    0xc000_0081,
    0xc000_0082,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];

pub fn run(checks: &mut Checks) {
    let (mut readable, mut rewritten, mut blind) = (0u32, 0u32, 0u32);
    for (first, end) in RANGES {
        for msr in first..end {
            match cpu::try_rdmsr(msr) {
                Ok(value) => {
                    readable += 1;
                    if X2APIC.contains(&msr) {
                        continue;
                    }
                    // SAFETY: the value that it has. (The TSC goes back by a few ticks where it can be written.)
                    if unsafe { cpu::try_wrmsr(msr, value) }.is_ok() {
                        rewritten += 1;
                    }
                    if cpuid::postern().is_some() {
                        println!("hostile: MSR {msr:#x} = {value:#x}");
                    }
                }
                Err(_) if cpuid::postern().is_some() && !X2APIC.contains(&msr) => {
                    // SAFETY: a register that this guest doesn't have; if the write works nevertheless the hypervisor is at fault, which is
                    // what is tested.
                    if unsafe { cpu::try_wrmsr(msr, u64::MAX) }.is_ok() {
                        blind += 1;
                        println!("hostile: MSR {msr:#x} can be written but not read");
                    }
                }
                Err(_) => {}
            }
        }
    }
    println!("hostile: {readable} registers read, {rewritten} written back");
    checks.report("msr-sweep-survived", Ok::<(), &str>(()));
    if cpuid::postern().is_some() {
        checks.equal("msr-unknown-writes-fault", blind, 0);
        checks.equal(
            "msr-forbidden-fault",
            FORBIDDEN.iter().filter(|msr| cpu::try_rdmsr(**msr).is_ok()).count(),
            0,
        );
        checks.equal(
            "msr-promised-readable",
            PROMISED.iter().filter(|msr| cpu::try_rdmsr(**msr).is_err()).count(),
            0,
        );
    }
    irq::wait_for_timer(1_000_000);
    checks.report("msr-sweep-timer-lives", Ok::<(), &str>(()));
}
