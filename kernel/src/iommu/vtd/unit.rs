// SPDX-License-Identifier: MIT OR Apache-2.0
//! One remapping unit, and the sinks through which changes reach it.

use ::vtd::descriptor::Descriptor;
use ::vtd::fault::{FaultRecord, RECORD_BYTES, TAKEN};
use ::vtd::fault_log::{FaultLog, FaultRegisters};
use ::vtd::registers::FaultStatus;
use ::vtd::registers::offset;
use ::vtd::{Sink, Traits};

use super::memory;
use super::queue::Queue;
use super::registers::Registers;

/// A unit that is up.
pub struct Unit {
    pub registers: Registers,
    pub queue: Queue,
    pub traits: Traits,
    /// Byte offset of the fault records.
    pub records: u64,
    /// How far they have been read.
    pub faults: FaultLog,
}

/// A unit's fault records.
struct Records<'u> {
    registers: &'u Registers,
    /// Byte offset of the first one.
    base: u64,
}

impl FaultRegisters for Records<'_> {
    fn status(&self) -> u32 {
        self.registers.read32(offset::FAULT_STATUS)
    }
    fn lower(&self, number: u64) -> u64 {
        self.registers.read64(self.base + number * RECORD_BYTES)
    }
    fn upper(&self, number: u64) -> u64 {
        self.registers.read64(self.base + number * RECORD_BYTES + 8)
    }
    fn free(&mut self, number: u64) {
        // The taken bit is the topmost of the record's last 32 bits; writing it frees the record.
        self.registers.write32(self.base + number * RECORD_BYTES + 12, (TAKEN >> 32) as u32);
    }
}

impl Unit {
    /// Reads the oldest waiting fault and frees its record. A unit without any is only asked for its status.
    pub fn read_fault(&mut self) -> Option<FaultRecord> {
        self.faults.read(&mut Records { registers: &self.registers, base: self.records })
    }

    /// Whether a record is waiting or was lost.
    pub fn fault_pending(&self) -> bool {
        self.registers.fault_status().intersects(FaultStatus::PENDING.union(FaultStatus::OVERFLOW))
    }

    /// Clears the overflow, without which nothing would be recorded any more. Whether there was one.
    pub fn clear_overflow(&mut self) -> bool {
        let lost = self.registers.fault_status().contains(FaultStatus::OVERFLOW);
        if lost {
            self.registers.write32(offset::FAULT_STATUS, FaultStatus::OVERFLOW.bits());
        }
        lost
    }
}

/// Changes of tables that one unit reads.
impl Sink for Unit {
    fn load(&mut self, address: u64) -> u64 {
        memory::load(address)
    }
    fn store(&mut self, address: u64, value: u64) {
        memory::store(address, value);
    }
    fn zero(&mut self, table: u64) {
        memory::zero(table);
    }
    fn flush(&mut self, address: u64, bytes: u64) {
        memory::flush(address, bytes);
    }
    fn submit(&mut self, descriptor: Descriptor) {
        self.queue.submit(descriptor);
    }
    fn wait(&mut self) {
        self.queue.wait(&self.registers);
    }
    fn flush_write_buffer(&mut self) {
        self.registers.drain_write_buffer();
    }
}

/// Changes of the interrupt remapping table, which all units read.
pub struct All<'u>(pub &'u mut [Unit]);

impl Sink for All<'_> {
    fn load(&mut self, address: u64) -> u64 {
        memory::load(address)
    }
    fn store(&mut self, address: u64, value: u64) {
        memory::store(address, value);
    }
    fn zero(&mut self, table: u64) {
        memory::zero(table);
    }
    fn flush(&mut self, address: u64, bytes: u64) {
        memory::flush(address, bytes);
    }
    fn submit(&mut self, descriptor: Descriptor) {
        self.0.iter_mut().for_each(|unit| unit.submit(descriptor));
    }
    fn wait(&mut self) {
        self.0.iter_mut().for_each(Sink::wait);
    }
    fn flush_write_buffer(&mut self) {
        self.0.iter_mut().filter(|unit| unit.traits.write_buffer).for_each(Sink::flush_write_buffer);
    }
}
