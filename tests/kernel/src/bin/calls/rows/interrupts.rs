// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts.

use sel4::abi::LookupFailure;
use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DELETE_FIRST, DONE, Group, ILLEGAL, REVOKE_FIRST, cap, capability, good, group, lookup,
    range, row, slot,
};
use crate::things::Thing::{
    self, CNode, Frame, IrqControl, IrqHandler, MessageHandler, Notification, ReadNotification,
    WriteNotification,
};
use crate::things::{DEPTH as D, FREE, LAST_HANDLE, NO_HANDLE};

const ROOT: &[Thing] = &[CNode];
const NO_ROOT: CapArgument = cap(0, &[tag::CNODE], lookup(false, LookupFailure::InvalidRoot));

/// The rows.
pub const ROWS: &[Group] = &[
    // Of interrupt controllers without an I/O APIC.
    Group {
        short: ILLEGAL,
        misuses: &[row("largest", IrqControl, &[u64::MAX, FREE, D], ROOT, ILLEGAL)],
        ..group(label::IRQ_ISSUE_IRQ_HANDLER, good(IrqControl, &[4, FREE, D], ROOT, ILLEGAL))
    },
    group(label::IRQ_ACK_IRQ, good(IrqHandler, &[], &[], DONE)),
    Group {
        caps: &[cap(0, &[tag::NOTIFICATION], capability(1))],
        misuses: &[row("without the write right", IrqHandler, &[], &[ReadNotification], capability(1))],
        after: &[row("another", IrqHandler, &[], &[WriteNotification], DONE)],
        ..group(label::IRQ_SET_IRQ_HANDLER, good(IrqHandler, &[], &[Notification], DONE))
    },
    Group {
        after: &[row("again", IrqHandler, &[], &[], DONE)],
        ..group(label::IRQ_CLEAR_IRQ_HANDLER, good(IrqHandler, &[], &[], DONE))
    },
    // Index, depth, I/O APIC, pin, level-triggered, low, number.
    Group {
        slots: &[slot(0, 0)],
        caps: &[NO_ROOT],
        misuses: &[
            row("number 108", IrqControl, &[FREE, D, 0, 21, 0, 0, 108], ROOT, range(0, 107)),
            row("largest number", IrqControl, &[FREE, D, 0, 21, 0, 0, u64::MAX], ROOT, range(0, 107)),
            row("number in use", IrqControl, &[FREE, D, 0, 21, 0, 0, 15], ROOT, REVOKE_FIRST),
            row("slot in use", IrqControl, &[1, D, 0, 21, 0, 0, 14], ROOT, DELETE_FIRST),
            row("I/O APIC 1", IrqControl, &[FREE, D, 1, 21, 0, 0, 14], ROOT, range(0, 0)),
            row("largest I/O APIC", IrqControl, &[FREE, D, u64::MAX, 21, 0, 0, 14], ROOT, range(0, 0)),
            row("pin 24", IrqControl, &[FREE, D, 0, 24, 0, 0, 14], ROOT, range(0, 23)),
            row("largest pin", IrqControl, &[FREE, D, 0, u64::MAX, 0, 0, 14], ROOT, range(0, 23)),
            row("trigger 2", IrqControl, &[FREE, D, 0, 21, 2, 0, 14], ROOT, range(0, 1)),
            row("polarity 2", IrqControl, &[FREE, D, 0, 21, 0, 2, 14], ROOT, range(0, 1)),
            row("pin in use", IrqControl, &[FREE, D, 0, 20, 0, 0, 14], ROOT, REVOKE_FIRST),
            row("number before root", IrqControl, &[FREE, D, 0, 21, 0, 0, 108], &[Frame], range(0, 107)),
            row("use before root", IrqControl, &[FREE, D, 0, 21, 0, 0, 15], &[Frame], REVOKE_FIRST),
            row("slot before I/O APIC", IrqControl, &[1, D, 1, 24, 2, 2, 14], ROOT, DELETE_FIRST),
            row("I/O APIC before pin", IrqControl, &[FREE, D, 1, 24, 2, 2, 14], ROOT, range(0, 0)),
            row("pin before trigger", IrqControl, &[FREE, D, 0, 24, 2, 2, 14], ROOT, range(0, 23)),
        ],
        after: &[
            row("again", IrqControl, &[FREE + 1, D, 0, 22, 0, 0, 14], ROOT, REVOKE_FIRST),
            row("level-triggered, low", IrqControl, &[FREE + 1, D, 0, 23, 1, 1, 107], ROOT, DONE),
        ],
        ..group(label::IRQ_CONTROL_GET_IOAPIC, good(IrqControl, &[FREE, D, 0, 21, 0, 0, 14], ROOT, DONE))
    },
    // Index, depth, bus, device, function, handle, number.
    Group {
        slots: &[slot(0, 0)],
        caps: &[NO_ROOT],
        misuses: &[
            row("number 108", IrqControl, &[FREE, D, 0, 31, 3, 101, 108], ROOT, range(0, 107)),
            row("number in use", IrqControl, &[FREE, D, 0, 31, 3, 101, 50], ROOT, REVOKE_FIRST),
            row("slot in use", IrqControl, &[1, D, 0, 31, 3, 101, 51], ROOT, DELETE_FIRST),
            row("bus 256", IrqControl, &[FREE, D, 256, 31, 3, 101, 51], ROOT, range(0, 255)),
            row("largest bus", IrqControl, &[FREE, D, u64::MAX, 31, 3, 101, 51], ROOT, range(0, 255)),
            row("device 32", IrqControl, &[FREE, D, 0, 32, 3, 101, 51], ROOT, range(0, 31)),
            row("function 8", IrqControl, &[FREE, D, 0, 31, 8, 101, 51], ROOT, range(0, 7)),
            row(
                "handle behind the table",
                IrqControl,
                &[FREE, D, 0, 31, 3, NO_HANDLE, 51],
                ROOT,
                range(0, LAST_HANDLE),
            ),
            row(
                "largest handle",
                IrqControl,
                &[FREE, D, 0, 31, 3, u64::MAX, 51],
                ROOT,
                range(0, LAST_HANDLE),
            ),
            row("handle in use", IrqControl, &[FREE, D, 0, 31, 3, 100, 51], ROOT, REVOKE_FIRST),
            row("handle of a pin", IrqControl, &[FREE, D, 0, 31, 3, 0, 51], ROOT, REVOKE_FIRST),
            row("number before root", IrqControl, &[FREE, D, 0, 31, 3, 101, 108], &[Frame], range(0, 107)),
            row("use before root", IrqControl, &[FREE, D, 0, 31, 3, 101, 50], &[Frame], REVOKE_FIRST),
            row("slot before bus", IrqControl, &[1, D, 256, 32, 8, 0, 51], ROOT, DELETE_FIRST),
            row("bus before device", IrqControl, &[FREE, D, 256, 32, 8, 0, 51], ROOT, range(0, 255)),
            row("device before function", IrqControl, &[FREE, D, 0, 32, 8, 0, 51], ROOT, range(0, 31)),
            row("function before handle", IrqControl, &[FREE, D, 0, 31, 8, 0, 51], ROOT, range(0, 7)),
        ],
        after: &[row("again", IrqControl, &[FREE + 1, D, 0, 31, 3, 101, 52], ROOT, REVOKE_FIRST)],
        ..group(label::IRQ_CONTROL_GET_MSI, good(IrqControl, &[FREE, D, 0, 31, 3, 101, 51], ROOT, DONE))
    },
    Group {
        misuses: &[
            row("of a pin", IrqHandler, &[], &[], ILLEGAL),
            row("by a copy", Thing::MessageHandlerCopy, &[], &[], ILLEGAL),
        ],
        ..group(label::IRQ_HANDLER_BLOCK, good(MessageHandler, &[], &[], DONE))
    },
    Group {
        misuses: &[
            row("of a pin", IrqHandler, &[], &[], ILLEGAL),
            row("by a copy", Thing::MessageHandlerCopy, &[], &[], ILLEGAL),
        ],
        ..group(label::IRQ_HANDLER_UNBLOCK, good(MessageHandler, &[], &[], DONE))
    },
];
