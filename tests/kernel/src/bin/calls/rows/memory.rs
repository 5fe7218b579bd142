// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames and paging structures in address spaces of threads.

use sel4::abi::LookupFailure;
use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DELETE_FIRST, DONE, Gives, Group, MISALIGNED, REVOKE_FIRST, Row, argument, cap, capability,
    good, group, level, lookup, row,
};
use crate::things::Thing::{
    self, CNode, Directory, Frame, LargeFrame, LostPml4, OtherDirectory, OtherFrame, OtherPdpt, OtherPml4,
    OtherTable, OwnCNode, Pdpt, Pml4, RawPml4, ReadFrame, Table,
};
use crate::things::{DEPTH as D, FREE, address};

/// An address, and those of which a table is missing when all of it is mapped: of level 1, 2 and 3.
const V: u64 = 0x50_0000_0000;
const NO_TABLE: u64 = V + (1 << 21);
const NO_DIRECTORY: u64 = V + (1 << 30);
const NO_PDPT: u64 = V + (1 << 39);
/// First address that is not the user's, and the first of the kernel's half.
const END: u64 = 0x7fff_ffff_f000;
const KERNEL: u64 = 0xffff_8000_0000_0000;
const SPACE: &[Thing] = &[Pml4];
/// The identifier is none any more.
const LOST: Gives = lookup(false, LookupFailure::InvalidRoot);
const NO_SPACE: CapArgument = cap(0, &[tag::PML4], capability(1));

const MAP_PDPT: Row = row("PDPT", Pdpt, &[V, 0], SPACE, DONE).of(label::X86_PDPT_MAP);
const MAP_DIRECTORY: Row =
    row("directory", Directory, &[V, 0], SPACE, DONE).of(label::X86_PAGE_DIRECTORY_MAP);
const MAP_TABLE: Row = row("table", Table, &[V, 0], SPACE, DONE).of(label::X86_PAGE_TABLE_MAP);
const DELETE_COPY: Row = row("copy gone", CNode, &[FREE, D], &[], DONE).of(label::CNODE_DELETE);

const fn copy(words: &'static [u64]) -> Row {
    row("copy", CNode, words, &[OwnCNode], DONE).of(label::CNODE_COPY)
}

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        caps: &[NO_SPACE],
        misuses: &[
            row("space without identifier", Pdpt, &[V, 0], &[RawPml4], capability(1)),
            row("space whose pool is gone", Pdpt, &[V, 0], &[LostPml4], LOST),
            row("first address behind the user's", Pdpt, &[END, 0], SPACE, argument(0)),
            row("kernel's half", Pdpt, &[KERNEL, 0], SPACE, argument(0)),
            row("largest address", Pdpt, &[u64::MAX, 0], SPACE, argument(0)),
            row("space before address", Pdpt, &[END, 0], &[Frame], capability(1)),
        ],
        after: &[
            row("again", Pdpt, &[V, 0], SPACE, capability(0)),
            row("elsewhere", Pdpt, &[NO_PDPT, 0], SPACE, capability(0)),
            row("mapped before space", Pdpt, &[V, 0], &[Frame], capability(0)),
            row("another", OtherPdpt, &[V, 0], SPACE, DELETE_FIRST),
            row("its last byte", OtherPdpt, &[0x7f_ffff_ffff, 0], SPACE, DELETE_FIRST),
        ],
        ..group(label::X86_PDPT_MAP, good(Pdpt, &[V, 0], SPACE, DONE))
    },
    Group {
        before: &[MAP_PDPT, copy(&[FREE, D, address(Pdpt), 64, 15])],
        misuses: &[row("with a copy", Pdpt, &[], &[], REVOKE_FIRST), DELETE_COPY],
        after: &[row("again", Pdpt, &[], &[], DONE)],
        ..group(label::X86_PDPT_UNMAP, good(Pdpt, &[], &[], DONE))
    },
    Group {
        before: &[MAP_PDPT],
        caps: &[NO_SPACE],
        misuses: &[
            row("space without identifier", Directory, &[V, 0], &[RawPml4], capability(1)),
            row("space whose pool is gone", Directory, &[V, 0], &[LostPml4], LOST),
            row("first address behind the user's", Directory, &[END, 0], SPACE, argument(0)),
            row("largest address", Directory, &[u64::MAX, 0], SPACE, argument(0)),
            row("no PDPT", Directory, &[NO_PDPT, 0], SPACE, level(39)),
            row("nothing at all", Directory, &[V, 0], &[OtherPml4], level(39)),
            row("space before address", Directory, &[END, 0], &[Frame], capability(1)),
        ],
        after: &[
            row("again", Directory, &[V, 0], SPACE, capability(0)),
            row("another", OtherDirectory, &[V, 0], SPACE, DELETE_FIRST),
        ],
        ..group(label::X86_PAGE_DIRECTORY_MAP, good(Directory, &[V, 0], SPACE, DONE))
    },
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY, copy(&[FREE, D, address(Directory), 64, 15])],
        misuses: &[row("with a copy", Directory, &[], &[], REVOKE_FIRST), DELETE_COPY],
        after: &[row("again", Directory, &[], &[], DONE)],
        ..group(label::X86_PAGE_DIRECTORY_UNMAP, good(Directory, &[], &[], DONE))
    },
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY],
        caps: &[NO_SPACE],
        misuses: &[
            row("space without identifier", Table, &[V, 0], &[RawPml4], capability(1)),
            row("space whose pool is gone", Table, &[V, 0], &[LostPml4], LOST),
            row("first address behind the user's", Table, &[END, 0], SPACE, argument(0)),
            row("largest address", Table, &[u64::MAX, 0], SPACE, argument(0)),
            row("no directory", Table, &[NO_DIRECTORY, 0], SPACE, level(30)),
            row("no PDPT", Table, &[NO_PDPT, 0], SPACE, level(39)),
            row("space before address", Table, &[END, 0], &[Frame], capability(1)),
        ],
        after: &[
            row("again", Table, &[V, 0], SPACE, capability(0)),
            row("another", OtherTable, &[V, 0], SPACE, DELETE_FIRST),
        ],
        ..group(label::X86_PAGE_TABLE_MAP, good(Table, &[V, 0], SPACE, DONE))
    },
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY, MAP_TABLE, copy(&[FREE, D, address(Table), 64, 15])],
        misuses: &[row("with a copy", Table, &[], &[], REVOKE_FIRST), DELETE_COPY],
        after: &[row("again", Table, &[], &[], DONE)],
        ..group(label::X86_PAGE_TABLE_UNMAP, good(Table, &[], &[], DONE))
    },
    // Address, rights, attributes.
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY, MAP_TABLE],
        caps: &[NO_SPACE],
        misuses: &[
            row("space without identifier", Frame, &[V, 3, 0], &[RawPml4], capability(1)),
            row("space whose pool is gone", Frame, &[V, 3, 0], &[LostPml4], LOST),
            row("first address behind the user's", Frame, &[END, 3, 0], SPACE, argument(0)),
            row("partly behind", LargeFrame, &[END - 4096, 3, 0], SPACE, argument(0)),
            row("kernel's half", Frame, &[KERNEL, 3, 0], SPACE, argument(0)),
            row("largest address", Frame, &[u64::MAX, 3, 0], SPACE, argument(0)),
            row("within a page", Frame, &[V + 2048, 3, 0], SPACE, MISALIGNED),
            row("next page", LargeFrame, &[V + 4096, 3, 0], SPACE, MISALIGNED),
            row("no table", Frame, &[NO_TABLE, 3, 0], SPACE, level(21)),
            row("no directory", Frame, &[NO_DIRECTORY, 3, 0], SPACE, level(30)),
            row("no PDPT", Frame, &[NO_PDPT, 3, 0], SPACE, level(39)),
            row("no directory for 2 MiB", LargeFrame, &[NO_DIRECTORY, 3, 0], SPACE, level(30)),
            row("where a table is", LargeFrame, &[V, 3, 0], SPACE, DELETE_FIRST),
            row("space before address", Frame, &[END, 3, 0], &[Table], capability(1)),
            row("address before alignment", Frame, &[END + 8, 3, 0], SPACE, argument(0)),
            row("alignment before tables", Frame, &[NO_PDPT + 8, 3, 0], SPACE, MISALIGNED),
        ],
        after: &[
            row("again, with other rights", Frame, &[V, 2, 0], SPACE, DONE),
            row("elsewhere", Frame, &[V + 4096, 3, 0], SPACE, argument(0)),
            row("in another space", Frame, &[V, 3, 0], &[OtherPml4], capability(1)),
            row("another", OtherFrame, &[V, 3, 0], SPACE, DELETE_FIRST),
            row("a copy in the same place", ReadFrame, &[V, 3, 0], SPACE, DELETE_FIRST),
            row("a copy elsewhere", ReadFrame, &[V + 4096, 3, 0], SPACE, DONE),
        ],
        ..group(label::X86_PAGE_MAP, good(Frame, &[V, 3, 0], SPACE, DONE))
    },
    Group {
        before: &[
            MAP_PDPT,
            MAP_DIRECTORY,
            MAP_TABLE,
            row("page", Frame, &[V, 3, 0], SPACE, DONE).of(label::X86_PAGE_MAP),
        ],
        after: &[row("again", Frame, &[], &[], DONE)],
        ..group(label::X86_PAGE_UNMAP, good(Frame, &[], &[], DONE))
    },
    group(label::X86_PAGE_GET_ADDRESS, good(Frame, &[], &[], Gives::Words(1))),
];
