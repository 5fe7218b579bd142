// SPDX-License-Identifier: MIT OR Apache-2.0
//! One comparator of the HPET, one-shot (IA-PC HPET Specification 1.0a, section 2.3).

use component::mmio::Region;
use protocol::config::TimerConfig;

const CAPABILITIES: usize = 0x000;
const CONFIGURATION: usize = 0x010;
const STATUS: usize = 0x020;
const COUNTER: usize = 0x0f0;
const TIMERS: usize = 0x100;
const TIMER_BYTES: usize = 0x20;
const TIMER_COMPARATOR: usize = 8;
/// Timers whose registers lie in the block's KiB.
const MAX_TIMERS: u32 = 24;

/// General configuration: the counter runs.
const ENABLE: u32 = 1;
/// General configuration: timers 0 and 1 replace the PIT and the RTC.
const LEGACY: u32 = 2;
/// Timer configuration: level-triggered.
const LEVEL: u32 = 1 << 1;
/// Timer configuration: raises interrupts.
const INTERRUPT: u32 = 1 << 2;
/// Timer configuration: periodic.
const PERIODIC: u32 = 1 << 3;
/// Timer configuration: compares 32 bits.
const NARROW: u32 = 1 << 8;
/// Timer configuration: shift of the pin's number, 5 bits.
const PIN: u32 = 9;
/// Timer configuration: interrupts are messages.
const MESSAGES: u32 = 1 << 14;

/// Ticks that must be left between now and a comparison; the specification lets a comparator miss nearer ones.
const MARGIN: u32 = 8;

/// The comparator.
pub struct Hpet {
    registers: Region,
    period: u64,
    comparator: usize,
    status: u32,
}

impl Hpet {
    /// Starts the counter, all comparators quiet, and routes this one.
    pub fn start(registers: Region, config: TimerConfig) -> Option<Self> {
        // All accesses are of 32 bits, which every implementation takes.
        let count = ((registers.read::<u32>(CAPABILITIES)? >> 8 & 0x1f) + 1).min(MAX_TIMERS);
        let period: u32 = registers.read(CAPABILITIES + 4)?;
        let general: u32 = registers.read(CONFIGURATION)?;
        registers.write(CONFIGURATION, general & !(ENABLE | LEGACY))?;
        for timer in 0..count as usize {
            let at = TIMERS + timer * TIMER_BYTES;
            registers.write(at, registers.read::<u32>(at)? & !(INTERRUPT | PERIODIC | MESSAGES))?;
        }
        registers.write(STATUS, u32::MAX)?;
        registers.write(COUNTER, 0u32)?;
        registers.write(COUNTER + 4, 0u32)?;
        let at = TIMERS + usize::from(config.comparator) * TIMER_BYTES;
        let cleared = registers.read::<u32>(at)? & !(0x1f << PIN | LEVEL);
        let level = if config.level { LEVEL } else { 0 };
        let wanted = cleared | u32::from(config.pin) << PIN | level | NARROW;
        registers.write(at, wanted)?;
        // Hardware keeps the pin only if the comparator can reach it.
        let pin = registers.read::<u32>(at)? >> PIN & 0x1f;
        if u32::from(config.comparator) >= count || pin != u32::from(config.pin) {
            return None;
        }
        registers.write(at + TIMER_COMPARATOR, u32::MAX)?;
        registers.write(at, wanted | INTERRUPT)?;
        registers.write(CONFIGURATION, general & !LEGACY | ENABLE)?;
        (period != 0).then_some(Self {
            registers,
            period: u64::from(period),
            comparator: at + TIMER_COMPARATOR,
            status: 1 << config.comparator,
        })
    }

    /// Femtoseconds of one tick.
    pub fn period(&self) -> u64 {
        self.period
    }

    /// Physical address of the registers.
    pub fn physical(&self) -> u64 {
        self.registers.physical()
    }

    /// Raises an interrupt in `ticks`. False if that moment has come already: there may be none.
    pub fn arm(&self, ticks: u64) -> bool {
        let now = self.now();
        let ticks = (ticks as u32).max(MARGIN);
        let _ = self.registers.write(self.comparator, now.wrapping_add(ticks));
        // The counter ran on while the comparator was written.
        self.now().wrapping_sub(now) < ticks
    }

    /// Acknowledges a level-triggered interrupt; nothing with edges.
    pub fn clear(&self) {
        let _ = self.registers.write(STATUS, self.status);
    }

    fn now(&self) -> u32 {
        self.registers.read(COUNTER).unwrap_or(0)
    }
}
