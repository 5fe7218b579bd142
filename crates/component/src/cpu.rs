// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a part reads from the processor without the kernel.

pub use core::arch::x86_64::CpuidResult;

/// The time-stamp counter, ticks.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: RDTSC touches no memory, and the kernel leaves it allowed (CR4.TSD is clear).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CPUID leaf `leaf`, subleaf `subleaf`, of the machine.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// XCR0, if the processor has XSAVE on.
pub fn xcr0() -> Option<u64> {
    const OSXSAVE: u32 = 1 << 27;
    if cpuid(1, 0).ecx & OSXSAVE == 0 {
        return None;
    }
    let (low, high): (u32, u32);
    // SAFETY: OSXSAVE says that XGETBV is allowed; it touches no memory.
    unsafe {
        core::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    Some(u64::from(high) << 32 | u64::from(low))
}

/// A 64-bit random number from RDRAND, `None` if the processor has none or gives none.
pub fn random() -> Option<u64> {
    const RDRAND: u32 = 1 << 30;
    if cpuid(1, 0).ecx & RDRAND == 0 {
        return None;
    }
    for _ in 0..10 {
        let (value, good): (u64, u8);
        // SAFETY: CPUID says that the instruction exists; it touches no memory.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) good, options(nomem, nostack));
        }
        if good != 0 {
            return Some(value);
        }
    }
    None
}
