// SPDX-License-Identifier: MIT OR Apache-2.0
//! The root task's lines: on COM1 by itself until console-server has it, then through a ring as everybody's.

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use protocol::ring::Ring;
use sel4::cap;
use sel4::init_thread::slot;
use sel4_root_task::Com1;

use crate::raw;

/// Slot of COM1's ports, 0 without them.
static COM1: AtomicUsize = AtomicUsize::new(0);
/// Address of the ring, 0 while COM1 is the root task's own.
static RING: AtomicUsize = AtomicUsize::new(0);
/// Slot of console-server's notification.
static CONSOLE: AtomicUsize = AtomicUsize::new(0);

/// The root task's own priority.
const OWN: u64 = 255;
/// Just below console-server's: above every VMM's.
const BELOW_CONSOLE: u64 = 209;

/// Writes a line. The arguments are those of `format!`.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => { $crate::log::line(::core::format_args!($($argument)*)) };
}

/// Writes to COM1 from now on, by the ports in `slot`.
pub fn to_com1(slot: usize) {
    COM1.store(slot, Ordering::Relaxed);
    RING.store(0, Ordering::Relaxed);
    sel4_root_task::console::set(write);
}

/// Writes to the ring mapped at `address` from now on, and signals the notification in `console`.
pub fn to_ring(address: usize, console: usize) {
    RING.store(address, Ordering::Relaxed);
    CONSOLE.store(console, Ordering::Relaxed);
}

/// Writes a line with the root task's name before it.
pub fn line(text: fmt::Arguments) {
    match ring() {
        Some(ring) => {
            // What others wrote before comes before it.
            let own = slot::TCB.cap();
            let _ = own.tcb_set_priority(own, BELOW_CONSOLE);
            let _ = own.tcb_set_priority(own, OWN);
            let mut line = ring.line();
            let _ = fmt::write(&mut OneLine(|bytes: &[u8]| line.push(bytes)), text);
            line.finish();
            signal();
        }
        None => {
            write(b"[root-task] ");
            let _ = fmt::write(&mut OneLine(write), text);
            write(b"\n");
        }
    }
}

/// Keeps a line one line: texts of other parts are in it, which must not be able to forge another.
struct OneLine<W>(W);

impl<W: FnMut(&[u8])> fmt::Write for OneLine<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, part) in text.split(char::is_control).enumerate() {
            if number > 0 {
                (self.0)(b" ");
            }
            (self.0)(part.as_bytes());
        }
        Ok(())
    }
}

/// Whether console-server has taken all that was written.
pub fn is_drained() -> bool {
    ring().is_none_or(Ring::is_empty)
}

/// What panics print: bytes as they come.
fn write(bytes: &[u8]) {
    match ring() {
        Some(ring) => {
            for part in bytes.split(|byte| *byte == b'\n').filter(|part| !part.is_empty()) {
                let mut line = ring.line();
                line.push(part);
                line.finish();
            }
            signal();
        }
        None => {
            let slot = COM1.load(Ordering::Relaxed);
            if slot != 0 {
                Com1::from_cap(cap::IOPort::from_bits(slot as u64)).write(bytes);
            }
        }
    }
}

fn signal() {
    cap::Notification::from_bits(CONSOLE.load(Ordering::Relaxed) as u64).signal();
}

fn ring() -> Option<&'static Ring> {
    let address = RING.load(Ordering::Relaxed);
    #[allow(unsafe_code)]
    // SAFETY: `to_ring` is given the address of the ring that the root task mapped for itself, for ever.
    (address != 0).then(|| unsafe { raw::ring(address) })
}
