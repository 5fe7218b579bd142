// SPDX-License-Identifier: MIT OR Apache-2.0
//! An I/O APIC with its local APIC, a line, and the host's handler between them.
use super::*;
use crate::apic::register as r;
use crate::inject;
use crate::random::Random;

const PIN: u8 = 17;

/// A line that a device pulls, the host's handler, the two APICs, and a guest that takes what it can.
struct Board {
    apic: LocalApic,
    io: IoApic,
    /// The line is high.
    line: bool,
    /// The host's handler has fired and isn't acknowledged.
    waiting: bool,
    taken: u32,
}

impl Board {
    fn new() -> Self {
        let mut apic = LocalApic::new();
        apic.write_page(r::SPURIOUS, 4, 0x1ff, 0);
        let mut board = Self { apic, io: IoApic::new(), line: false, waiting: true, taken: 0 };
        let pins = board.io.renew(PIN);
        board.acknowledge(pins);
        board
    }

    fn set(&mut self, index: u8, value: u32) {
        assert_eq!(self.io.write(register::SELECT, 4, index.into()), 0);
        let pins = self.io.write(register::WINDOW, 4, value);
        self.acknowledge(pins);
    }

    fn get(&mut self, index: u8) -> u32 {
        assert_eq!(self.io.write(register::SELECT, 4, index.into()), 0);
        self.io.read(register::WINDOW, 4)
    }

    fn entry(&mut self, low: u32) {
        self.set(0x10 + 2 * PIN, low);
    }

    fn acknowledge(&mut self, pins: Pins) {
        if pins & bit(PIN) != 0 {
            assert!(self.waiting, "acknowledged without having fired");
            self.waiting = false;
        }
        self.host();
    }

    /// The host's side: a line that is high fires an armed handler.
    fn host(&mut self) {
        if self.line && !self.waiting {
            self.waiting = true;
            self.io.raise(PIN, &mut self.apic);
        }
    }

    fn pull(&mut self, line: bool) {
        self.line = line;
        self.host();
    }

    /// The guest takes an interrupt if there is one.
    fn take(&mut self) -> Option<u8> {
        let vector = inject::next_entry(&mut self.apic, 0, true).event as u8;
        self.taken += u32::from(vector != 0);
        (vector != 0).then_some(vector)
    }

    fn end(&mut self) {
        self.apic.write_page(r::EOI, 4, 0, 0);
        if let Some(vector) = self.apic.take_level_end() {
            let pins = self.io.end(vector);
            self.acknowledge(pins);
        }
    }
}

#[test]
fn registers() {
    let mut board = Board::new();
    assert_eq!(board.get(1), 0x0017_0011);
    board.set(0, !0);
    assert_eq!((board.get(0), board.get(2)), (0x0f00_0000, 0x0f00_0000));
    assert_eq!(board.get(0x10), MASKED);
    board.set(0x10, !0);
    board.set(0x11, !0);
    assert_eq!((board.get(0x10), board.get(0x11)), (0x1_afff, 0xff00_0000));
    assert_eq!((board.get(0x3f), board.get(0x40), board.get(3), board.get(0xff)), (0, 0, 0, 0));
    for (offset, width) in [(0, 1), (0x10, 8), (0x10, 2), (4, 4), (0x40, 4)] {
        assert_eq!((board.io.read(offset, width), board.io.write(offset, width, !0)), (0, 0));
    }
}

#[test]
fn a_line_interrupts_again_after_each_end_as_long_as_it_is_high() {
    let mut board = Board::new();
    board.entry(LEVEL | 0x51);
    board.pull(true);
    for _ in 0..3 {
        assert_eq!(board.take(), Some(0x51));
        assert_eq!(board.get(0x10 + 2 * PIN) & REMOTE_IRR, REMOTE_IRR);
        assert_eq!(board.take(), None, "not before its end");
        board.end();
    }
    // It has interrupted by now; that the line falls is seen at the end only.
    board.pull(false);
    assert_eq!(board.take(), Some(0x51));
    board.end();
    assert_eq!((board.take(), board.waiting), (None, false));
    assert_eq!(board.get(0x10 + 2 * PIN) & REMOTE_IRR, 0);
}

#[test]
fn a_masked_line_is_looked_at_when_it_is_unmasked() {
    let mut board = Board::new();
    board.pull(true);
    assert!(board.waiting);
    board.pull(false);
    board.entry(LEVEL | 0x51);
    assert_eq!((board.take(), board.waiting), (None, false), "it fell meanwhile");
    board.entry(LEVEL | MASKED | 0x51);
    board.pull(true);
    assert_eq!(board.take(), None);
    board.entry(LEVEL | 0x51);
    assert_eq!(board.take(), Some(0x51));
    // Masked in service: its end arms the pin, which holds again at once.
    board.entry(LEVEL | MASKED | 0x51);
    board.end();
    assert_eq!((board.take(), board.waiting), (None, true));
    board.entry(LEVEL | 0x51);
    assert_eq!(board.take(), Some(0x51));
}

#[test]
fn entries_that_deliver_nothing_hold_the_line() {
    for low in [0x51, LEVEL | 0x0f, LEVEL | LOGICAL | 0x51, LEVEL | 1 << 8 | 0x51, LEVEL | 4 << 8 | 0x51] {
        let mut board = Board::new();
        board.entry(low);
        board.pull(true);
        assert_eq!((board.take(), board.waiting), (None, true), "{low:#x}");
        board.entry(LEVEL | 0x60);
        assert_eq!(board.take(), Some(0x60), "{low:#x}");
    }
    let mut board = Board::new();
    board.set(0x11 + 2 * PIN, 1 << 24);
    board.entry(LEVEL | 0x51);
    board.pull(true);
    assert_eq!(board.take(), None, "another CPU");
    board.set(0x11 + 2 * PIN, 0xff << 24);
    assert_eq!(board.take(), Some(0x51));
}

#[test]
fn other_ends_arm_nothing() {
    let mut board = Board::new();
    board.entry(LEVEL | 0x51);
    board.pull(true);
    assert_eq!(board.io.end(0x52), 0);
    board.apic.raise(0x61);
    assert_eq!(board.take(), Some(0x61));
    board.end();
    assert_eq!(board.take(), Some(0x51));
    assert!(board.waiting);
    board.pull(false);
    board.end();
    assert!(!board.waiting);
}

#[test]
fn an_end_that_went_astray_is_made_up_for() {
    let mut board = Board::new();
    board.entry(LEVEL | 0x51);
    board.pull(true);
    assert_eq!(board.take(), Some(0x51));
    // The guest changes the vector in service, so that the end names none of its pins.
    board.entry(LEVEL | 0x52);
    board.end();
    assert_eq!((board.take(), board.waiting), (None, true));
    board.entry(MASKED);
    board.entry(LEVEL | 0x52);
    assert_eq!(board.take(), Some(0x52));
}

#[test]
fn a_new_handler_is_armed_unless_in_service() {
    let mut board = Board::new();
    board.entry(LEVEL | 0x51);
    board.pull(true);
    assert_eq!(board.take(), Some(0x51));
    assert_eq!(board.io.renew(PIN), 0);
    board.pull(false);
    board.end();
    assert!(!board.waiting);
    board.waiting = true;
    let pins = board.io.renew(PIN);
    board.acknowledge(pins);
    assert!(!board.waiting);
    assert_eq!(board.io.renew(200), 0);
}

/// A line goes up and down and a guest does this and that: while the line is high and the entry delivers, the guest is told; and of a
/// line that stays low it is told once at most.
#[test]
fn nothing_is_lost_and_nothing_made_up() {
    let mut random = Random(0x10_ac1c_0001);
    for _ in 0..300 {
        let mut board = Board::new();
        for _ in 0..200 {
            match random.below(6) {
                0 => board.pull(true),
                1 => board.pull(false),
                2 => board.entry(LEVEL | (0x40 + random.below(64) as u32)),
                3 => board.entry(MASKED | LEVEL | 0x51),
                4 => _ = board.take(),
                _ => board.end(),
            }
            assert!(!board.line || board.waiting, "the line is high, and nobody was told");
        }
        // The guest comes to rest.
        board.entry(MASKED);
        while board.take().is_some() {}
        (0..200).for_each(|_| board.end());
        board.entry(LEVEL | 0x51);
        if board.line {
            assert_eq!(board.take(), Some(0x51));
            board.pull(false);
            board.end();
        }
        board.taken = 0;
        for _ in 0..5 {
            board.take();
            board.end();
        }
        assert_eq!((board.taken, board.waiting), (0, false));
    }
}
