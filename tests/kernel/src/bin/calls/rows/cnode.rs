// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations on slots.

use sel4::abi::LookupFailure;
use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DELETE_FIRST, DONE, Group, ILLEGAL, REVOKE_FIRST, Row, SlotArgument, cap, good, group,
    lookup, missing, range, row,
};
use crate::things::Thing::{self, CNode, Frame, OwnCNode, SmallUntyped};
use crate::things::{DEPTH as D, FREE, UNMAPPED_TABLE, USED_UNTYPED, address};

const ROOT: &[Thing] = &[CNode];
const ROOTS: &[Thing] = &[CNode, CNode];
/// The destination, below the invoked CNode.
const TO: SlotArgument = SlotArgument { root: None, index: 0, source: false, zero_is_root: false };
const FROM: SlotArgument = SlotArgument { root: Some(0), index: 2, source: true, zero_is_root: false };
const NO_ROOT: CapArgument = cap(0, &[tag::CNODE], lookup(true, LookupFailure::InvalidRoot));
/// A guard of 61 bits leaves no room for the index.
const LONG_GUARD: u64 = 61;
/// A guard of three bits.
const GUARD: u64 = 0b101 << 6 | 3;
/// Slots that are filled: a badged endpoint, a notification, a CNode, a thread, a reply object, an I/O space.
const ENDPOINT: u64 = 1;
const BADGED: u64 = 2;
const HALF: u64 = 3;
const NOTIFICATION: u64 = 4;
const NODE: u64 = 8;
const THREAD: u64 = 9;
const REPLY: u64 = 10;
const SPACE: u64 = 11;

const fn in_place(label: u64, slot: &'static [u64], misuses: &'static [Row], after: &'static [Row]) -> Group {
    Group { slots: &[TO], misuses, after, ..group(label, good(CNode, slot, &[], DONE)) }
}

const fn transfer(
    label: u64,
    words: &'static [u64],
    misuses: &'static [Row],
    after: &'static [Row],
) -> Group {
    Group {
        slots: &[TO, FROM],
        caps: &[NO_ROOT],
        misuses,
        after,
        ..group(label, good(CNode, words, ROOT, DONE))
    }
}

/// The rows.
pub const ROWS: &[Group] = &[
    in_place(label::CNODE_REVOKE, &[NODE, D], &[], &[row("an empty slot", CNode, &[0, D], &[], DONE)]),
    in_place(label::CNODE_DELETE, &[NODE, D], &[], &[row("an empty slot", CNode, &[0, D], &[], DONE)]),
    in_place(
        label::CNODE_CANCEL_BADGED_SENDS,
        &[BADGED, D],
        &[
            row("empty slot", CNode, &[0, D], &[], ILLEGAL),
            row("write right only", CNode, &[HALF, D], &[], ILLEGAL),
            row("notification", CNode, &[NOTIFICATION, D], &[], ILLEGAL),
            row("thread", CNode, &[THREAD, D], &[], ILLEGAL),
        ],
        &[row("without a badge", CNode, &[ENDPOINT, D], &[], DONE)],
    ),
    transfer(
        label::CNODE_COPY,
        &[FREE, D, ENDPOINT, D, 15],
        &[
            row("destination in use", CNode, &[BADGED, D, ENDPOINT, D, 15], ROOT, DELETE_FIRST),
            row("source empty", CNode, &[FREE, D, 0, D, 15], ROOT, missing(true, D)),
            row("source empty, deeper", CNode, &[FREE, D, NODE << D, 2 * D, 15], ROOT, missing(true, 2 * D)),
            row("table that isn't mapped", CNode, &[FREE, D, UNMAPPED_TABLE, D, 15], ROOT, ILLEGAL),
            row("memory that was used", CNode, &[FREE, D, USED_UNTYPED, D, 15], ROOT, REVOKE_FIRST),
            row("interrupt control", CNode, &[FREE, D, 4, 64, 15], &[OwnCNode], ILLEGAL),
            row("port control", CNode, &[FREE, D, 7, 64, 15], &[OwnCNode], ILLEGAL),
            row("destination before root", CNode, &[FREE, 0, ENDPOINT, D, 15], &[Frame], range(1, 64)),
            row("use before root", CNode, &[BADGED, D, ENDPOINT, D, 15], &[Frame], DELETE_FIRST),
            row("use before source", CNode, &[BADGED, D, 0, D, 15], ROOT, DELETE_FIRST),
            row("use before rights", CNode, &[BADGED, D, ENDPOINT, D], ROOT, DELETE_FIRST),
            row("source before rights", CNode, &[FREE, D, 0, D], ROOT, missing(true, D)),
        ],
        &[
            row("in use now", CNode, &[FREE, D, ENDPOINT, D, 15], ROOT, DELETE_FIRST),
            row("memory", CNode, &[FREE + 1, D, address(SmallUntyped), 64, 15], &[OwnCNode], DONE),
            row(
                "that again",
                CNode,
                &[FREE + 2, D, address(SmallUntyped), 64, 15],
                &[OwnCNode],
                REVOKE_FIRST,
            ),
            row("its copy", CNode, &[FREE + 2, D, FREE + 1, D, 15], ROOT, DONE),
        ],
    ),
    transfer(
        label::CNODE_MINT,
        &[FREE, D, ENDPOINT, D, 15, 9],
        &[
            row("destination in use", CNode, &[BADGED, D, ENDPOINT, D, 15, 9], ROOT, DELETE_FIRST),
            row("source empty", CNode, &[FREE, D, 0, D, 15, 9], ROOT, missing(true, D)),
            row("badge upon a badge", CNode, &[FREE, D, BADGED, D, 15, 9], ROOT, ILLEGAL),
            row("no badge upon a badge", CNode, &[FREE, D, BADGED, D, 15, 0], ROOT, ILLEGAL),
            row("guard that is too long", CNode, &[FREE, D, NODE, D, 15, LONG_GUARD], ROOT, ILLEGAL),
            row("table that isn't mapped", CNode, &[FREE, D, UNMAPPED_TABLE, D, 15, 0], ROOT, ILLEGAL),
            row("memory that was used", CNode, &[FREE, D, USED_UNTYPED, D, 15, 0], ROOT, REVOKE_FIRST),
            row("interrupt control", CNode, &[FREE, D, 4, 64, 15, 0], &[OwnCNode], ILLEGAL),
            row("port control", CNode, &[FREE, D, 7, 64, 15, 0], &[OwnCNode], ILLEGAL),
            row("I/O space from a space", CNode, &[FREE, D, SPACE, D, 15, 201 << 16 | 0xfb], ROOT, ILLEGAL),
            row("I/O space of no domain", CNode, &[FREE, D, 8, 64, 15, 0xfb], &[OwnCNode], ILLEGAL),
            row("use before badge", CNode, &[BADGED, D, ENDPOINT, D, 15], ROOT, DELETE_FIRST),
            row("source before badge", CNode, &[FREE, D, 0, D], ROOT, missing(true, D)),
        ],
        &[row("guard", CNode, &[FREE + 1, D, NODE, D, 15, GUARD], ROOT, DONE)],
    ),
    transfer(
        label::CNODE_MOVE,
        &[FREE, D, UNMAPPED_TABLE, D],
        &[
            row("destination in use", CNode, &[BADGED, D, ENDPOINT, D], ROOT, DELETE_FIRST),
            row("upon itself", CNode, &[ENDPOINT, D, ENDPOINT, D], ROOT, DELETE_FIRST),
            row("source empty", CNode, &[FREE, D, 0, D], ROOT, missing(true, D)),
        ],
        &[row("source empty now", CNode, &[UNMAPPED_TABLE, D, UNMAPPED_TABLE, D], ROOT, missing(true, D))],
    ),
    transfer(
        label::CNODE_MUTATE,
        &[FREE, D, NODE, D, GUARD],
        &[
            row("destination in use", CNode, &[BADGED, D, NODE, D, GUARD], ROOT, DELETE_FIRST),
            row("source empty", CNode, &[FREE, D, 0, D, 0], ROOT, missing(true, D)),
            row("badge", CNode, &[FREE, D, ENDPOINT, D, 9], ROOT, ILLEGAL),
            row("badge 0", CNode, &[FREE, D, ENDPOINT, D, 0], ROOT, ILLEGAL),
            row("badge upon a badge", CNode, &[FREE, D, BADGED, D, 9], ROOT, ILLEGAL),
            row("notification's badge", CNode, &[FREE, D, NOTIFICATION, D, 9], ROOT, ILLEGAL),
            row("guard that is too long", CNode, &[FREE, D, NODE, D, LONG_GUARD], ROOT, ILLEGAL),
            row("I/O space", CNode, &[FREE, D, SPACE, D, 201 << 16 | 0xfb], ROOT, ILLEGAL),
            row("use before guard", CNode, &[BADGED, D, NODE, D], ROOT, DELETE_FIRST),
        ],
        &[row("what takes no word", CNode, &[FREE + 1, D, THREAD, D, 5], ROOT, DONE)],
    ),
    Group {
        slots: &[
            TO,
            SlotArgument { root: Some(0), index: 3, source: true, zero_is_root: false },
            SlotArgument { root: Some(1), index: 6, source: true, zero_is_root: false },
        ],
        caps: &[NO_ROOT, cap(1, &[tag::CNODE], lookup(true, LookupFailure::InvalidRoot))],
        misuses: &[
            row("source as pivot", CNode, &[FREE, D, 0, THREAD, D, 0, THREAD, D], ROOTS, ILLEGAL),
            row("destination as pivot", CNode, &[THREAD, D, 0, THREAD, D, 0, REPLY, D], ROOTS, ILLEGAL),
            row("destination in use", CNode, &[ENDPOINT, D, 0, THREAD, D, 0, REPLY, D], ROOTS, DELETE_FIRST),
            row("source empty", CNode, &[FREE, D, 0, THREAD, D, 0, 0, D], ROOTS, missing(true, D)),
            row("pivot empty", CNode, &[FREE, D, 0, 0, D, 0, REPLY, D], ROOTS, missing(false, D)),
            row("pivot and source empty", CNode, &[FREE, D, 0, 0, D, 0, 13, D], ROOTS, missing(true, D)),
            row("same before use", CNode, &[ENDPOINT, D, 0, THREAD, D, 0, THREAD, D], ROOTS, ILLEGAL),
            row("use before empty", CNode, &[ENDPOINT, D, 0, 0, D, 0, 13, D], ROOTS, DELETE_FIRST),
            row("badge of the source", CNode, &[FREE, D, 0, THREAD, D, 7, ENDPOINT, D], ROOTS, ILLEGAL),
            row("badge of the pivot", CNode, &[FREE, D, 7, ENDPOINT, D, 0, THREAD, D], ROOTS, ILLEGAL),
            row("guard of the source", CNode, &[FREE, D, 0, THREAD, D, LONG_GUARD, NODE, D], ROOTS, ILLEGAL),
            row("guard of the pivot", CNode, &[FREE, D, LONG_GUARD, NODE, D, 0, THREAD, D], ROOTS, ILLEGAL),
            row(
                "source's address before pivot's",
                CNode,
                &[FREE, D, 0, THREAD, 0, 0, REPLY, D],
                &[CNode, Frame],
                lookup(true, LookupFailure::InvalidRoot),
            ),
        ],
        after: &[row("source is destination", CNode, &[THREAD, D, 0, FREE, D, 0, THREAD, D], ROOTS, DONE)],
        ..group(label::CNODE_ROTATE, good(CNode, &[FREE, D, 0, THREAD, D, 0, REPLY, D], ROOTS, DONE))
    },
];
