// SPDX-License-Identifier: MIT OR Apache-2.0
//! A remapping unit as firmware leaves it that remaps for itself (VT-d specification 4.1, sections 6.5.2, 6.6, 9.1 and 9.3), and one that is none.

use crate::memory::{register, set_register, set_wide_register, write};
use crate::plan::Function;

/// Registers.
const COMMAND: u64 = 0x18;
const STATUS: u64 = 0x1c;
const ROOT: u64 = 0x20;
const QUEUE_TAIL: u64 = 0x88;
const QUEUE: u64 = 0x90;
/// Bits of command and status.
const TRANSLATION: u32 = 1 << 31;
const ROOT_TABLE: u32 = 1 << 30;
const QUEUED: u32 = 1 << 26;

const PAGE: usize = 4096;

#[repr(C, align(4096))]
struct Tables {
    root: [[u64; 2]; 256],
    context: [[u64; 2]; 256],
    queue: [[u64; 2]; 256],
    status: u64,
}

/// Nobody but this program and the unit has them.
static mut TABLES: Tables =
    Tables { root: [[0; 2]; 256], context: [[0; 2]; 256], queue: [[0; 2]; 256], status: 0 };

/// Turns the translation of the unit at `base` on, with tables that let the DMA of these devices pass as it is and no other's.
pub fn leave_on(base: u64, devices: impl Iterator<Item = Function>) -> Result<(), &'static str> {
    let tables = &raw mut TABLES as u64;
    let (context, queue) = (tables + PAGE as u64, tables + 2 * PAGE as u64);
    let status = tables + 3 * PAGE as u64;
    for device in devices {
        // Present; all buses have the one context table.
        write(tables + 16 * u64::from(device.bus), context | 1);
        // Present, untranslated; domain 1, 39 bits.
        write(context + 16 * u64::from(device.devfn), 1u64 | 2 << 2);
        write(context + 16 * u64::from(device.devfn) + 8, 1u64 | 1 << 8);
    }
    // A wait, which writes a 1: a queue is only turned off again after one.
    write(queue, 5u64 | 1 << 5 | 1 << 32);
    write(queue + 8, status);

    set_wide_register(base + QUEUE_TAIL, 0);
    set_wide_register(base + QUEUE, queue);
    command(base, 0, QUEUED)?;
    set_wide_register(base + QUEUE_TAIL, 16);
    until(|| register(status) == 1)?;
    set_wide_register(base + ROOT, tables);
    command(base, QUEUED, ROOT_TABLE)?;
    command(base, QUEUED, TRANSLATION)
}

fn command(base: u64, lasting: u32, bit: u32) -> Result<(), &'static str> {
    set_register(base + COMMAND, lasting | bit);
    until(|| register(base + STATUS) & bit != 0)
}

fn until(done: impl Fn() -> bool) -> Result<(), &'static str> {
    (0..1 << 20).any(|_| done()).then_some(()).ok_or("the remapping unit does not do what it is told")
}

/// Copies the registers of the unit at `base` to memory, where nothing comes of what is written to them.
pub fn forge(base: u64, at: u64) {
    for offset in (0..PAGE as u64).step_by(4) {
        set_register(at + offset, register(base + offset));
    }
}
