// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part's log: lines into its ring, and a signal to console-server. It never waits; what doesn't fit is counted.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use protocol::ring::{Line, Ring};
use protocol::start::RangeKind;
use sel4::cap;

/// The address of the part's ring (`docs/architecture.md`, "Memory").
const RING: usize = 0x1020_0000;

/// Capability address of console-server's notification, 0 as long as there is none.
static CONSOLE: AtomicU64 = AtomicU64::new(0);

/// Writes a line into the part's log. The arguments are those of `format!`.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(::core::format_args!($($argument)*)) };
}

pub(crate) fn start(part: &crate::Part) {
    if let Some(range) = part.find(RangeKind::ConsoleNotification) {
        CONSOLE.store(range.first, Ordering::Relaxed);
    }
}

/// Writes a line. Newlines in the text make several of it.
pub fn line(text: fmt::Arguments) {
    let mut lines = Lines(Some(ring().line()));
    let _ = fmt::write(&mut lines, text);
    lines.next();
    tell();
}

/// Writes a line of raw bytes, a guest's for example. Newlines in it make several.
pub fn bytes(text: &[u8]) {
    for part in text.split(|byte| *byte == b'\n') {
        let mut line = ring().line();
        line.push(part);
        line.finish();
    }
    tell();
}

fn tell() {
    let console = CONSOLE.load(Ordering::Relaxed);
    if console != 0 {
        cap::Notification::from_bits(console).signal();
    }
}

fn ring() -> &'static Ring {
    // SAFETY: the root task maps 16 zeroed pages there before the part starts, as long as it lives. A ring is all
    // atomics, so console-server may write its side. The part has one thread, which is the one producer.
    unsafe { &*(RING as *const Ring) }
}

struct Lines(Option<Line<'static>>);

impl Lines {
    fn next(&mut self) {
        if let Some(line) = self.0.take() {
            line.finish();
        }
    }
}

impl fmt::Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, part) in text.split('\n').enumerate() {
            if number > 0 {
                self.next();
            }
            self.0.get_or_insert_with(|| ring().line()).push(part.as_bytes());
        }
        Ok(())
    }
}
