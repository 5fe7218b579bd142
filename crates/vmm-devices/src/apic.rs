// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC, in xAPIC and x2APIC mode (AMD64 manual, volume 2, chapter 16; register offsets in section 16.3.2).
//!
//! One CPU with ID 0: messages to others go nowhere. An interrupt is in IRR from [`LocalApic::raise`] to [`LocalApic::accept`],
//! then in ISR until the guest's EOI: so none is lost, and none is delivered twice.
mod bits;
mod timer;
use bits::Vectors;
use timer::Timer;

/// Register offsets of the xAPIC page, in bytes; an x2APIC MSR is 0x800 + offset / 16.
pub mod register {
    #![allow(missing_docs)]
    pub const ID: u32 = 0x20;
    pub const VERSION: u32 = 0x30;
    pub const TASK_PRIORITY: u32 = 0x80;
    pub const PROCESSOR_PRIORITY: u32 = 0xa0;
    pub const EOI: u32 = 0xb0;
    pub const LOGICAL_DESTINATION: u32 = 0xd0;
    pub const DESTINATION_FORMAT: u32 = 0xe0;
    pub const SPURIOUS: u32 = 0xf0;
    pub const IN_SERVICE: u32 = 0x100;
    pub const TRIGGER_MODE: u32 = 0x180;
    pub const REQUEST: u32 = 0x200;
    pub const ERROR_STATUS: u32 = 0x280;
    pub const COMMAND: u32 = 0x300;
    pub const COMMAND_HIGH: u32 = 0x310;
    pub const LVT_TIMER: u32 = 0x320;
    pub const LVT_ERROR: u32 = 0x370;
    pub const INITIAL_COUNT: u32 = 0x380;
    pub const CURRENT_COUNT: u32 = 0x390;
    pub const DIVIDE: u32 = 0x3e0;
    pub const SELF_IPI: u32 = 0x3f0;
}
use register as r;

/// First x2APIC MSR.
pub const X2APIC_FIRST: u32 = 0x800;
/// Last x2APIC MSR.
pub const X2APIC_LAST: u32 = 0x8ff;

/// The access is a general-protection fault for the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// Version 0x14, six local vectors.
const VERSION: u32 = 0x0005_0014;
const MASKED: u32 = 1 << 16;
const PERIODIC: u32 = 1 << 17;
const SOFTWARE_ENABLE: u32 = 1 << 8;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_BOOT_CPU: u64 = 1 << 8;
const LOCAL_VECTORS: usize = 6;
/// Lowest vector that an interrupt may have.
const LOWEST_VECTOR: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Off,
    Xapic,
    X2apic,
}

/// One local APIC.
pub struct LocalApic {
    mode: Mode,
    task_priority: u8,
    logical: u32,
    format: u32,
    spurious: u32,
    command_high: u32,
    command: u32,
    local: [u32; LOCAL_VECTORS],
    request: Vectors,
    in_service: Vectors,
    /// Trigger modes: a bit for each vector that came last by a line, whose end the I/O APIC waits for.
    level: Vectors,
    level_end: Option<u8>,
    timer: Timer,
    delivered: u64,
}

impl Default for LocalApic {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalApic {
    /// As after reset: xAPIC mode, software-disabled, everything masked.
    #[must_use]
    pub fn new() -> Self {
        Self {
            mode: Mode::Xapic,
            task_priority: 0,
            logical: 0,
            format: u32::MAX,
            spurious: 0xff,
            command_high: 0,
            command: 0,
            local: [MASKED; LOCAL_VECTORS],
            request: Vectors::default(),
            in_service: Vectors::default(),
            level: Vectors::default(),
            level_end: None,
            timer: Timer::default(),
            delivered: 0,
        }
    }

    /// The APIC base MSR (0x1b).
    #[must_use]
    pub fn base(&self) -> u64 {
        let mode = match self.mode {
            Mode::Off => 0,
            Mode::Xapic => BASE_ENABLED,
            Mode::X2apic => BASE_ENABLED | BASE_X2APIC,
        };
        crate::layout::APIC | BASE_BOOT_CPU | mode
    }

    /// Writes the APIC base MSR.
    ///
    /// # Errors
    /// [`Fault`] for another base, a reserved bit, and the changes of mode that don't exist (off to x2APIC, x2APIC to xAPIC).
    pub fn set_base(&mut self, value: u64) -> Result<(), Fault> {
        if (value ^ self.base()) & !(BASE_ENABLED | BASE_X2APIC) != 0 {
            return Err(Fault);
        }
        let mode = match (value & BASE_ENABLED != 0, value & BASE_X2APIC != 0) {
            (false, false) => Mode::Off,
            (true, false) => Mode::Xapic,
            (true, true) => Mode::X2apic,
            (false, true) => return Err(Fault),
        };
        match (self.mode, mode) {
            (Mode::Off, Mode::X2apic) | (Mode::X2apic, Mode::Xapic) => return Err(Fault),
            (_, Mode::Off) => *self = Self { mode, delivered: self.delivered, ..Self::new() },
            _ => self.mode = mode,
        }
        Ok(())
    }

    /// An interrupt message or local interrupt for this APIC. Whether it was taken: not if the APIC is off or the vector is none.
    /// One that is pending already is merged with it, as on hardware.
    pub fn raise(&mut self, vector: u8) -> bool {
        if self.mode == Mode::Off || self.spurious & SOFTWARE_ENABLE == 0 || vector < LOWEST_VECTOR {
            return false;
        }
        self.request.set(vector);
        if !self.level.is_empty() {
            self.level.clear(vector);
        }
        true
    }

    /// [`Self::raise`] of a level-triggered interrupt, whose end [`Self::take_level_end`] tells.
    pub fn raise_level(&mut self, vector: u8) -> bool {
        let taken = self.raise(vector);
        if taken {
            self.level.set(vector);
        }
        taken
    }

    /// The level-triggered interrupt that the guest has ended since this was asked last: for the I/O APIC. Ask after each write.
    pub fn take_level_end(&mut self) -> Option<u8> {
        self.level_end.take()
    }

    /// The processor priority: the higher of the task priority and the class in service.
    fn processor_priority(&self) -> u8 {
        let service = self.in_service.highest().unwrap_or(0) & 0xf0;
        if self.task_priority & 0xf0 >= service { self.task_priority } else { service }
    }

    /// The vector to deliver next, if one may be delivered.
    #[must_use]
    pub fn pending(&self) -> Option<u8> {
        let vector = self.request.highest()?;
        (self.mode != Mode::Off && vector & 0xf0 > self.processor_priority() & 0xf0).then_some(vector)
    }

    /// The processor has taken `vector`, which [`LocalApic::pending`] named: from request to service.
    pub fn accept(&mut self, vector: u8) {
        self.request.clear(vector);
        self.in_service.set(vector);
        self.delivered += 1;
    }

    /// The task priority's class, as CR8 shows it.
    #[must_use]
    pub fn cr8(&self) -> u64 {
        u64::from(self.task_priority >> 4)
    }

    /// The guest wrote CR8.
    ///
    /// # Errors
    /// [`Fault`] for more than four bits.
    pub fn set_cr8(&mut self, value: u64) -> Result<(), Fault> {
        if value > 15 {
            return Err(Fault);
        }
        self.task_priority = (value as u8) << 4;
        Ok(())
    }

    /// Interrupts accepted so far.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// When the timer wants to interrupt, in guest TSC ticks; `None` if it is stopped or masked.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.local[0] & MASKED != 0 { None } else { self.timer.expiry() }
    }

    /// Lets the timer's time pass.
    pub fn tick(&mut self, now: u64) {
        if self.timer.expire(now) && self.local[0] & MASKED == 0 {
            self.raise(self.local[0] as u8);
        }
    }

    /// Reads `width` bytes of the xAPIC page. Only aligned 32-bit reads have a meaning; others give 0.
    #[must_use]
    pub fn read_page(&self, offset: u32, width: u8, now: u64) -> u32 {
        match self.mode {
            Mode::Xapic if width == 4 => self.read(offset, now).unwrap_or(0),
            Mode::Xapic => 0,
            _ => u32::MAX,
        }
    }

    /// Writes `width` bytes of the xAPIC page. Only aligned 32-bit writes do something.
    pub fn write_page(&mut self, offset: u32, width: u8, value: u32, now: u64) {
        if self.mode != Mode::Xapic || width != 4 {
            return;
        }
        match offset {
            r::ID | r::ERROR_STATUS => {}
            r::LOGICAL_DESTINATION => self.logical = value & 0xff00_0000,
            r::DESTINATION_FORMAT => self.format = value | 0x0fff_ffff,
            r::COMMAND_HIGH => self.command_high = value & 0xff00_0000,
            r::COMMAND => self.send(value, self.command_high >> 24 == 0 || self.command_high >> 24 == 0xff),
            _ => {
                // What isn't there is ignored.
                let _ = self.write(offset, value, now);
            }
        }
    }

    /// Reads an x2APIC MSR (0x800..=0x8ff).
    ///
    /// # Errors
    /// [`Fault`] in another mode and for a register that isn't there or can't be read.
    pub fn read_msr(&self, msr: u32, now: u64) -> Result<u64, Fault> {
        if self.mode != Mode::X2apic {
            return Err(Fault);
        }
        match msr.wrapping_sub(X2APIC_FIRST) << 4 {
            r::COMMAND => Ok(u64::from(self.command) | u64::from(self.command_high) << 32),
            r::LOGICAL_DESTINATION => Ok(1),
            r::DESTINATION_FORMAT | r::COMMAND_HIGH | r::EOI | r::SELF_IPI => Err(Fault),
            offset => self.read(offset, now).map(u64::from).ok_or(Fault),
        }
    }

    /// Writes an x2APIC MSR (0x800..=0x8ff).
    ///
    /// # Errors
    /// [`Fault`] in another mode, for a register that isn't there or can't be written, and for reserved bits.
    pub fn write_msr(&mut self, msr: u32, value: u64, now: u64) -> Result<(), Fault> {
        if self.mode != Mode::X2apic {
            return Err(Fault);
        }
        let offset = msr.wrapping_sub(X2APIC_FIRST) << 4;
        if offset == r::COMMAND {
            self.command_high = (value >> 32) as u32;
            self.send(value as u32, self.command_high == 0 || self.command_high == u32::MAX);
            return Ok(());
        }
        let value = u32::try_from(value).map_err(|_| Fault)?;
        match offset {
            r::ID | r::LOGICAL_DESTINATION | r::DESTINATION_FORMAT | r::COMMAND_HIGH => Err(Fault),
            r::EOI | r::ERROR_STATUS if value != 0 => Err(Fault),
            r::ERROR_STATUS => Ok(()),
            r::TASK_PRIORITY | r::SELF_IPI if value > 0xff => Err(Fault),
            r::SELF_IPI => {
                self.raise(value as u8);
                Ok(())
            }
            _ => self.write(offset, value, now).ok_or(Fault),
        }
    }

    fn read(&self, offset: u32, now: u64) -> Option<u32> {
        let word = (offset >> 4 & 7) as usize;
        Some(match offset {
            r::TASK_PRIORITY => self.task_priority.into(),
            r::CURRENT_COUNT => self.timer.current(now),
            r::ID | r::ERROR_STATUS | r::EOI => 0,
            r::VERSION => VERSION,
            r::PROCESSOR_PRIORITY => self.processor_priority().into(),
            r::LOGICAL_DESTINATION => self.logical,
            r::DESTINATION_FORMAT => self.format,
            r::SPURIOUS => self.spurious,
            r::COMMAND => self.command,
            r::COMMAND_HIGH => self.command_high,
            r::INITIAL_COUNT => self.timer.initial(),
            r::DIVIDE => self.timer.divide(),
            _ if offset & 0xf != 0 => return None,
            r::LVT_TIMER..=r::LVT_ERROR => *self.local.get(((offset - r::LVT_TIMER) >> 4) as usize)?,
            0x100..=0x170 => self.in_service.word(word),
            0x180..=0x1f0 => self.level.word(word),
            0x200..=0x270 => self.request.word(word),
            _ => return None,
        })
    }

    fn write(&mut self, offset: u32, value: u32, now: u64) -> Option<()> {
        match offset {
            r::EOI => {
                if let Some(vector) = self.in_service.highest() {
                    self.in_service.clear(vector);
                    if self.level.has(vector) {
                        self.level_end = Some(vector);
                    }
                }
            }
            r::TASK_PRIORITY => self.task_priority = value as u8,
            r::SPURIOUS => {
                self.spurious = value & 0x1ff;
                if value & SOFTWARE_ENABLE == 0 {
                    self.local.iter_mut().for_each(|entry| *entry |= MASKED);
                }
            }
            r::INITIAL_COUNT => {
                self.tick(now);
                self.timer.set_initial(value, now);
            }
            r::DIVIDE => {
                self.tick(now);
                self.timer.set_divide(value, now);
            }
            _ if offset & 0xf == 0 && (r::LVT_TIMER..=r::LVT_ERROR).contains(&offset) => {
                // What ran out under the old setting has interrupted under the old setting.
                self.tick(now);
                let index = ((offset - r::LVT_TIMER) >> 4) as usize;
                let allowed = if index == 0 { MASKED | PERIODIC | 0xff } else { MASKED | 0xa7ff };
                let forced = if self.spurious & SOFTWARE_ENABLE == 0 { MASKED } else { 0 };
                *self.local.get_mut(index)? = value & allowed | forced;
                if index == 0 {
                    self.timer.set_periodic(value & PERIODIC != 0);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The interrupt command: fixed delivery to this CPU, by shorthand or destination; anything else reaches nobody.
    fn send(&mut self, command: u32, destination_is_self: bool) {
        // Delivery status is always idle.
        self.command = command & 0x000c_cfff;
        let fixed = (command >> 8) & 7 == 0;
        let physical = command & (1 << 11) == 0;
        let reaches = match (command >> 18) & 3 {
            0 => physical && destination_is_self,
            1 | 2 => true,
            _ => false,
        };
        if fixed && reaches {
            self.raise(command as u8);
        }
    }
}

#[cfg(test)]
mod tests;
