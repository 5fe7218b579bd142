// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O ports.

use sel4::abi::LookupFailure;
use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    DELETE_FIRST, DONE, Gives, Group, ILLEGAL, REVOKE_FIRST, argument, cap, good, group, lookup, row, slot,
};
use crate::things::Thing::{self, CNode, Frame, PortControl, Ports};
use crate::things::{DEPTH as D, FREE};

const ROOT: &[Thing] = &[CNode];

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        slots: &[slot(0, 2)],
        caps: &[cap(0, &[tag::CNODE], lookup(false, LookupFailure::InvalidRoot))],
        misuses: &[
            row("last before first", PortControl, &[0x2000, 0x1fff, FREE, D], ROOT, argument(1)),
            row("issued", PortControl, &[0x1000, 0x100f, FREE, D], ROOT, REVOKE_FIRST),
            row("last one issued", PortControl, &[0x0ff0, 0x1000, FREE, D], ROOT, REVOKE_FIRST),
            row("first one issued", PortControl, &[0x100f, 0x1010, FREE, D], ROOT, REVOKE_FIRST),
            row("some in the middle", PortControl, &[0x0ff0, 0x1100, FREE, D], ROOT, REVOKE_FIRST),
            row("slot in use", PortControl, &[0x2000, 0x200f, 1, D], ROOT, DELETE_FIRST),
            row("order before issued", PortControl, &[0x100f, 0x1000, FREE, D], ROOT, argument(1)),
            row("issued before root", PortControl, &[0x1000, 0x100f, FREE, D], &[Frame], REVOKE_FIRST),
            row("issued before depth", PortControl, &[0x1000, 0x100f, FREE, 0], ROOT, REVOKE_FIRST),
        ],
        after: &[
            row("again", PortControl, &[0x2000, 0x200f, FREE + 1, D], ROOT, REVOKE_FIRST),
            row("a neighbour", PortControl, &[0x2010, 0x2010, FREE + 1, D], ROOT, DONE),
        ],
        ..group(label::X86_IO_PORT_CONTROL_ISSUE, good(PortControl, &[0x2000, 0x200f, FREE, D], ROOT, DONE))
    },
    Group {
        misuses: &[
            row("below", Ports, &[0x0fff], &[], ILLEGAL),
            row("above", Ports, &[0x1010], &[], ILLEGAL),
            row("last port", Ports, &[0xffff], &[], ILLEGAL),
        ],
        after: &[row("last", Ports, &[0x100f], &[], Gives::Words(1))],
        ..group(label::X86_IO_PORT_IN8, good(Ports, &[0x1000], &[], Gives::Words(1)))
    },
    Group {
        misuses: &[
            row("half below", Ports, &[0x0fff], &[], ILLEGAL),
            row("half above", Ports, &[0x100f], &[], ILLEGAL),
            row("last port", Ports, &[0xffff], &[], ILLEGAL),
        ],
        after: &[row("last", Ports, &[0x100e], &[], Gives::Words(1))],
        ..group(label::X86_IO_PORT_IN16, good(Ports, &[0x1000], &[], Gives::Words(1)))
    },
    Group {
        misuses: &[
            row("three below", Ports, &[0x0ffd], &[], ILLEGAL),
            row("one above", Ports, &[0x100d], &[], ILLEGAL),
            row("last port", Ports, &[0xffff], &[], ILLEGAL),
        ],
        after: &[row("last", Ports, &[0x100c], &[], Gives::Words(1))],
        ..group(label::X86_IO_PORT_IN32, good(Ports, &[0x1000], &[], Gives::Words(1)))
    },
    Group {
        misuses: &[
            row("below", Ports, &[0x0fff, 0], &[], ILLEGAL),
            row("above", Ports, &[0x1010, 0], &[], ILLEGAL),
            row("last port", Ports, &[0xffff, 0], &[], ILLEGAL),
        ],
        ..group(label::X86_IO_PORT_OUT8, good(Ports, &[0x1000, 0], &[], DONE))
    },
    Group {
        misuses: &[
            row("half below", Ports, &[0x0fff, 0], &[], ILLEGAL),
            row("half above", Ports, &[0x100f, 0], &[], ILLEGAL),
            row("last port", Ports, &[0xffff, 0], &[], ILLEGAL),
        ],
        ..group(label::X86_IO_PORT_OUT16, good(Ports, &[0x1000, 0], &[], DONE))
    },
    Group {
        misuses: &[
            row("three below", Ports, &[0x0ffd, 0], &[], ILLEGAL),
            row("one above", Ports, &[0x100d, 0], &[], ILLEGAL),
            row("last port", Ports, &[0xffff, 0], &[], ILLEGAL),
        ],
        ..group(label::X86_IO_PORT_OUT32, good(Ports, &[0x1000, 0], &[], DONE))
    },
];
