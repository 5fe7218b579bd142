// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices as firmware leaves them: bus masters, and `edu` (QEMU's docs/specs/edu) with DMA under way.

use crate::memory::{port_read32, port_write32, register, set_register, set_wide_register};
use crate::plan::Function;

const COMMAND: u8 = 0x04;
const BAR0: u8 = 0x10;
/// Memory space and bus mastering.
const ENABLE: u32 = 0x6;
const EDU: u32 = 0x11e8_1234;
/// Where `edu` sees its own buffer.
const BUFFER: u64 = 0x4_0000;

fn select(function: Function, offset: u8) {
    let address = u32::from(function.bus) << 16 | u32::from(function.devfn) << 8 | u32::from(offset);
    port_write32(0xcf8, 1 << 31 | address);
}

fn read(function: Function, offset: u8) -> u32 {
    select(function, offset);
    port_read32(0xcfc)
}

/// Writes four bytes of configuration space.
pub fn write(function: Function, offset: u8, value: u32) {
    select(function, offset);
    port_write32(0xcfc, value);
}

/// Turns bus mastering and memory space on.
pub fn make_master(function: Function) {
    let command = read(function, COMMAND) & 0xffff;
    write(function, COMMAND, command | ENABLE);
}

/// Has an `edu` write `count` bytes of its buffer to `to`, 100 ms from now.
pub fn arm(function: Function, to: u64, count: u64) -> Result<(), &'static str> {
    if read(function, 0) != EDU {
        return Err("there is no edu where the command line says");
    }
    let registers = u64::from(read(function, BAR0) & !0xf);
    set_wide_register(registers + 0x80, BUFFER);
    set_wide_register(registers + 0x88, to);
    set_wide_register(registers + 0x90, count);
    // From the device to memory, and go.
    set_register(registers + 0x98, 3);
    if register(registers + 0x98) & 1 == 0 { Err("edu did not begin its DMA") } else { Ok(()) }
}
