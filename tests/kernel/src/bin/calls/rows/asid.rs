// SPDX-License-Identifier: MIT OR Apache-2.0
//! Identifiers of address spaces.

use sel4::abi::LookupFailure;
use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    DELETE_FIRST, DONE, Group, REVOKE_FIRST, argument, cap, capability, good, group, lookup, range, row, slot,
};
use crate::things::Thing::{
    self, AsidControl, AsidPool, CNode, DeviceUntyped, EptPml4, Frame, OwnCNode, Pml4, RawEptPml4, RawPml4,
    SmallUntyped, Untyped, UsedUntyped,
};
use crate::things::{DEPTH as D, FREE, address};

const MEMORY: &[Thing] = &[SmallUntyped, CNode];

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        slots: &[slot(1, 0)],
        caps: &[
            cap(0, &[tag::UNTYPED], capability(1)),
            cap(1, &[tag::CNODE], lookup(false, LookupFailure::InvalidRoot)),
        ],
        misuses: &[
            row("64 KiB", AsidControl, &[FREE, D], &[Untyped, CNode], capability(1)),
            row("of a device", AsidControl, &[FREE, D], &[DeviceUntyped, CNode], capability(1)),
            row("memory that was used", AsidControl, &[FREE, D], &[UsedUntyped, CNode], REVOKE_FIRST),
            row("copy", CNode, &[FREE + 1, D, address(SmallUntyped), 64, 15], &[OwnCNode], DONE)
                .of(label::CNODE_COPY),
            row("memory with a copy", AsidControl, &[FREE, D], MEMORY, REVOKE_FIRST),
            row("copy gone", CNode, &[FREE + 1, D], &[], DONE).of(label::CNODE_DELETE),
            row("slot in use", AsidControl, &[1, D], MEMORY, DELETE_FIRST),
            row("memory before root", AsidControl, &[FREE, D], &[Untyped, Frame], capability(1)),
            row("use before root", AsidControl, &[FREE, D], &[UsedUntyped, Frame], REVOKE_FIRST),
            row("depth before use of the slot", AsidControl, &[1, 0], MEMORY, range(1, 64)),
        ],
        after: &[row("again", AsidControl, &[FREE + 1, D], MEMORY, REVOKE_FIRST)],
        ..group(label::X86_ASID_CONTROL_MAKE_POOL, good(AsidControl, &[FREE, D], MEMORY, DONE))
    },
    Group {
        caps: &[cap(0, &[tag::PML4, tag::EPT_PML4], capability(1))],
        misuses: &[
            row("that has one", AsidPool, &[], &[Pml4], capability(1)),
            row("nested root that has one", AsidPool, &[], &[EptPml4], capability(1)),
            row("entries of no kind", AsidPool, &[3], &[RawEptPml4], argument(0)),
            row("largest word", AsidPool, &[u64::MAX], &[RawEptPml4], argument(0)),
        ],
        after: &[
            row("again", AsidPool, &[], &[RawPml4], capability(1)),
            row("nested root", AsidPool, &[2], &[RawEptPml4], DONE),
            row("that again", AsidPool, &[], &[RawEptPml4], capability(1)),
        ],
        ..group(label::X86_ASID_POOL_ASSIGN, good(AsidPool, &[], &[RawPml4], DONE))
    },
];
