// SPDX-License-Identifier: MIT OR Apache-2.0
//! More text than anybody wants: without an end of line first, then nothing but ends of lines, then bytes that aren't text.

use guest_runtime::checks::Checks;
use guest_runtime::{cpu, println};

const DATA: u16 = 0x3f8;

fn send(byte: u8) {
    // SAFETY: a UART writes no memory.
    unsafe { cpu::out8(DATA, byte) };
}

pub fn run(bytes: u64, checks: &mut Checks) {
    for count in 0..bytes {
        send(b'a' + (count % 26) as u8);
    }
    for _ in 0..bytes / 64 {
        send(b'\n');
    }
    // Terminal escapes and all other bytes above ASCII: the log must not pass them on to a terminal as they are.
    for byte in [0x1b, b'[', b'2', b'J', 0x07, 0x00, 0x7f].into_iter().chain(0x80..=0xff) {
        send(byte);
    }
    send(b'\n');
    println!("hostile: {bytes} bytes without an end of line, {} empty lines", bytes / 64);
    checks.report("uart-flood", Ok::<(), &str>(()));
}
