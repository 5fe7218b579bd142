// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads, writes and compares. Completions are waited for without end, by their interrupts only.

use crate::command::{Status, Transfer};
use crate::controller::{Blocks, Controller};
use crate::layout::{self, Extent, pattern};
use alloc::{format, string::String, vec, vec::Vec};
use guest_runtime::checks::Checks;
use guest_runtime::dma::Buffer;
use guest_runtime::irq;

/// What lies in RAM where nothing was read to.
const UNTOUCHED: u8 = 0xa5;

/// Runs all of it.
pub fn run(disk: &mut Controller, checks: &mut Checks) {
    let last = Extent { first: disk.blocks() - 1, blocks: 1, seed: layout::LAST_SEED };
    checks.report("reads-what-the-host-wrote", compare(disk, layout::FROM_HOST, 0));
    checks.report("one-block", write_and_compare(disk, layout::ONE, 0));
    checks.report("across-pages", write_and_compare(disk, layout::ACROSS_PAGES, 2048));
    checks.report("with-a-list-of-pages", write_and_compare(disk, layout::LONG, 512));
    checks.report("last-block", write_and_compare(disk, last, 0));
    checks.report("sixteen-at-once", together(disk));
    checks.report("beyond-the-end-is-an-error", beyond(disk));
    checks.report("works-after-an-error", compare(disk, layout::ONE, 0));
    checks.report("two-hundred-in-a-row", one_message_each(disk));
    let (admin, io) = disk.vectors();
    if admin != io {
        // Two identifications and two queues, each waited for by itself.
        checks.equal("admin-queue-has-its-own-messages", irq::count(admin), 4);
    }
    checks.report("flush", disk.flush().map_err(|status| format!("{status}")));
    checks.report("shutdown", disk.shut_down());
    checks.equal("no-unexpected-interrupt", irq::unexpected(), 0);
}

/// Moves an extent from or to `offset` of a buffer.
fn transfer(
    disk: &mut Controller,
    direction: Transfer,
    extent: Extent,
    buffer: &Buffer,
    offset: usize,
) -> Result<(), String> {
    let address = buffer.address() + offset as u64;
    let blocks = Blocks { first: extent.first, blocks: extent.blocks as u16, address };
    match disk.transfer(direction, &[blocks])[..] {
        [status] if status.is_success() => Ok(()),
        ref other => Err(format!("{direction:?} at block {}: {other:?}", extent.first)),
    }
}

/// Reads an extent, which must hold its pattern; RAM before and behind it stays as it was.
fn compare(disk: &mut Controller, extent: Extent, offset: usize) -> Result<(), String> {
    const MARGIN: usize = 4096;
    let bytes = extent.blocks as usize * disk.block_bytes();
    if bytes as u64 > disk.longest_transfer() {
        return Err(format!("{bytes} bytes are too many for this controller"));
    }
    let start = MARGIN + offset;
    let mut buffer = Buffer::new(start + bytes + MARGIN);
    buffer.write(0, &vec![UNTOUCHED; buffer.bytes()]);
    transfer(disk, Transfer::Read, extent, &buffer, start)?;
    let mut expected = vec![UNTOUCHED; buffer.bytes()];
    expected[start..start + bytes].copy_from_slice(&pattern(extent.seed, bytes));
    let mut found = vec![0; buffer.bytes()];
    buffer.read(0, &mut found);
    match found.iter().zip(&expected).position(|(found, expected)| found != expected) {
        Some(at) => Err(format!(
            "byte {} from the start of block {} is {:#x}, not {:#x}",
            at as isize - start as isize,
            extent.first,
            found[at],
            expected[at]
        )),
        None => Ok(()),
    }
}

/// Writes an extent's pattern from RAM, which stays as it was, and reads it back to other RAM.
fn write_and_compare(disk: &mut Controller, extent: Extent, offset: usize) -> Result<(), String> {
    let data = pattern(extent.seed, extent.blocks as usize * disk.block_bytes());
    let mut buffer = Buffer::new(offset + data.len());
    buffer.write(offset, &data);
    transfer(disk, Transfer::Write, extent, &buffer, offset)?;
    compare(disk, extent, offset)
}

/// As many commands in the queue as the layout says, in both directions.
fn together(disk: &mut Controller) -> Result<(), String> {
    let extents: Vec<_> = (0..layout::TOGETHER).map(layout::together).collect();
    let bytes = extents[0].blocks as usize * disk.block_bytes();
    let (mut from, to) = (Buffer::new(bytes * extents.len()), Buffer::new(bytes * extents.len()));
    for (index, extent) in extents.iter().enumerate() {
        from.write(index * bytes, &pattern(extent.seed, bytes));
    }
    for (direction, buffer) in [(Transfer::Write, &from), (Transfer::Read, &to)] {
        let place = |(index, extent): (usize, &Extent)| Blocks {
            first: extent.first,
            blocks: extent.blocks as u16,
            address: buffer.address() + (index * bytes) as u64,
        };
        let commands: Vec<_> = extents.iter().enumerate().map(place).collect();
        let statuses = disk.transfer(direction, &commands);
        if let Some(index) = statuses.iter().position(|status| !status.is_success()) {
            return Err(format!("{direction:?} number {index}: {}", statuses[index]));
        }
    }
    let mut back = vec![0; bytes * extents.len()];
    to.read(0, &mut back);
    for (extent, found) in extents.iter().zip(back.chunks_exact(bytes)) {
        if found != pattern(extent.seed, bytes) {
            return Err(format!("other bytes came back at block {}", extent.first));
        }
    }
    Ok(())
}

/// The controller refuses a block that isn't there.
fn beyond(disk: &mut Controller) -> Result<(), String> {
    let buffer = Buffer::new(disk.block_bytes());
    let blocks = Blocks { first: disk.blocks(), blocks: 1, address: buffer.address() };
    match disk.transfer(Transfer::Read, &[blocks])[..] {
        [Status::OUT_OF_RANGE] => Ok(()),
        ref other => Err(format!("{other:?}, not {}", Status::OUT_OF_RANGE)),
    }
}

/// Commands that are waited for one by one, past the end of the queue: each sends its message.
fn one_message_each(disk: &mut Controller) -> Result<(), String> {
    const COMMANDS: u64 = 200;
    let (_, io) = disk.vectors();
    let before = irq::count(io);
    for _ in 0..COMMANDS {
        compare(disk, layout::ONE, 0)?;
    }
    match irq::count(io) - before {
        COMMANDS => Ok(()),
        messages => Err(format!("{messages} messages for {COMMANDS} commands")),
    }
}
