// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single instructions: ports, model-specific registers, time-stamp counter, interrupt flag.
//!
//! Writing a port or a register is safe to call here only where it can't break memory safety; what can is `unsafe`.

use core::arch::asm;
use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// The exception that ended an instruction run by one of the `try_` functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

macro_rules! port_functions {
    ($read:ident, $write:ident, $int:ty, $register:tt, $name:literal) => {
        #[doc = concat!("Reads ", $name, " from an I/O port.")]
        pub fn $read(port: u16) -> $int {
            let value;
            // SAFETY: port input doesn't touch memory.
            unsafe { asm!(concat!("in ", $register, ", dx"), out($register) value, in("dx") port, options(nomem, nostack, preserves_flags)) };
            value
        }

        #[doc = concat!("Writes ", $name, " to an I/O port.")]
        ///
        /// # Safety
        /// The device behind the port must not be made to write over memory that is in use.
        pub unsafe fn $write(port: u16, value: $int) {
            // SAFETY: the caller's promise.
            unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nomem, nostack, preserves_flags)) };
        }
    };
}

port_functions!(in8, out8, u8, "al", "a byte");
port_functions!(in16, out16, u16, "ax", "two bytes");
port_functions!(in32, out32, u32, "eax", "four bytes");

/// The CPUID instruction.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// The time-stamp counter, in ticks.
#[inline(always)]
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Reads a model-specific register that is known to exist; another one is a fatal #GP.
pub fn rdmsr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reading a register doesn't change memory.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The new value must not invalidate what Rust relies on (segment bases, long mode, no-execute, system call entries).
pub unsafe fn wrmsr(msr: u32, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: the caller's promise.
    unsafe { asm!("wrmsr", in("ecx") msr, in("eax") low, in("edx") high, options(nostack, preserves_flags)) };
}

/// Reads a register that may not exist: a #GP or #UD becomes the error.
#[cfg(target_os = "none")]
pub fn try_rdmsr(msr: u32) -> Result<u64, Fault> {
    let (low, high, failed): (u32, u32, u8);
    // SAFETY: as `rdmsr`; the fault handler resumes at label 3 with carry set (see `traps`).
    unsafe {
        asm!(
            "clc", "2: rdmsr", "3: setc {failed}",
            ".pushsection .fixups, \"a\"", ".quad 2b, 3b", ".popsection",
            failed = out(reg_byte) failed, in("ecx") msr, inout("eax") 0 => low, inout("edx") 0 => high,
            options(nostack)
        );
    }
    if failed != 0 { Err(Fault) } else { Ok(u64::from(high) << 32 | u64::from(low)) }
}

/// Writes a register that may refuse.
///
/// # Safety
/// As [`wrmsr`].
#[cfg(target_os = "none")]
pub unsafe fn try_wrmsr(msr: u32, value: u64) -> Result<(), Fault> {
    let failed: u8;
    // SAFETY: the caller's promise; the fault handler resumes at label 3 with carry set.
    unsafe {
        asm!(
            "clc", "2: wrmsr", "3: setc {failed}",
            ".pushsection .fixups, \"a\"", ".quad 2b, 3b", ".popsection",
            failed = out(reg_byte) failed, in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack)
        );
    }
    if failed != 0 { Err(Fault) } else { Ok(()) }
}

/// Sets CR4.OSXSAVE, without which XGETBV and XSETBV don't exist. CPUID must show XSAVE.
pub fn enable_xsave() {
    // SAFETY: the bit makes instructions available and changes nothing else.
    unsafe { asm!("mov {t}, cr4", "or {t}, 0x40000", "mov cr4, {t}", t = out(reg) _, options(nostack)) };
}

/// Extended control register 0: which register states XSAVE covers.
pub fn xcr0() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; `enable_xsave` came before, or it is #UD, which is reported.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Writes extended control register 0; a refused value is the error.
#[cfg(target_os = "none")]
pub fn try_set_xcr0(value: u64) -> Result<(), Fault> {
    let failed: u8;
    // SAFETY: compiled Rust here uses no vector registers, so it doesn't depend on the value. Faults as in `try_wrmsr`.
    unsafe {
        asm!(
            "clc", "2: xsetbv", "3: setc {failed}",
            ".pushsection .fixups, \"a\"", ".quad 2b, 3b", ".popsection",
            failed = out(reg_byte) failed, in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack)
        );
    }
    if failed != 0 { Err(Fault) } else { Ok(()) }
}

/// The address of the last page fault.
pub fn cr2() -> u64 {
    let value;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Loads the page-table root.
///
/// # Safety
/// The tables at this address must map all memory in use as it is mapped now.
pub unsafe fn write_cr3(root: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// A random number from the CPU's generator; `None` where there is none or it has run dry.
#[cfg(target_os = "none")]
pub fn random() -> Option<u64> {
    if !crate::cpuid::has_rdrand() {
        return None;
    }
    // Intel advises ten tries (SDM volume 1, section 7.3.17).
    (0..10).find_map(|_| {
        let (value, there): (u64, u8);
        // SAFETY: CPUID shows the instruction; it writes a register and flags.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) there, options(nomem, nostack)) };
        (there != 0).then_some(value)
    })
}

/// Whether interrupts are on.
pub fn interrupts_are_on() -> bool {
    let flags: u64;
    // SAFETY: pushes and pops one word.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags & 0x200 != 0
}

/// CLI. As a compiler barrier it keeps memory accesses on their side.
pub fn interrupts_off() {
    // SAFETY: turning interrupts off is always sound.
    unsafe { asm!("cli", options(nostack)) };
}

/// STI; the instruction after it is still shadowed.
pub fn interrupts_on() {
    // SAFETY: all vectors have handlers once `main` runs; handlers share data only through atomics and `cell::IrqCell`.
    unsafe { asm!("sti", options(nostack)) };
}

/// `STI; HLT`: sleeps until an interrupt has been handled. No interrupt can slip in between the two, so a wake-up
/// that came after interrupts were turned off isn't lost. Interrupts are on afterwards.
pub fn wait_for_interrupt() {
    // SAFETY: as `interrupts_on`.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}

/// Stops for good.
pub fn halt_forever() -> ! {
    loop {
        // SAFETY: ends this CPU's work.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
