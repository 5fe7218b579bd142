// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a hostile guest would have its disk do: move blocks from and to memory that isn't the guest's. The verdict is the host's: it
//! looks at the log of DMA faults and at the disk.

use crate::command::Transfer;
use crate::controller::{Blocks, Controller};
use crate::layout::{FROM_HOST, STOLEN};
use guest_runtime::println;

/// Has a block read from the disk to `address`.
pub fn spoil(disk: &mut Controller, address: u64) {
    try_to_move(disk, Transfer::Read, FROM_HOST.first, address);
}

/// Has what lies at `address` written to the disk.
pub fn steal(disk: &mut Controller, address: u64) {
    try_to_move(disk, Transfer::Write, STOLEN.first, address);
}

fn try_to_move(disk: &mut Controller, direction: Transfer, first: u64, address: u64) {
    println!("nvme: {direction:?} of block {first}, RAM at {address:#x}");
    let statuses = disk.transfer(direction, &[Blocks { first, blocks: 1, address }]);
    println!("nvme: {direction:?} of block {first} has ended: {statuses:?}");
}
