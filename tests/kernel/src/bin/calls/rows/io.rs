// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O spaces: of three levels, where the table is judged.

use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DELETE_FIRST, DONE, Group, ILLEGAL, MISALIGNED, REVOKE_FIRST, Row, argument, cap,
    capability, good, group, level, row,
};
use crate::things::Thing::{
    self, CNode, DeviceFrame, Frame, IoMaster, IoSpace, IoTable, LargeFrame, OtherFrame, OtherIoTable,
    OwnCNode, Pml4, ReadFrame, ThirdIoTable,
};
use crate::things::{DEPTH as D, FREE, address};

/// An address, and the first that a device can't send.
const A: u64 = 0x20_0000;
const END: u64 = 1 << 39;
const SPACE: &[Thing] = &[IoSpace];
const NO_SPACE: CapArgument = cap(0, &[tag::IO_SPACE], capability(1));

const fn table(what: &'static str, on: Thing) -> Row {
    row(what, on, &[A], SPACE, DONE).of(label::X86_IO_PAGE_TABLE_MAP)
}

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        caps: &[NO_SPACE],
        misuses: &[
            row("the master", IoTable, &[A], &[IoMaster], capability(1)),
            row("first address out of reach", IoTable, &[END], SPACE, argument(0)),
            row("largest address", IoTable, &[u64::MAX], SPACE, argument(0)),
            row("space before address", IoTable, &[END], &[Frame], capability(1)),
        ],
        after: &[
            row("again", IoTable, &[A], SPACE, capability(0)),
            row("mapped before space", IoTable, &[A], &[Frame], capability(0)),
            row("level 2", OtherIoTable, &[A], SPACE, DONE),
            row("level 1", ThirdIoTable, &[A], SPACE, DONE),
            row("unmapped", OtherIoTable, &[], &[], DONE).of(label::X86_IO_PAGE_TABLE_UNMAP),
            row("level 2 again", OtherIoTable, &[A], SPACE, DONE),
        ],
        ..group(label::X86_IO_PAGE_TABLE_MAP, good(IoTable, &[A], SPACE, DONE))
    },
    Group {
        before: &[
            table("root", IoTable),
            row("copy", CNode, &[FREE, D, address(IoTable), 64, 15], &[OwnCNode], DONE).of(label::CNODE_COPY),
        ],
        misuses: &[
            row("with a copy", IoTable, &[], &[], REVOKE_FIRST),
            row("copy gone", CNode, &[FREE, D], &[], DONE).of(label::CNODE_DELETE),
        ],
        after: &[row("again", IoTable, &[], &[], DONE)],
        ..group(label::X86_IO_PAGE_TABLE_UNMAP, good(IoTable, &[], &[], DONE))
    },
    // Rights, address.
    Group {
        before: &[
            row("nothing", Frame, &[3, A], SPACE, level(39)),
            table("root", IoTable),
            row("root only", Frame, &[3, A], SPACE, level(30)),
            table("level 2", OtherIoTable),
            row("level 1 missing", Frame, &[3, A], SPACE, level(21)),
            table("level 1", ThirdIoTable),
        ],
        caps: &[NO_SPACE],
        misuses: &[
            row("the master", Frame, &[3, A], &[IoMaster], capability(1)),
            row("2 MiB", LargeFrame, &[3, A], SPACE, capability(0)),
            row("device's frame", DeviceFrame, &[3, A], SPACE, capability(0)),
            row("no rights", Frame, &[0, A], SPACE, argument(0)),
            row("rights that a device hasn't", Frame, &[12, A], SPACE, argument(0)),
            row("right that the capability hasn't", ReadFrame, &[1, A], SPACE, argument(0)),
            row("first address out of reach", Frame, &[3, END], SPACE, argument(1)),
            row("largest address", Frame, &[3, u64::MAX], SPACE, argument(1)),
            row("no level 1 there", Frame, &[3, A + (1 << 21)], SPACE, level(21)),
            row("no level 2 there", Frame, &[3, A + (1 << 30)], SPACE, level(30)),
            row("frame before space", LargeFrame, &[3, A], &[Frame], capability(0)),
            row("space before rights", Frame, &[0, A], &[Frame], capability(1)),
            row("rights before address", Frame, &[0, END], SPACE, argument(0)),
        ],
        after: &[
            row("again", Frame, &[3, A], SPACE, capability(0)),
            row("another", OtherFrame, &[3, A], SPACE, DELETE_FIRST),
            row("in an address space", Frame, &[A, 3, 0], &[Pml4], ILLEGAL).of(label::X86_PAGE_MAP),
            row("in nested tables", Frame, &[A, 3, 6], &[Thing::EptPml4], capability(0))
                .of(label::X86_PAGE_MAP_EPT),
            row("a table's place is taken", Thing::IoTable, &[A], SPACE, capability(0))
                .of(label::X86_IO_PAGE_TABLE_MAP),
        ],
        ..group(label::X86_PAGE_MAP_IO, good(Frame, &[3, A], SPACE, DONE))
    },
    // Rights, address; on the space.
    Group {
        before: &[
            row("nothing", IoSpace, &[3, A], &[Frame], level(39)),
            table("root", IoTable),
            row("root only", IoSpace, &[3, A], &[Frame], level(30)),
            table("level 2", OtherIoTable),
            row("level 1 missing", IoSpace, &[3, A], &[Frame], level(21)),
            table("level 1", ThirdIoTable),
        ],
        caps: &[cap(0, &[tag::FRAME], capability(1))],
        misuses: &[
            row("the master", IoMaster, &[3, A], &[Frame], capability(0)),
            row("device's frame", IoSpace, &[3, A], &[DeviceFrame], capability(1)),
            row("no rights", IoSpace, &[0, A], &[Frame], argument(0)),
            row("rights that a device hasn't", IoSpace, &[12, A], &[Frame], argument(0)),
            row("right that the capability hasn't", IoSpace, &[1, A], &[ReadFrame], argument(0)),
            row("within a page", IoSpace, &[3, A + 2048], &[Frame], MISALIGNED),
            row("next page", IoSpace, &[3, A + 4096], &[LargeFrame], MISALIGNED),
            row("first address out of reach", IoSpace, &[3, END], &[Frame], argument(1)),
            row("where a table is", IoSpace, &[3, A], &[LargeFrame], DELETE_FIRST),
            row("no level 1 there", IoSpace, &[3, A + (1 << 21)], &[Frame], level(21)),
            row("no level 2 there", IoSpace, &[3, A + (1 << 30)], &[LargeFrame], level(30)),
            row("space before frame", IoMaster, &[3, A], &[CNode], capability(0)),
            row("rights before alignment", IoSpace, &[0, A + 8], &[Frame], argument(0)),
            row("alignment before address", IoSpace, &[3, END + 8], &[Frame], MISALIGNED),
        ],
        after: &[
            row("again", IoSpace, &[3, A], &[Frame], capability(1)),
            row("another", IoSpace, &[3, A], &[OtherFrame], DELETE_FIRST),
            row("2 MiB", IoSpace, &[3, A + (1 << 21)], &[LargeFrame], DONE),
            row("within 2 MiB", IoSpace, &[3, A + (1 << 21)], &[OtherFrame], DELETE_FIRST),
        ],
        ..group(label::IO_SPACE_MAP_FRAME, good(IoSpace, &[3, A], &[Frame], DONE))
    },
    Group {
        misuses: &[row("the master", IoMaster, &[], &[], ILLEGAL)],
        after: &[row("again", IoSpace, &[], &[], DONE)],
        ..group(label::IO_SPACE_CLEAR, good(IoSpace, &[], &[], DONE))
    },
];
