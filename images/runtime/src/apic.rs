// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC: x2APIC registers where CPUID shows them, else the memory page (Intel SDM volume 3, chapter 12). Used for the end of
//! interrupts and for a one-shot timer.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The vector of the timer.
pub const TIMER_VECTOR: u8 = 0x20;
/// The vector of spurious interrupts.
pub const SPURIOUS_VECTOR: u8 = 0xff;

/// Timer frequency in kHz at divisor 1.
static TIMER_KHZ: AtomicU64 = AtomicU64::new(1_000_000);

/// Registers, by their offset in the memory page.
#[cfg(target_os = "none")]
mod register {
    pub const ID: usize = 0x20;
    pub const TASK_PRIORITY: usize = 0x80;
    pub const END_OF_INTERRUPT: usize = 0xb0;
    pub const SPURIOUS: usize = 0xf0;
    pub const TIMER: usize = 0x320;
    pub const LINT0: usize = 0x350;
    pub const LINT1: usize = 0x360;
    pub const INITIAL_COUNT: usize = 0x380;
    pub const CURRENT_COUNT: usize = 0x390;
    pub const DIVIDE: usize = 0x3e0;
}

/// Timer frequency in kHz.
pub fn timer_khz() -> u64 {
    TIMER_KHZ.load(Relaxed)
}

#[cfg(target_os = "none")]
mod hardware {
    use super::*;
    use crate::mmio::Mmio;
    use crate::{cpu, cpuid, time};
    use core::sync::atomic::AtomicBool;

    const APIC_BASE: u32 = 0x1b;
    const X2APIC_FIRST: u32 = 0x800;
    // SAFETY: the local APIC's page, which the guest interface puts there; its registers can't reach memory.
    const PAGE: Mmio = unsafe { Mmio::new(0xfee0_0000, 0x1000) };

    static X2APIC: AtomicBool = AtomicBool::new(false);

    /// Reads a register, named by its offset in the memory page.
    pub fn read(offset: usize) -> u32 {
        if X2APIC.load(Relaxed) {
            cpu::rdmsr(X2APIC_FIRST + (offset >> 4) as u32) as u32
        } else {
            PAGE.read32(offset)
        }
    }

    /// Writes a register, named by its offset in the memory page.
    pub fn write(offset: usize, value: u32) {
        if X2APIC.load(Relaxed) {
            // SAFETY: an APIC register; interrupts that it causes have handlers.
            unsafe { cpu::wrmsr(X2APIC_FIRST + (offset >> 4) as u32, u64::from(value)) };
        } else {
            PAGE.write32(offset, value);
        }
    }

    /// Whether the registers are MSRs.
    pub fn is_x2apic() -> bool {
        X2APIC.load(Relaxed)
    }

    /// This CPU's APIC ID, the destination of its messages.
    pub fn id() -> u32 {
        if is_x2apic() { read(register::ID) } else { read(register::ID) >> 24 }
    }

    /// Tells that the handler of the interrupt in service is done.
    pub fn end_of_interrupt() {
        write(register::END_OF_INTERRUPT, 0);
    }

    /// The most that the timer can be set to, in nanoseconds: it counts 32 bits.
    pub fn longest() -> u64 {
        u64::from(u32::MAX) * 1_000_000 / timer_khz()
    }

    /// Sets the timer to fire once after `nanoseconds` (at most [`longest`]; for more it fires earlier), and forgets an earlier setting.
    pub fn arm(nanoseconds: u64) {
        let count = time::ticks(nanoseconds, timer_khz()).clamp(1, u64::from(u32::MAX));
        write(register::INITIAL_COUNT, count as u32);
    }

    /// Stops the timer. An interrupt that is pending already still comes.
    pub fn disarm() {
        write(register::INITIAL_COUNT, 0);
    }

    const ENABLE: u64 = 1 << 11;
    const X2APIC_ENABLE: u64 = 1 << 10;

    /// Turns the APIC on in one of its modes, with only the timer unmasked.
    fn start(x2apic: bool) {
        const SOFTWARE_ENABLE: u32 = 1 << 8;
        const MASKED: u32 = 1 << 16;
        const DIVIDE_BY_1: u32 = 0b1011;

        let mode = if x2apic { ENABLE | X2APIC_ENABLE } else { ENABLE };
        // SAFETY: changes the mode alone; the base stays.
        unsafe { cpu::wrmsr(APIC_BASE, cpu::rdmsr(APIC_BASE) | mode) };
        X2APIC.store(x2apic, Relaxed);
        if cpuid::postern().is_none() {
            // A PC's interrupt controllers are there and wired to LINT0: keep them silent.
            for port in [0x21, 0xa1] {
                // SAFETY: the PIC's mask registers.
                unsafe { cpu::out8(port, 0xff) };
            }
            write(register::LINT0, MASKED);
            write(register::LINT1, MASKED);
            write(register::TASK_PRIORITY, 0);
        }
        write(register::SPURIOUS, SOFTWARE_ENABLE | u32::from(SPURIOUS_VECTOR));
        write(register::DIVIDE, DIVIDE_BY_1);
        write(register::TIMER, u32::from(TIMER_VECTOR));
    }

    /// Changes to the memory page from x2APIC mode, by way of off (SDM volume 3, section 12.12.5). Pending interrupts and the timer's setting
    /// are lost. For measurements.
    pub fn leave_x2apic() {
        // SAFETY: changes the mode alone.
        unsafe { cpu::wrmsr(APIC_BASE, cpu::rdmsr(APIC_BASE) & !(ENABLE | X2APIC_ENABLE)) };
        start(false);
    }

    pub(crate) fn init() {
        start(cpuid::has_x2apic());
        if let Some(postern) = cpuid::postern() {
            TIMER_KHZ.store(u64::from(postern.apic_khz).max(1), Relaxed);
        } else if let Some(port) = crate::acpi::pm_timer() {
            write(register::INITIAL_COUNT, u32::MAX);
            let pm = time::wait_pm_timer(port);
            let ticks = u32::MAX - read(register::CURRENT_COUNT);
            disarm();
            TIMER_KHZ.store(time::khz(u64::from(ticks), pm), Relaxed);
        }
    }
}

#[cfg(target_os = "none")]
pub(crate) use hardware::init;
#[cfg(target_os = "none")]
pub use hardware::{arm, disarm, end_of_interrupt, id, is_x2apic, leave_x2apic, longest, read, write};
