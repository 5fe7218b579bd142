// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA faults: counted per requester, and a line for the log, but not one for each.

use core::fmt;

use heapless::LinearMap;
use pci::RequesterId;
use protocol::iommu::{Fault, FaultCount};

/// Requesters that are told apart; the faults of others are counted together.
pub const MAX_REQUESTERS: usize = 64;
/// Faults of a requester that are all logged; then each that doubles the number.
pub const ALL_LOGGED: u32 = 4;
/// Faults that are read before others get their turn.
pub const BATCH: usize = 32;

/// First reason of a fault of interrupt remapping (Intel VT-d, section 5.1.4.1).
const FIRST_INTERRUPT_REASON: u8 = 0x20;

/// The faults of a requester.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// Since boot: for the log.
    all: u32,
    /// Since the device was attached.
    now: FaultCount,
}

/// What follows from a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Which one of the requester's it is since boot, if the log should have it.
    pub line: Option<u32>,
    /// The requester has just reached the limit.
    pub quarantine: bool,
}

/// The faults since boot.
#[derive(Debug)]
pub struct Faults {
    records: LinearMap<u16, Record, MAX_REQUESTERS>,
    others: u32,
    limit: u32,
}

impl Faults {
    /// None yet. A requester with `limit` faults since it was attached is to be quarantined.
    pub fn new(limit: u16) -> Self {
        Self { records: LinearMap::new(), others: 0, limit: limit.max(1).into() }
    }

    /// Counts a fault.
    pub fn count(&mut self, fault: Fault) -> Verdict {
        let key = fault.requester.0;
        if !self.records.contains_key(&key) && self.records.insert(key, Record::default()).is_err() {
            self.others = self.others.saturating_add(1);
            return Verdict { line: worth_a_line(self.others).then_some(self.others), quarantine: false };
        }
        let Some(Record { all, now }) = self.records.get_mut(&key) else { return Verdict::default() };
        *all = all.saturating_add(1);
        now.count = now.count.saturating_add(1);
        now.last = Some(fault);
        let reached = now.count >= self.limit && !now.quarantined;
        now.quarantined |= reached;
        Verdict { line: worth_a_line(*all).then_some(*all), quarantine: reached }
    }

    /// The faults of a requester since it was attached.
    pub fn of(&self, requester: RequesterId) -> FaultCount {
        self.records.get(&requester.0).map(|record| record.now).unwrap_or_default()
    }

    /// The requester is attached anew.
    pub fn attached(&mut self, requester: RequesterId) {
        if let Some(record) = self.records.get_mut(&requester.0) {
            record.now = FaultCount::default();
        }
    }
}

fn worth_a_line(count: u32) -> bool {
    count <= ALL_LOGGED || count.is_power_of_two()
}

/// The line for the log. `number` is what [`Faults::count`] gave.
pub struct Line {
    /// The fault.
    pub fault: Fault,
    /// Which one of the requester's it is.
    pub number: u32,
    /// No VM has had the requester yet.
    pub firmwares: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { requester, iova, write, reason, lost } = self.fault;
        if reason >= FIRST_INTERRUPT_REASON {
            // The remapping entry's index is where a DMA fault has the address.
            write!(f, "interrupt fault: device {requester}, remapping entry {}", iova >> 48)?;
        } else {
            let access = if write { "write" } else { "read" };
            write!(f, "dma fault: device {requester}, {access} of IOVA {iova:#x}")?;
        }
        write!(f, ", reason {reason} ({})", reason_text(reason))?;
        if self.firmwares {
            f.write_str(", which no VM has had: left at work by firmware")?;
        }
        if lost {
            f.write_str(", others lost")?;
        }
        if self.number > ALL_LOGGED {
            write!(f, ", {} of this device so far, not all logged", self.number)?;
        }
        Ok(())
    }
}

/// What a fault reason means (Intel VT-d, sections 5.1.4.1 and 7.1.3).
pub const fn reason_text(reason: u8) -> &'static str {
    match reason {
        0x01 => "no root entry",
        0x02 => "no context entry",
        0x03 => "invalid context entry",
        0x04 => "address beyond the I/O page tables",
        0x05 => "not writable",
        0x06 => "not readable",
        0x07 => "page table can't be read",
        0x08 => "root table can't be read",
        0x09 => "context table can't be read",
        0x0a => "reserved bits in the root entry",
        0x0b => "reserved bits in the context entry",
        0x0c => "reserved bits in an I/O page table",
        0x0d => "translated request or translation request blocked",
        0x20 => "reserved bits in the message",
        0x21 => "entry beyond the remapping table",
        0x22 => "no remapping entry",
        0x23 => "remapping table can't be read",
        0x24 => "reserved bits in the remapping entry",
        0x25 => "compatibility format blocked",
        0x26 => "wrong requester",
        _ => "unknown reason",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(requester: u16) -> Fault {
        Fault { requester: RequesterId(requester), iova: 0x1234_5000, write: true, reason: 5, lost: false }
    }

    #[test]
    fn lines_say_who_where_what_and_why() {
        let line = Line { fault: fault(0x0118), number: 1, firmwares: false };
        assert_eq!(
            line.to_string(),
            "dma fault: device 01:03.0, write of IOVA 0x12345000, reason 5 (not writable)"
        );
        let line = Line { fault: Fault { reason: 2, ..fault(0x0118) }, number: 1, firmwares: true };
        assert_eq!(
            line.to_string(),
            "dma fault: device 01:03.0, write of IOVA 0x12345000, reason 2 (no context entry), which no VM has had: left \
             at work by firmware"
        );
        let lost = Fault { write: false, reason: 6, lost: true, ..fault(0x0100) };
        let line = Line { fault: lost, number: 8, firmwares: false };
        assert_eq!(
            line.to_string(),
            "dma fault: device 01:00.0, read of IOVA 0x12345000, reason 6 (not readable), others lost, \
             8 of this device so far, not all logged"
        );
        let stray = Fault { iova: 7 << 48, reason: 0x26, ..fault(0x0100) };
        let line = Line { fault: stray, number: 2, firmwares: false };
        assert_eq!(
            line.to_string(),
            "interrupt fault: device 01:00.0, remapping entry 7, reason 38 (wrong requester)"
        );
    }

    #[test]
    fn a_flood_gives_few_lines() {
        let mut faults = Faults::new(16);
        let lines = (0..100_000).filter(|_| faults.count(fault(1)).line.is_some()).count();
        assert!((10..25).contains(&lines), "{lines}");
        assert_eq!(faults.of(RequesterId(1)).count, 100_000);
        assert_eq!(faults.of(RequesterId(1)).last, Some(fault(1)));
        assert_eq!(faults.of(RequesterId(2)), FaultCount::default());
        assert_eq!(faults.count(fault(2)).line, Some(1), "another device isn't silenced by it");
    }

    #[test]
    fn the_limit_is_reached_once_for_each_attachment() {
        let mut faults = Faults::new(3);
        let reached = |faults: &mut Faults, count: usize| -> std::vec::Vec<bool> {
            (0..count).map(|_| faults.count(fault(1)).quarantine).collect()
        };
        assert_eq!(reached(&mut faults, 5), [false, false, true, false, false]);
        assert!(faults.of(RequesterId(1)).quarantined && !faults.of(RequesterId(2)).quarantined);
        faults.attached(RequesterId(1));
        faults.attached(RequesterId(7));
        assert_eq!(faults.of(RequesterId(1)), FaultCount::default());
        assert_eq!(reached(&mut faults, 3), [false, false, true]);
        assert_eq!(faults.count(fault(1)).line, None, "the log counts on");
    }

    #[test]
    fn more_requesters_than_are_told_apart() {
        let mut faults = Faults::new(1);
        for requester in 0..1000 {
            faults.count(fault(requester));
        }
        assert_eq!(faults.of(RequesterId(10)).count, 1);
        assert_eq!(faults.of(RequesterId(999)).count, 0);
        assert_eq!(faults.others, 1000 - MAX_REQUESTERS as u32);
    }
}
