// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1, for the kernel's own lines.

use super::port::{port_read, port_write};

const COM1: u16 = 0x3f8;

/// 115200 baud, 8 data bits, FIFOs on, no interrupts.
pub fn init() {
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 3)] {
        port_write(COM1 + register, 1, value);
    }
}

/// Writes a byte; a line feed gets its carriage return. Waits for the transmitter, a bounded time: a machine may have no COM1.
pub fn put(byte: u8) {
    if byte == b'\n' {
        put(b'\r');
    }
    for _ in 0..100_000 {
        if port_read(COM1 + 5, 1) & 0x20 != 0 {
            break;
        }
    }
    port_write(COM1, 1, u32::from(byte));
}
