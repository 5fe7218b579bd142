// SPDX-License-Identifier: MIT OR Apache-2.0
//! The log ring: one producer, one consumer, 64 KiB, neither trusts the other.
//!
//! The shared memory is all atomics, so whatever the other side does to it is at worst a wrong line. Positions are
//! offsets into the data; equal positions mean empty, so one byte stays free.

use core::fmt;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Bytes of a ring in memory.
pub const RING_BYTES: usize = 64 * 1024;
/// Bytes of data; one less can be in it.
pub const CAPACITY: usize = RING_BYTES - 128;

/// A ring as it lies in memory, 16 pages. All zero is an empty ring.
#[repr(C, align(64))]
pub struct Ring {
    /// Where the producer writes next.
    head: AtomicU32,
    /// Lines that found no room, modulo 2^32.
    lost: AtomicU32,
    reserved: [u8; 56],
    /// Where the consumer reads next.
    tail: AtomicU32,
    /// Lost lines that the consumer has told of, modulo 2^32: kept here, so that a consumer that starts anew tells of none twice.
    told: AtomicU32,
    reserved2: [u8; 56],
    data: [AtomicU8; CAPACITY],
}

const _: () = {
    assert!(size_of::<Ring>() == RING_BYTES);
    assert!(core::mem::offset_of!(Ring, lost) == 4);
    assert!(core::mem::offset_of!(Ring, tail) == 64);
    assert!(core::mem::offset_of!(Ring, data) == 128);
};

impl Ring {
    /// An empty ring, for host tests and statics.
    pub const fn new() -> Self {
        Self {
            head: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            reserved: [0; 56],
            tail: AtomicU32::new(0),
            told: AtomicU32::new(0),
            reserved2: [0; 56],
            data: [const { AtomicU8::new(0) }; CAPACITY],
        }
    }

    /// A line to be written; nothing of it is seen before [`Line::finish`]. Only the ring's one producer may ask.
    pub fn line(&self) -> Line<'_> {
        let head = self.head.load(Ordering::Relaxed) as usize % CAPACITY;
        let tail = self.tail.load(Ordering::Acquire) as usize % CAPACITY;
        Line { ring: self, at: head, room: (tail + CAPACITY - head - 1) % CAPACITY, full: false }
    }

    /// Whether lines were lost since the ring was made, modulo 2^32.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Acquire)
    }

    /// How many lines were lost that nobody was told of, modulo 2^32; they are told of now. Only the ring's one consumer may ask.
    pub fn take_lost(&self) -> u32 {
        let lost = self.lost();
        let told = self.told.load(Ordering::Relaxed);
        self.told.store(lost, Ordering::Relaxed);
        lost.wrapping_sub(told)
    }

    /// Whether the consumer has taken everything.
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::Acquire)
    }

    /// Takes the next complete line, without its newline, into `out`; returns its length. A line longer than `out`
    /// comes in pieces. `None` if there is no complete line. Only the ring's one consumer may ask.
    pub fn take(&self, out: &mut [u8]) -> Option<usize> {
        let head = self.head.load(Ordering::Acquire) as usize;
        let tail = self.tail.load(Ordering::Relaxed) as usize % CAPACITY;
        if head >= CAPACITY {
            return None; // A producer that writes this has no log.
        }
        let there = (head + CAPACITY - tail) % CAPACITY;
        let mut at = tail;
        for length in 0..=there.min(out.len()) {
            if length == there {
                return None;
            }
            let byte = self.data[at].load(Ordering::Relaxed);
            let newline = byte == b'\n';
            if newline || length == out.len() {
                let next = if newline { (at + 1) % CAPACITY } else { at };
                self.tail.store(next as u32, Ordering::Release);
                return Some(length);
            }
            out[length] = byte;
            at = if at + 1 == CAPACITY { 0 } else { at + 1 };
        }
        None
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

/// A line being written.
pub struct Line<'a> {
    ring: &'a Ring,
    at: usize,
    room: usize,
    full: bool,
}

impl Line<'_> {
    /// Adds bytes. A newline in them would end the line early.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.full || bytes.len() > self.room {
            self.full = true;
            return;
        }
        self.room -= bytes.len();
        for byte in bytes {
            self.ring.data[self.at].store(*byte, Ordering::Relaxed);
            self.at = if self.at + 1 == CAPACITY { 0 } else { self.at + 1 };
        }
    }

    /// Shows the line to the consumer, newline added. If it had no room the line is lost, and counted: false.
    pub fn finish(mut self) -> bool {
        self.push(b"\n");
        if self.full {
            let lost = self.ring.lost.load(Ordering::Relaxed);
            self.ring.lost.store(lost.wrapping_add(1), Ordering::Release);
        } else {
            self.ring.head.store(self.at as u32, Ordering::Release);
        }
        !self.full
    }
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(ring: &Ring, text: &str) -> bool {
        let mut line = ring.line();
        line.push(text.as_bytes());
        line.finish()
    }
    fn get(ring: &Ring, size: usize) -> Option<String> {
        let mut out = vec![0; size];
        let n = ring.take(&mut out)?;
        Some(String::from_utf8(out[..n].to_vec()).unwrap())
    }

    #[test]
    fn lines_come_out_as_they_went_in() {
        let ring = Ring::new();
        assert_eq!(get(&ring, 9), None);
        for round in 0..20_000u32 {
            let text = format!("line {round}");
            assert!(put(&ring, &text));
            assert!(put(&ring, ""));
            assert_eq!(get(&ring, 99), Some(text));
            assert_eq!(get(&ring, 99), Some(String::new()));
            assert_eq!(get(&ring, 99), None);
        }
        assert_eq!(ring.lost(), 0);
    }

    #[test]
    fn empty_is_when_all_is_taken() {
        let ring = Ring::new();
        assert!(ring.is_empty());
        put(&ring, "x");
        assert!(!ring.is_empty());
        get(&ring, 9);
        assert!(ring.is_empty());
    }

    #[test]
    fn an_unfinished_line_is_not_seen() {
        let ring = Ring::new();
        ring.line().push(b"half");
        assert_eq!(get(&ring, 9), None);
        put(&ring, "whole");
        assert_eq!(get(&ring, 9).as_deref(), Some("whole"));
    }

    #[test]
    fn full_rings_lose_whole_lines_and_count() {
        let ring = Ring::new();
        let mut kept = 0;
        while put(&ring, "0123456789") {
            kept += 1;
        }
        assert_eq!(kept, (CAPACITY - 1) / 11);
        assert!(!put(&ring, "0123456789"));
        assert_eq!(ring.lost(), 2);
        for _ in 0..kept {
            assert_eq!(get(&ring, 99).as_deref(), Some("0123456789"));
        }
        assert_eq!(get(&ring, 99), None);
        assert!(put(&ring, "room again"));
        assert_eq!(get(&ring, 99).as_deref(), Some("room again"));
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let ring = Ring::new();
        put(&ring, "abcdef");
        put(&ring, "abc");
        let pieces: Vec<_> = core::iter::from_fn(|| get(&ring, 3)).collect();
        // A line of just the size leaves its newline to the next piece's rule: nothing is lost or invented.
        assert_eq!(pieces.join("|"), "abc|def|abc");
    }

    #[test]
    fn a_hostile_producer_or_consumer_does_no_harm() {
        let ring = Ring::new();
        put(&ring, "x");
        for head in [CAPACITY as u32, u32::MAX, 1 << 31] {
            ring.head.store(head, Ordering::Relaxed);
            assert_eq!(get(&ring, 9), None);
        }
        ring.head.store(5, Ordering::Relaxed);
        for tail in [CAPACITY as u32, u32::MAX, 6] {
            ring.tail.store(tail, Ordering::Relaxed);
            put(&ring, "y");
            let _ = get(&ring, 9);
        }
    }
}
