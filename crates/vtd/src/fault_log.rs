// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of a unit's fault records is to be read next (section 7.2.1).
//!
//! A unit fills its records in turn, after the last one the first again, and fills none that is taken: then faults are lost (overflow). So
//! what is taken is one piece that begins behind the record that was read last, however many records there are. Where that isn't known, or nothing
//! was taken when it came, the unit says which record was first (FRI).

use crate::fault::{FaultRecord, TAKEN};
use crate::registers::{FaultStatus, first_fault};

/// What reading takes of a unit's registers.
pub trait FaultRegisters {
    /// Reads the fault status.
    fn status(&self) -> u32;
    /// Reads the lower half of a record.
    fn lower(&self, number: u64) -> u64;
    /// Reads the upper half of a record.
    fn upper(&self, number: u64) -> u64;
    /// Frees a record.
    fn free(&mut self, number: u64);
}

/// How far a unit's records have been read.
#[derive(Debug)]
pub struct FaultLog {
    /// How many there are.
    count: u64,
    /// The one behind that which was read last.
    next: Option<u64>,
}

impl FaultLog {
    /// Nothing has been read of `count` records, at least one.
    pub const fn new(count: u64) -> FaultLog {
        FaultLog { count, next: None }
    }

    /// Reads the oldest fault and frees its record. Only of a unit that doesn't fill its records in turn all have to be looked at.
    pub fn read(&mut self, registers: &mut impl FaultRegisters) -> Option<FaultRecord> {
        let status = registers.status();
        if !FaultStatus::from_bits_truncate(status).contains(FaultStatus::PENDING) {
            return None;
        }
        let first = Some(first_fault(status)).filter(|&number| number < self.count);
        let likely = self.next.into_iter().chain(first);
        let (number, upper) = likely
            .chain(0..self.count)
            .map(|number| (number, registers.upper(number)))
            .find(|(_, upper)| upper & TAKEN != 0)?;
        let fault = FaultRecord::decode(registers.lower(number), upper);
        registers.free(number);
        self.next = Some((number + 1) % self.count);
        fault
    }
}
