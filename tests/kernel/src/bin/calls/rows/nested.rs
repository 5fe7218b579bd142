// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames and tables of nested translation.

use sel4::abi::LookupFailure;
use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DELETE_FIRST, DONE, Gives, Group, MISALIGNED, REVOKE_FIRST, Row, argument, cap, capability,
    good, group, level, lookup, row,
};
use crate::things::Thing::{
    self, CNode, EptDirectory, EptPdpt, EptPml4, EptTable, Frame, LargeFrame, LostEptPml4, OtherEptDirectory,
    OtherEptPdpt, OtherEptPml4, OtherEptTable, OtherFrame, OwnCNode, RawEptPml4,
};
use crate::things::{DEPTH as D, FREE, address};

/// A guest-physical address, and those of which a table is missing when all of it is mapped: of level 1, 2 and 3.
const G: u64 = 0x40_0000;
const NO_TABLE: u64 = G + (1 << 21);
const NO_DIRECTORY: u64 = G + (1 << 30);
const NO_PDPT: u64 = G + (1 << 39);
/// First address behind the guest's.
const END: u64 = 1 << 47;
const WRITE_BACK: u64 = 6;
const ROOT: &[Thing] = &[EptPml4];
/// The identifier is none any more.
const LOST: Gives = lookup(false, LookupFailure::InvalidRoot);
const NO_ROOT: CapArgument = cap(0, &[tag::EPT_PML4], capability(1));

const MAP_PDPT: Row = row("PDPT", EptPdpt, &[G, WRITE_BACK], ROOT, DONE).of(label::X86_EPT_PDPT_MAP);
const MAP_DIRECTORY: Row =
    row("directory", EptDirectory, &[G, WRITE_BACK], ROOT, DONE).of(label::X86_EPT_PD_MAP);
const MAP_TABLE: Row = row("table", EptTable, &[G, WRITE_BACK], ROOT, DONE).of(label::X86_EPT_PT_MAP);
const DELETE_COPY: Row = row("copy gone", CNode, &[FREE, D], &[], DONE).of(label::CNODE_DELETE);

const fn copy(words: &'static [u64]) -> Row {
    row("copy", CNode, words, &[OwnCNode], DONE).of(label::CNODE_COPY)
}

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        caps: &[NO_ROOT],
        misuses: &[
            row("root without identifier", EptPdpt, &[G, WRITE_BACK], &[RawEptPml4], capability(1)),
            row("root whose pool is gone", EptPdpt, &[G, WRITE_BACK], &[LostEptPml4], LOST),
            row("first address behind", EptPdpt, &[END, WRITE_BACK], ROOT, argument(0)),
            row("largest address", EptPdpt, &[u64::MAX, WRITE_BACK], ROOT, argument(0)),
        ],
        after: &[
            row("again", EptPdpt, &[G, WRITE_BACK], ROOT, capability(0)),
            row("mapped before root", EptPdpt, &[G, WRITE_BACK], &[Frame], capability(0)),
            row("another", OtherEptPdpt, &[G, WRITE_BACK], ROOT, DELETE_FIRST),
        ],
        ..group(label::X86_EPT_PDPT_MAP, good(EptPdpt, &[G, WRITE_BACK], ROOT, DONE))
    },
    Group {
        before: &[MAP_PDPT, copy(&[FREE, D, address(EptPdpt), 64, 15])],
        misuses: &[row("with a copy", EptPdpt, &[], &[], REVOKE_FIRST), DELETE_COPY],
        after: &[row("again", EptPdpt, &[], &[], DONE)],
        ..group(label::X86_EPT_PDPT_UNMAP, good(EptPdpt, &[], &[], DONE))
    },
    Group {
        before: &[MAP_PDPT],
        caps: &[NO_ROOT],
        misuses: &[
            row("root without identifier", EptDirectory, &[G, WRITE_BACK], &[RawEptPml4], capability(1)),
            row("root whose pool is gone", EptDirectory, &[G, WRITE_BACK], &[LostEptPml4], LOST),
            row("first address behind", EptDirectory, &[END, WRITE_BACK], ROOT, argument(0)),
            row("no PDPT", EptDirectory, &[NO_PDPT, WRITE_BACK], ROOT, level(39)),
            row("nothing at all", EptDirectory, &[G, WRITE_BACK], &[OtherEptPml4], level(39)),
        ],
        after: &[
            row("again", EptDirectory, &[G, WRITE_BACK], ROOT, capability(0)),
            row("another", OtherEptDirectory, &[G, WRITE_BACK], ROOT, DELETE_FIRST),
        ],
        ..group(label::X86_EPT_PD_MAP, good(EptDirectory, &[G, WRITE_BACK], ROOT, DONE))
    },
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY, copy(&[FREE, D, address(EptDirectory), 64, 15])],
        misuses: &[row("with a copy", EptDirectory, &[], &[], REVOKE_FIRST), DELETE_COPY],
        after: &[row("again", EptDirectory, &[], &[], DONE)],
        ..group(label::X86_EPT_PD_UNMAP, good(EptDirectory, &[], &[], DONE))
    },
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY],
        caps: &[NO_ROOT],
        misuses: &[
            row("root without identifier", EptTable, &[G, WRITE_BACK], &[RawEptPml4], capability(1)),
            row("root whose pool is gone", EptTable, &[G, WRITE_BACK], &[LostEptPml4], LOST),
            row("first address behind", EptTable, &[END, WRITE_BACK], ROOT, argument(0)),
            row("no directory", EptTable, &[NO_DIRECTORY, WRITE_BACK], ROOT, level(30)),
            row("no PDPT", EptTable, &[NO_PDPT, WRITE_BACK], ROOT, level(39)),
        ],
        after: &[
            row("again", EptTable, &[G, WRITE_BACK], ROOT, capability(0)),
            row("another", OtherEptTable, &[G, WRITE_BACK], ROOT, DELETE_FIRST),
        ],
        ..group(label::X86_EPT_PT_MAP, good(EptTable, &[G, WRITE_BACK], ROOT, DONE))
    },
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY, MAP_TABLE, copy(&[FREE, D, address(EptTable), 64, 15])],
        misuses: &[row("with a copy", EptTable, &[], &[], REVOKE_FIRST), DELETE_COPY],
        after: &[row("again", EptTable, &[], &[], DONE)],
        ..group(label::X86_EPT_PT_UNMAP, good(EptTable, &[], &[], DONE))
    },
    // Address, rights, memory type.
    Group {
        before: &[MAP_PDPT, MAP_DIRECTORY, MAP_TABLE],
        caps: &[NO_ROOT],
        misuses: &[
            row("root without identifier", Frame, &[G, 3, WRITE_BACK], &[RawEptPml4], capability(1)),
            row("root whose pool is gone", Frame, &[G, 3, WRITE_BACK], &[LostEptPml4], LOST),
            row("first address behind", Frame, &[END, 3, WRITE_BACK], ROOT, argument(0)),
            row("partly behind", LargeFrame, &[END - 4096, 3, WRITE_BACK], ROOT, argument(0)),
            row("largest address", Frame, &[u64::MAX, 3, WRITE_BACK], ROOT, argument(0)),
            row("within a page", Frame, &[G + 2048, 3, WRITE_BACK], ROOT, MISALIGNED),
            row("next page", LargeFrame, &[G + 4096, 3, WRITE_BACK], ROOT, MISALIGNED),
            row("no table", Frame, &[NO_TABLE, 3, WRITE_BACK], ROOT, level(21)),
            row("no directory", Frame, &[NO_DIRECTORY, 3, WRITE_BACK], ROOT, level(30)),
            row("no PDPT", Frame, &[NO_PDPT, 3, WRITE_BACK], ROOT, level(39)),
            row("where a table is", LargeFrame, &[G, 3, WRITE_BACK], ROOT, DELETE_FIRST),
        ],
        after: &[
            row("again, with other rights", Frame, &[G, 2, WRITE_BACK], ROOT, DONE),
            row("elsewhere", Frame, &[G + 4096, 3, WRITE_BACK], ROOT, capability(0)),
            row("under another root", Frame, &[G, 3, WRITE_BACK], &[OtherEptPml4], capability(0)),
            row("in an address space", Frame, &[G, 3, 0], &[Thing::Pml4], capability(1))
                .of(label::X86_PAGE_MAP),
            row("another", OtherFrame, &[G, 3, WRITE_BACK], ROOT, DELETE_FIRST),
        ],
        ..group(label::X86_PAGE_MAP_EPT, good(Frame, &[G, 3, WRITE_BACK], ROOT, DONE))
    },
];
