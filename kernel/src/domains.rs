// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling domains: whose turn it is, for how long, and who is next. One schedule for all processors.
//!
//! A schedule is a row of entries, a domain and a duration each, up to an end marker. It begins at the starting entry and goes round. What
//! is written into the table counts when the schedule comes to it: the slice under way keeps its domain and its end.

use sel4_abi::sched::{DOMAIN_SCHEDULES, MAX_DOMAIN_DURATION, MAX_DOMAINS};

use crate::error::{SysError, SysResult};

/// Entries of the table where there is one domain: that domain's, and the end marker.
const ENTRIES_OF_ONE: usize = 2;

/// An entry of the table; without a duration it is an end marker.
#[derive(Clone, Copy)]
struct Entry {
    domain: u8,
    ticks: u64,
}

const END: Entry = Entry { domain: 0, ticks: 0 };

/// The schedule, and where it is.
pub struct Domains {
    count: u16,
    table: [Entry; DOMAIN_SCHEDULES],
    start: usize,
    at: usize,
    current: u8,
    ends: u64,
}

impl Domains {
    /// One domain, whose turn never ends.
    pub const fn new() -> Self {
        let mut table = [END; DOMAIN_SCHEDULES];
        table[0].ticks = MAX_DOMAIN_DURATION;
        Self { count: 1, table, start: 0, at: 0, current: 0, ends: u64::MAX }
    }

    /// There are `count` domains, the first of which has its turn.
    pub fn begin(&mut self, count: u16, now: u64) {
        self.count = count.clamp(1, MAX_DOMAINS);
        self.enter(self.start, now);
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The one whose turn it is.
    pub fn current(&self) -> u8 {
        self.current
    }

    /// When its turn ends: never, if there is no other domain.
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Entries of the table, with the last one, which is an end marker for ever.
    fn entries(&self) -> usize {
        if self.count == 1 { ENTRIES_OF_ONE } else { DOMAIN_SCHEDULES }
    }

    /// The number of a domain.
    ///
    /// # Errors
    /// RangeError.
    fn domain(&self, number: u64) -> SysResult<u8> {
        let last = u64::from(self.count) - 1;
        if number > last { Err(SysError::Range(0, last)) } else { Ok(number as u8) }
    }

    /// `DomainSet_ScheduleConfigure`: writes an entry; without domain and duration, an end marker.
    ///
    /// # Errors
    /// In this order: RangeError (index, domain), InvalidArgument 2 (more than 56 bits; no duration, but a domain, or it is the
    /// starting entry).
    pub fn configure(&mut self, index: u64, domain: u64, ticks: u64) -> SysResult {
        // The last entry stays what it is.
        let last = self.entries() as u64 - 2;
        if index > last {
            return Err(SysError::Range(0, last));
        }
        let (index, domain) = (index as usize, self.domain(domain)?);
        if ticks > MAX_DOMAIN_DURATION || ticks == 0 && (domain != 0 || index == self.start) {
            return Err(SysError::InvalidArgument(2));
        }
        self.table[index] = Entry { domain, ticks };
        Ok(())
    }

    /// `DomainSet_ScheduleSetStart`: the schedule begins at entry `index` from now on, and with it at once.
    ///
    /// # Errors
    /// RangeError; InvalidArgument 0 (an end marker).
    pub fn set_start(&mut self, index: u64, now: u64) -> SysResult {
        let last = self.entries() as u64 - 1;
        if index > last {
            return Err(SysError::Range(0, last));
        }
        if self.table[index as usize].ticks == 0 {
            return Err(SysError::InvalidArgument(0));
        }
        self.start = index as usize;
        self.enter(self.start, now);
        Ok(())
    }

    /// The turn is over: the next entry's begins, with all its duration.
    pub fn next(&mut self, now: u64) {
        let next = self.at + 1;
        let ended = self.table.get(next).is_none_or(|entry| entry.ticks == 0);
        self.enter(if ended { self.start } else { next }, now);
    }

    fn enter(&mut self, at: usize, now: u64) {
        let entry = self.table[at];
        self.at = at;
        self.current = entry.domain;
        self.ends = if self.count == 1 { u64::MAX } else { now.saturating_add(entry.ticks) };
    }
}

impl Default for Domains {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: fn(u64) -> SysResult = |last| Err(SysError::Range(0, last));
    const INVALID: fn(u64) -> SysResult = |argument| Err(SysError::InvalidArgument(argument));
    const LONGEST: u64 = (1 << 56) - 1;

    fn domains(count: u16) -> Domains {
        let mut domains = Domains::new();
        domains.begin(count, 1000);
        domains
    }

    /// The next turns, from now on: domain and duration.
    fn turns(d: &mut Domains, count: usize) -> std::vec::Vec<(u8, u64)> {
        (0..count)
            .map(|_| {
                let now = d.ends();
                d.next(now);
                (d.current(), d.ends() - now)
            })
            .collect()
    }

    #[test]
    fn at_first_the_first_domain_has_the_longest_turn_there_is() {
        let mut d = domains(4);
        assert_eq!((d.current(), d.ends()), (0, 1000 + LONGEST));
        assert_eq!(turns(&mut d, 2), [(0, LONGEST), (0, LONGEST)]);
    }

    #[test]
    fn the_only_domains_turn_never_ends() {
        let mut d = domains(1);
        assert_eq!(d.configure(0, 0, 5), Ok(()));
        assert_eq!(d.set_start(0, 2000), Ok(()));
        assert_eq!((d.current(), d.ends()), (0, u64::MAX));
        assert_eq!(d.configure(1, 0, 5), RANGE(0));
        assert_eq!(d.set_start(1, 0), INVALID(0));
        assert_eq!(d.set_start(2, 0), RANGE(1));
    }

    #[test]
    fn a_schedule_goes_round_from_its_start_to_the_end_marker() {
        let mut d = domains(4);
        for (index, domain, ticks) in [(10, 2, 30), (11, 0, 10), (12, 2, 20), (13, 3, 40), (20, 1, 7)] {
            d.configure(index, domain, ticks).expect("is an entry");
        }
        d.set_start(11, 5000).expect("has a duration");
        assert_eq!((d.current(), d.ends()), (0, 5010));
        assert_eq!(turns(&mut d, 5), [(2, 20), (3, 40), (0, 10), (2, 20), (3, 40)]);
        d.set_start(20, 6000).expect("has a duration");
        assert_eq!((d.current(), d.ends()), (1, 6007));
        assert_eq!(turns(&mut d, 2), [(1, 7), (1, 7)]);
    }

    #[test]
    fn the_last_entry_is_an_end_marker_for_ever() {
        let mut d = domains(2);
        assert_eq!(d.configure(98, 1, 5), Ok(()));
        assert_eq!(d.configure(99, 1, 5), RANGE(98));
        assert_eq!(d.set_start(99, 0), INVALID(0));
        assert_eq!(d.set_start(100, 0), RANGE(99));
        d.set_start(98, 0).expect("has a duration");
        assert_eq!(turns(&mut d, 2), [(1, 5), (1, 5)]);
    }

    #[test]
    fn what_is_written_counts_when_the_schedule_comes_to_it() {
        let mut d = domains(3);
        d.configure(1, 1, 50).expect("is an entry");
        d.set_start(0, 0).expect("has a duration");
        d.next(100);
        assert_eq!((d.current(), d.ends()), (1, 150));
        d.configure(1, 2, 60).expect("is an entry");
        assert_eq!((d.current(), d.ends()), (1, 150), "the turn under way");
        d.next(150);
        d.next(200);
        assert_eq!((d.current(), d.ends()), (2, 260));
        d.configure(1, 0, 0).expect("is an end marker");
        assert_eq!(turns(&mut d, 2), [(0, LONGEST), (0, LONGEST)]);
    }

    #[test]
    fn errors_come_in_their_order() {
        let mut d = domains(4);
        assert_eq!(d.configure(99, 4, 1 << 56), RANGE(98));
        assert_eq!(d.configure(u64::MAX, 0, 1), RANGE(98));
        assert_eq!(d.configure(1, 4, 1 << 56), RANGE(3));
        assert_eq!(d.configure(1, 3, 1 << 56), INVALID(2));
        assert_eq!(d.configure(1, 3, LONGEST), Ok(()));
        assert_eq!(d.configure(1, 1, 0), INVALID(2));
        assert_eq!(d.configure(1, 0, 0), Ok(()));
        assert_eq!(d.configure(0, 0, 0), INVALID(2), "the starting entry");
        assert_eq!(d.set_start(1, 0), INVALID(0));
        assert_eq!(domains(256).configure(1, 255, 1), Ok(()));
    }
}
