// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1, which QEMU takes from without being set up.

use crate::memory::port_write8;

const COM1: u16 = 0x3f8;

/// Writes a text.
pub fn text(text: &str) {
    text.bytes().for_each(|byte| port_write8(COM1, byte));
}

/// Writes a line.
pub fn line(what: &str) {
    text("[preloader] ");
    text(what);
    text("\r\n");
}
