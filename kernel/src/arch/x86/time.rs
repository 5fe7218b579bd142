// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time: the time-stamp counter, and the local APIC's timer set in its ticks.

use super::apic;
use super::port::{port_read, port_write};
use crate::sync::KernelCell;

/// PIT input clock, Hz.
const PIT_HZ: u64 = 1_193_182;
/// Length of the calibration in PIT ticks: 4 ms.
const CALIBRATION_TICKS: u64 = 4773;

struct Clock {
    /// APIC timer ticks per TSC tick, 32.32 fixed point.
    ratio: u64,
    /// TSC ticks per microsecond, which is what the boot information says too: to the nearest.
    per_us: u64,
}

static CLOCK: KernelCell<Clock> = KernelCell::new(Clock { ratio: 1 << 32, per_us: 1000 });

fn clock() -> &'static Clock {
    // SAFETY: written once, at boot.
    unsafe { CLOCK.get() }
}

/// Time-stamp counter.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Ticks of [`now`] in a microsecond.
pub fn ticks_per_us() -> u64 {
    clock().per_us
}

/// Frequency of [`now`], MHz.
pub fn mhz() -> u32 {
    clock().per_us as u32
}

/// Measures both clocks against channel 2 of the PIT, once, for 4 ms.
pub fn calibrate() {
    // Gate on, speaker off; channel 2, mode 0 (interrupt on terminal count), binary.
    let gate = port_read(0x61, 1) & !2 | 1;
    port_write(0x61, 1, gate & !1);
    port_write(0x43, 1, 0xb0);
    port_write(0x42, 1, (CALIBRATION_TICKS & 0xff) as u32);
    port_write(0x42, 1, (CALIBRATION_TICKS >> 8) as u32);
    apic::start_timer(u32::MAX, false);
    port_write(0x61, 1, gate);
    let first = sample();
    let mut spins = 0u32;
    while port_read(0x61, 1) & 0x20 == 0 && spins < 100_000_000 {
        spins += 1;
    }
    let last = sample();
    let (tsc, count) = (last.tsc - first.tsc, u64::from(first.apic.wrapping_sub(last.apic)));
    // The counter runs on after its end: what it says, not when the end was seen, is the time.
    let ticks = u64::from(first.pit.wrapping_sub(last.pit)).max(1);
    port_write(0x61, 1, gate & !1);
    let khz = tsc * PIT_HZ / ticks / 1000;
    let clock = Clock {
        ratio: (((u128::from(count)) << 32) / u128::from(tsc.max(1))).max(1) as u64,
        per_us: ((khz + 500) / 1000).max(1),
    };
    // SAFETY: boot, once.
    unsafe { *CLOCK.get() = clock };
    apic::start_timer(0, true);
}

/// The three clocks at one moment.
struct Sample {
    tsc: u64,
    apic: u32,
    /// Counts down.
    pit: u16,
}

/// Reads the clocks several times and keeps the quickest reading: under an emulator, or with system management
/// interrupts, the processor may be away between two reads.
fn sample() -> Sample {
    let mut best = (u64::MAX, Sample { tsc: 0, apic: 0, pit: 0 });
    for _ in 0..8 {
        let before = now();
        port_write(0x43, 1, 0x80); // latch channel 2
        let apic = apic::timer_count();
        let after = now();
        let low = port_read(0x42, 1) as u16;
        let pit = low | (port_read(0x42, 1) as u16) << 8;
        if after - before < best.0 {
            best = (after - before, Sample { tsc: before.midpoint(after), apic, pit });
        }
    }
    best.1
}

/// Arms the timer to fire in `ticks` of [`now`], or a little later; a time too long for the timer fires early.
pub fn set_timer(ticks: u64) {
    let count = (u128::from(ticks) * u128::from(clock().ratio)) >> 32;
    apic::restart_timer(u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1));
}
