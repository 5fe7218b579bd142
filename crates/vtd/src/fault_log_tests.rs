// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fault records read from a unit that records as section 7.2.1 says, while faults go on coming.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::fault::TAKEN;
use crate::fault_log::{FaultLog, FaultRegisters};
use crate::registers::FaultStatus;

const PENDING: u32 = FaultStatus::PENDING.bits();
const OVERFLOW: u32 = FaultStatus::OVERFLOW.bits();

/// A unit, and what it has recorded.
struct Unit {
    state: RefCell<State>,
    /// Records looked at since this was asked last.
    looks: Cell<u64>,
}

struct State {
    records: Vec<[u64; 2]>,
    /// The record that is filled next.
    index: usize,
    status: u32,
    /// Requesters of the faults that were recorded and not read, oldest first.
    recorded: VecDeque<u16>,
    lost: u64,
    next_requester: u16,
    /// Decides whether a fault comes before a register is accessed: with so many chances in 256.
    noise: u64,
    chance: u64,
}

impl State {
    fn draw(&mut self) -> u64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.noise
    }

    fn fault(&mut self) {
        self.next_requester = self.next_requester.wrapping_add(1);
        let requester = self.next_requester;
        if self.status & OVERFLOW != 0 || self.records[self.index][1] & TAKEN != 0 {
            self.status |= OVERFLOW;
            self.lost += 1;
            return;
        }
        self.records[self.index] =
            [u64::from(requester) << 12, TAKEN | 1 << 62 | 6 << 32 | u64::from(requester)];
        if self.status & PENDING == 0 {
            self.status = self.status & !0xff00 | PENDING | (self.index as u32) << 8;
        }
        self.index = (self.index + 1) % self.records.len();
        self.recorded.push_back(requester);
    }
}

impl Unit {
    /// With nothing recorded; the record that is filled first is `index`.
    fn new(count: usize, index: usize) -> Unit {
        let state = State {
            records: vec![[0; 2]; count],
            index,
            status: 0,
            recorded: VecDeque::new(),
            lost: 0,
            next_requester: 0,
            noise: 0x9e37_79b9_7f4a_7c15,
            chance: 0,
        };
        Unit { state: RefCell::new(state), looks: Cell::new(0) }
    }

    fn faults(&self, count: usize) {
        (0..count).for_each(|_| self.state.borrow_mut().fault());
    }

    fn clear_overflow(&self) {
        self.state.borrow_mut().status &= !OVERFLOW;
    }

    fn state(&self) -> std::cell::RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        while state.draw() % 256 < state.chance {
            state.fault();
        }
        state
    }

    /// Reads one record, which has to be the oldest there is, whatever comes meanwhile. Whether there was one.
    fn read(&mut self, log: &mut FaultLog) -> bool {
        let oldest = self.state.borrow().recorded.front().copied();
        match (log.read(self), oldest) {
            (None, None) => false,
            (Some(fault), _) => {
                // Where there was none, one came before the status was read.
                let first = self.state.borrow_mut().recorded.pop_front();
                assert_eq!(Some(fault.requester), first);
                assert!(oldest.is_none_or(|oldest| oldest == fault.requester));
                assert_eq!(
                    (fault.iova, fault.read, fault.reason),
                    (u64::from(fault.requester) << 12, true, 6)
                );
                true
            }
            (None, Some(_)) => panic!("a record was not found"),
        }
    }
}

impl FaultRegisters for Unit {
    fn status(&self) -> u32 {
        self.state().status
    }
    fn lower(&self, number: u64) -> u64 {
        self.state().records[number as usize][0]
    }
    fn upper(&self, number: u64) -> u64 {
        self.looks.set(self.looks.get() + 1);
        self.state().records[number as usize][1]
    }
    fn free(&mut self, number: u64) {
        let mut state = self.state();
        assert_ne!(state.records[number as usize][1] & TAKEN, 0, "a free record was freed");
        state.records[number as usize][1] &= !TAKEN;
        if state.records.iter().all(|record| record[1] & TAKEN == 0) {
            state.status &= !PENDING;
        }
    }
}

#[test]
fn where_nothing_is_pending_no_record_is_looked_at() {
    let mut unit = Unit::new(256, 0);
    let mut log = FaultLog::new(256);
    assert!(!unit.read(&mut log));
    unit.faults(3);
    while unit.read(&mut log) {}
    unit.looks.set(0);
    assert!(!unit.read(&mut log));
    assert_eq!(unit.looks.get(), 0);
}

#[test]
fn the_first_record_is_where_the_unit_says() {
    for index in [0, 5, 7] {
        // More than one, over the end of the records, from before anything was read.
        let mut unit = Unit::new(8, index);
        let mut log = FaultLog::new(8);
        unit.faults(6);
        for _ in 0..6 {
            unit.looks.set(0);
            assert!(unit.read(&mut log));
            assert_eq!(unit.looks.get(), 1, "looks at records");
        }
        assert!(!unit.read(&mut log));
    }
}

/// The first record that the unit names is freed and filled again while others are pending, so that it is the youngest.
#[test]
fn the_oldest_is_read_first_although_the_unit_names_another() {
    let mut unit = Unit::new(4, 0);
    let mut log = FaultLog::new(4);
    unit.faults(2);
    assert!(unit.read(&mut log));
    unit.faults(3);
    assert_eq!(unit.state.borrow().status, PENDING, "the first one is 0 still");
    for _ in 0..4 {
        assert!(unit.read(&mut log));
    }
    assert!(!unit.read(&mut log));
}

#[test]
fn a_full_log_loses_what_comes_and_nothing_of_what_is_there() {
    let mut unit = Unit::new(4, 3);
    let mut log = FaultLog::new(4);
    unit.faults(9);
    assert_eq!(unit.state.borrow().lost, 5);
    // Nothing more is recorded before the overflow is cleared, although a record is free.
    assert!(unit.read(&mut log));
    unit.faults(1);
    assert_eq!(unit.state.borrow().lost, 6);
    unit.clear_overflow();
    unit.faults(1);
    for _ in 0..4 {
        assert!(unit.read(&mut log));
    }
    assert!(!unit.read(&mut log));
}

#[test]
fn nothing_is_lost_or_looked_for_while_faults_come_at_every_access() {
    for count in [1, 2, 3, 8, 255, 256] {
        let mut unit = Unit::new(count, count / 2);
        let mut log = FaultLog::new(count as u64);
        let (mut read, mut longest) = (0u64, 0);
        for round in 0..20_000 {
            // Quiet times in which all is read, and times in which more comes than is read.
            unit.state.get_mut().chance = [0, 20, 60, 110][round / 100 % 4];
            unit.looks.set(0);
            read += u64::from(unit.read(&mut log));
            longest = unit.looks.get().max(longest);
            unit.clear_overflow();
        }
        unit.state.get_mut().chance = 0;
        while unit.read(&mut log) {
            read += 1;
        }
        let state = unit.state.into_inner();
        assert!(state.recorded.is_empty() && read > 2000, "{read} read of {count}");
        assert!(state.lost > 0 || count > 8, "never full: {count}");
        // The one behind the last one, once it is known.
        assert!(longest <= 1, "{longest} looks at {count} records");
    }
}

/// Not as the specification has it, but nothing stays in such a unit for ever.
#[test]
fn a_record_out_of_turn_is_found() {
    let mut unit = Unit::new(8, 0);
    let mut log = FaultLog::new(8);
    unit.faults(1);
    assert!(unit.read(&mut log));
    unit.state.borrow_mut().index = 5;
    unit.faults(1);
    // It names one that isn't there.
    for named in [3, 200] {
        unit.state.borrow_mut().status = PENDING | named << 8;
        assert!(unit.read(&mut log));
        unit.state.borrow_mut().index = 2;
        unit.faults(1);
    }
}

#[test]
fn a_pending_bit_without_a_record_is_nothing() {
    let mut unit = Unit::new(4, 0);
    unit.state.borrow_mut().status = PENDING;
    assert!(!unit.read(&mut FaultLog::new(4)));
}
