// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time: nanoseconds since start-up, from the time-stamp counter.

use crate::cpu::rdtsc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

static START: AtomicU64 = AtomicU64::new(0);
static TSC_KHZ: AtomicU64 = AtomicU64::new(1_000_000);

/// Frequency of the ACPI power management timer.
#[cfg(any(test, target_os = "none"))]
const PM_TIMER_HZ: u64 = 3_579_545;

/// Ticks of a clock to nanoseconds.
fn nanoseconds(ticks: u64, khz: u64) -> u64 {
    (u128::from(ticks) * 1_000_000 / u128::from(khz)) as u64
}

/// Nanoseconds to ticks of a clock, rounded up.
pub(crate) fn ticks(nanoseconds: u64, khz: u64) -> u64 {
    (u128::from(nanoseconds) * u128::from(khz)).div_ceil(1_000_000).try_into().unwrap_or(u64::MAX)
}

/// Nanoseconds since the runtime started.
pub fn now() -> u64 {
    nanoseconds(rdtsc().wrapping_sub(START.load(Relaxed)), tsc_khz())
}

/// TSC frequency in kHz.
pub fn tsc_khz() -> u64 {
    TSC_KHZ.load(Relaxed)
}

/// Sleeps until [`now`] reaches `deadline`, in nanoseconds. Handlers run meanwhile.
#[cfg(target_os = "none")]
pub fn sleep_until(deadline: u64) {
    crate::cpu::interrupts_off();
    crate::irq::wait_until(deadline, || false);
}

#[cfg(target_os = "none")]
pub(crate) fn init() {
    START.store(rdtsc(), Relaxed);
    if let Some(postern) = crate::cpuid::postern() {
        TSC_KHZ.store(u64::from(postern.tsc_khz).max(1), Relaxed);
    } else if let Some(port) = crate::acpi::pm_timer() {
        let (start, pm) = (rdtsc(), wait_pm_timer(port));
        TSC_KHZ.store(khz(rdtsc() - start, pm), Relaxed);
    }
}

/// Waits about 10 ms by the power management timer; how many of its ticks it was.
#[cfg(target_os = "none")]
pub(crate) fn wait_pm_timer(port: u16) -> u64 {
    const MASK: u32 = 0xff_ffff;
    let start = crate::cpu::in32(port);
    loop {
        let passed = crate::cpu::in32(port).wrapping_sub(start) & MASK;
        if u64::from(passed) >= PM_TIMER_HZ / 100 {
            return u64::from(passed);
        }
    }
}

/// Frequency in kHz of a clock that counted `ticks` during `pm` ticks of the power management timer.
#[cfg(any(test, target_os = "none"))]
pub(crate) fn khz(ticks: u64, pm: u64) -> u64 {
    (u128::from(ticks) * u128::from(PM_TIMER_HZ) / u128::from(pm.max(1)) / 1000).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions() {
        assert_eq!(nanoseconds(2_600_000, 2_600_000), 1_000_000);
        assert_eq!(nanoseconds(u64::MAX / 2, 1_000_000), u64::MAX / 2);
        assert_eq!(ticks(1, 2_600_000), 3);
        assert_eq!(ticks(u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(khz(26_000_000, 35_795), 2_600_032);
    }
}
