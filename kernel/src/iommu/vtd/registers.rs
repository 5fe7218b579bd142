// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access to a unit's registers.

use ::vtd::registers::{FaultStatus, Global, offset};

/// How often a status is read for what a command asked for. Units need some microseconds, and this takes a second or more.
const PATIENCE: u32 = 1 << 23;

/// A unit that does not do what it is told.
#[derive(Clone, Copy, Debug)]
pub struct Stuck;

/// Waits until `done`.
pub fn wait_for(mut done: impl FnMut() -> bool) -> Result<(), Stuck> {
    for _ in 0..PATIENCE {
        if done() {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err(Stuck)
}

/// A unit's registers, mapped.
pub struct Registers {
    base: *mut u8,
    length: u64,
}

impl Registers {
    /// The registers that `base` maps.
    ///
    /// # Safety
    /// `length` bytes at `base` are device memory of a remapping unit, mapped uncached for as long as the kernel runs,
    /// and nobody else accesses them.
    pub unsafe fn new(base: *mut u8, length: u64) -> Registers {
        Registers { base, length }
    }

    /// Whether a register block lies within the space.
    pub fn holds(&self, at: u64, bytes: u64) -> bool {
        at.checked_add(bytes).is_some_and(|end| end <= self.length)
    }

    fn at<T>(&self, offset: u64) -> *mut T {
        let size = size_of::<T>() as u64;
        assert!(self.holds(offset, size) && offset.is_multiple_of(size), "no IOMMU register at {offset:#x}");
        // In bounds by the assertion.
        self.base.wrapping_add(offset as usize).cast()
    }

    /// Reads 32 bits.
    pub fn read32(&self, offset: u64) -> u32 {
        // SAFETY: `at` checked bounds and alignment, `new` promises the mapping.
        unsafe { self.at::<u32>(offset).read_volatile() }
    }

    /// Writes 32 bits.
    pub fn write32(&self, offset: u64, value: u32) {
        // SAFETY: as in `read32`; the kernel alone writes the unit's registers.
        unsafe { self.at::<u32>(offset).write_volatile(value) }
    }

    /// Reads 64 bits.
    pub fn read64(&self, offset: u64) -> u64 {
        // SAFETY: as in `read32`.
        unsafe { self.at::<u64>(offset).read_volatile() }
    }

    /// Writes 64 bits.
    pub fn write64(&self, offset: u64, value: u64) {
        // SAFETY: as in `write32`.
        unsafe { self.at::<u64>(offset).write_volatile(value) }
    }

    /// What is on.
    pub fn status(&self) -> Global {
        Global::from_bits_truncate(self.read32(offset::GLOBAL_STATUS))
    }

    /// Gives the command that sets `bits` and waits until the status shows them.
    pub fn set(&self, bits: Global) -> Result<(), Stuck> {
        let command = Global::command_to_set(self.status(), bits);
        self.write32(offset::GLOBAL_COMMAND, command.bits());
        wait_for(|| self.status().contains(bits))
    }

    /// Gives the command that clears `bits` and waits until the status shows it.
    pub fn clear(&self, bits: Global) -> Result<(), Stuck> {
        let command = Global::command_to_clear(self.status(), bits);
        self.write32(offset::GLOBAL_COMMAND, command.bits());
        wait_for(|| !self.status().intersects(bits))
    }

    /// Drains the chipset's write buffer (VT-d specification, section 6.8): here the status bit clears itself.
    pub fn drain_write_buffer(&self) {
        let command = Global::command_to_set(self.status(), Global::WRITE_BUFFER);
        self.write32(offset::GLOBAL_COMMAND, command.bits());
        while self.status().contains(Global::WRITE_BUFFER) {
            core::hint::spin_loop();
        }
    }

    /// Fault status.
    pub fn fault_status(&self) -> FaultStatus {
        FaultStatus::from_bits_truncate(self.read32(offset::FAULT_STATUS))
    }
}
