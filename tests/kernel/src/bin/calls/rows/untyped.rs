// SPDX-License-Identifier: MIT OR Apache-2.0
//! Untyped memory: type, size argument, index and depth of the destination CNode, first slot, number.

use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::cap;
use crate::table::{
    DELETE_FIRST, DONE, Group, SlotArgument, argument, capability, good, group, memory, missing, range, row,
};
use crate::things::Thing::{
    self, CNode, DeviceUntyped, Frame, Nothing, OwnCNode, SmallUntyped, Untyped, UsedUntyped,
};
use crate::things::address;

const UNTYPED: u64 = 0;
const ENDPOINT: u64 = 2;
const CNODE: u64 = 4;
const CONTEXT: u64 = 5;
const PAGE: u64 = 10;
const NODE: &[Thing] = &[CNode];

/// The rows.
pub const ROWS: &[Group] = &[Group {
    slots: &[SlotArgument { root: Some(0), index: 2, source: false, zero_is_root: true }],
    // At depth 0, the capability itself isn't a CNode.
    caps: &[cap(0, &[tag::CNODE], missing(false, 0))],
    misuses: &[
        row("first type that isn't there", Untyped, &[20, 0, 0, 0, 12, 1], NODE, argument(0)),
        row("last type before the extensions", Untyped, &[63, 0, 0, 0, 12, 1], NODE, argument(0)),
        row("type behind the extensions", Untyped, &[65, 0, 0, 0, 12, 1], NODE, argument(0)),
        row("largest type", Untyped, &[u64::MAX, 0, 0, 0, 12, 1], NODE, argument(0)),
        row("type before size", Untyped, &[20, 64, 0, 0, 12, 1], NODE, argument(0)),
        row("2^64 bytes", Untyped, &[UNTYPED, 64, 0, 0, 12, 1], NODE, range(0, 47)),
        row("2^48 bytes", Untyped, &[UNTYPED, 48, 0, 0, 12, 1], NODE, range(0, 47)),
        row("2^43 slots", Untyped, &[CNODE, 43, 0, 0, 12, 1], NODE, range(0, 47)),
        row("context of 2^48 bytes", Untyped, &[CONTEXT, 48, 0, 0, 12, 1], NODE, range(0, 47)),
        row("size that doesn't count", Untyped, &[ENDPOINT, 64, 0, 0, 12, 1], NODE, range(0, 47)),
        row("largest size", Untyped, &[ENDPOINT, u64::MAX, 0, 0, 12, 1], NODE, range(0, 47)),
        row("CNode of 1 slot", Untyped, &[CNODE, 0, 0, 0, 12, 1], NODE, argument(1)),
        row("CNode of 2^30 slots", Untyped, &[CNODE, 30, 0, 0, 12, 1], NODE, argument(1)),
        row("untyped of 8 bytes", Untyped, &[UNTYPED, 3, 0, 0, 12, 1], NODE, argument(1)),
        row("context of 64 bytes", Untyped, &[CONTEXT, 6, 0, 0, 12, 1], NODE, argument(1)),
        row("size before root", Untyped, &[UNTYPED, 3, 0, 0, 12, 1], &[Frame], argument(1)),
        row("empty slot as CNode", Untyped, &[ENDPOINT, 0, 0, 4, 12, 1], NODE, missing(false, 4)),
        row("endpoint as CNode", Untyped, &[ENDPOINT, 0, 1, 4, 12, 1], NODE, missing(false, 4)),
        row("CNode before first slot", Untyped, &[ENDPOINT, 0, 1, 4, 16, 1], NODE, missing(false, 4)),
        row("first slot behind the end", Untyped, &[ENDPOINT, 0, 0, 0, 16, 1], NODE, range(0, 15)),
        row("largest first slot", Untyped, &[ENDPOINT, 0, 0, 0, u64::MAX, 1], NODE, range(0, 15)),
        row("first slot before number", Untyped, &[ENDPOINT, 0, 0, 0, 16, 0], NODE, range(0, 15)),
        row("no objects", Untyped, &[ENDPOINT, 0, 0, 0, 12, 0], NODE, range(1, 256)),
        row("257 objects", Untyped, &[ENDPOINT, 0, 0, 0, 12, 257], NODE, range(1, 256)),
        row("largest number", Untyped, &[ENDPOINT, 0, 0, 0, 12, u64::MAX], NODE, range(1, 256)),
        row("more objects than slots", Untyped, &[ENDPOINT, 0, 0, 0, 12, 5], NODE, range(1, 4)),
        row("the same in a CNode within", Untyped, &[ENDPOINT, 0, 8, 4, 15, 2], NODE, range(1, 1)),
        row("first slot in use", Untyped, &[ENDPOINT, 0, 0, 0, 11, 1], NODE, DELETE_FIRST),
        row("last slot in use", Untyped, &[ENDPOINT, 0, 0, 0, 0, 2], NODE, DELETE_FIRST),
        row("slots before memory", Untyped, &[UNTYPED, 20, 0, 0, 11, 1], NODE, DELETE_FIRST),
        row("more than there is", Untyped, &[UNTYPED, 17, 0, 0, 12, 1], NODE, memory(1 << 16)),
        row("three halves", Untyped, &[UNTYPED, 15, 0, 0, 12, 3], NODE, memory(1 << 16)),
        row("more than a page", SmallUntyped, &[PAGE, 0, 0, 0, 12, 2], NODE, memory(1 << 12)),
        row("CNode of 2^29 slots", Untyped, &[CNODE, 29, 0, 0, 12, 1], NODE, memory(1 << 16)),
        row("what is left is too little", UsedUntyped, &[PAGE, 0, 0, 0, 12, 1], NODE, memory(4096 - 16)),
        row("thread of device memory", DeviceUntyped, &[1, 0, 0, 0, 12, 1], NODE, argument(1)),
        row("CNode of device memory", DeviceUntyped, &[CNODE, 4, 0, 0, 12, 1], NODE, argument(1)),
        row("table of device memory", DeviceUntyped, &[12, 0, 0, 0, 12, 1], NODE, argument(1)),
        row("memory before the device's", DeviceUntyped, &[CNODE, 9, 0, 0, 12, 1], NODE, memory(1 << 13)),
    ],
    after: &[
        row("with the rest of the slots", Untyped, &[ENDPOINT, 0, 8, 4, 15, 1], NODE, DONE),
        row("and no more slots", Untyped, &[ENDPOINT, 0, 0, 0, 15, 1], NODE, DELETE_FIRST),
        // 48 bytes are taken, so the next place for a page is behind the first.
        row("15 pages are left of 16", Untyped, &[UNTYPED, 15, 0, 0, 0, 1], NODE, DONE),
        row("copy", CNode, &[5, 4, address(SmallUntyped), 64, 15], &[OwnCNode], DONE).of(label::CNODE_COPY),
        row(
            "nothing is left beside a copy",
            SmallUntyped,
            &[ENDPOINT, 0, 0, 0, address(Nothing), 1],
            &[OwnCNode],
            memory(0),
        ),
        row("second copy", CNode, &[5, 4], &[], DONE).of(label::CNODE_DELETE),
        row("all is left without it", SmallUntyped, &[ENDPOINT, 0, 0, 0, 5, 1], NODE, DONE),
        row("empty untyped", Nothing, &[ENDPOINT, 0, 0, 0, 0, 1], NODE, capability(0)),
    ],
    ..group(label::UNTYPED_RETYPE, good(Untyped, &[ENDPOINT, 0, 0, 0, 12, 3], NODE, DONE))
}];
