// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual CPUs, on SVM.

use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    DELETE_FIRST, DONE, Gives, Group, ILLEGAL, Row, argument, cap, capability, good, group, range, row,
};
use crate::things::Thing::{self, OtherPermissionMap, OtherTcb, OtherVcpu, PermissionMap, Ports, Tcb, Vcpu};

/// An MSR that can be read and written, and one that can't.
const STAR: u64 = 0xc000_0081;
const EFER: u64 = 0xc000_0080;
/// A field of VMX; one of the control block; the block's own, as the kernel uses it: the identifier.
const VMX_FIELD: u64 = 0x681e;
const RSP: u64 = sel4::abi::vmcb::RSP;
const ASID: u64 = 0x58;

const ATTACH: Row = row("map", Vcpu, &[], &[PermissionMap], DONE).of(label::VCPU_SET_IO_PERMISSION_MAP);
const ATTACH_OTHER: Row =
    row("another map", OtherVcpu, &[], &[OtherPermissionMap], DONE).of(label::VCPU_SET_IO_PERMISSION_MAP);
const REGISTERS: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        short: ILLEGAL,
        misuses: &[
            row("another register", Vcpu, &[EFER], &[], ILLEGAL),
            row("0", Vcpu, &[0], &[], ILLEGAL),
            row("largest", Vcpu, &[u64::MAX], &[], ILLEGAL),
            row("VMX's", Vcpu, &[0x485], &[], ILLEGAL),
        ],
        ..group(label::X86_VCPU_READ_MSR, good(Vcpu, &[STAR], &[], Gives::Words(1)))
    },
    Group {
        short: ILLEGAL,
        misuses: &[
            row("another register", Vcpu, &[EFER, 0], &[], ILLEGAL),
            row("largest", Vcpu, &[u64::MAX, 0], &[], ILLEGAL),
        ],
        ..group(label::X86_VCPU_WRITE_MSR, good(Vcpu, &[STAR, 5], &[], DONE))
    },
    Group {
        caps: &[cap(0, &[tag::THREAD], ILLEGAL)],
        after: &[
            row("again", Vcpu, &[], &[Tcb], DONE),
            row("another", OtherVcpu, &[], &[Tcb], DONE),
            row("another thread", OtherVcpu, &[], &[OtherTcb], DONE),
        ],
        ..group(label::X86_VCPU_SET_TCB, good(Vcpu, &[], &[Tcb], DONE))
    },
    Group {
        short: ILLEGAL,
        misuses: &[row("largest", Vcpu, &[u64::MAX], &[], ILLEGAL)],
        ..group(label::X86_VCPU_READ_VMCS, good(Vcpu, &[VMX_FIELD], &[], ILLEGAL))
    },
    Group {
        short: ILLEGAL,
        misuses: &[row("largest", Vcpu, &[u64::MAX, 0], &[], ILLEGAL)],
        ..group(label::X86_VCPU_WRITE_VMCS, good(Vcpu, &[VMX_FIELD, 0], &[], ILLEGAL))
    },
    Group {
        before: &[row("no map", Vcpu, &[0x1000, 0x1003], &[Ports], ILLEGAL), ATTACH, ATTACH_OTHER],
        caps: &[cap(0, &[tag::IO_PORT], ILLEGAL)],
        misuses: &[
            row("one below", Vcpu, &[0x0fff, 0x1003], &[Ports], argument(0)),
            row("first one above", Vcpu, &[0x1010, 0x1010], &[Ports], argument(0)),
            row("last one above", Vcpu, &[0x1000, 0x1010], &[Ports], argument(1)),
            row("last before first", Vcpu, &[0x1003, 0x1000], &[Ports], argument(1)),
            row("largest", Vcpu, &[0x1000, u64::MAX], &[Ports], argument(1)),
            row("first before last", Vcpu, &[0x0fff, u64::MAX], &[Ports], argument(0)),
        ],
        after: &[
            row("again", Vcpu, &[0x1000, 0x100f], &[Ports], DONE),
            row("for another", OtherVcpu, &[0x1000, 0x1003], &[Ports], DELETE_FIRST),
        ],
        ..group(label::X86_VCPU_ENABLE_IO_PORT, good(Vcpu, &[0x1000, 0x1003], &[Ports], DONE))
    },
    Group {
        before: &[row("no map", Vcpu, &[0x1000, 0x1003], &[], ILLEGAL), ATTACH],
        misuses: &[
            row("last before first", Vcpu, &[0x1003, 0x1000], &[], range(0, 0xffff)),
            row("one above", Vcpu, &[0x1000, 0x1_0000], &[], range(0, 0xffff)),
            row("largest", Vcpu, &[u64::MAX, u64::MAX], &[], range(0, 0xffff)),
        ],
        after: &[row("all", Vcpu, &[0, 0xffff], &[], DONE)],
        ..group(label::X86_VCPU_DISABLE_IO_PORT, good(Vcpu, &[0x1000, 0x1003], &[], DONE))
    },
    group(label::X86_VCPU_WRITE_REGISTERS, good(Vcpu, REGISTERS, &[], DONE)),
    group(label::VCPU_READ_REGISTERS, good(Vcpu, &[], &[], Gives::Words(15))),
    Group {
        short: ILLEGAL,
        misuses: &[
            row("the kernel's", Vcpu, &[ASID], &[], ILLEGAL),
            row("within a field", Vcpu, &[RSP + 1], &[], ILLEGAL),
            row("largest", Vcpu, &[u64::MAX], &[], ILLEGAL),
        ],
        ..group(label::VCPU_READ_VMCB, good(Vcpu, &[RSP], &[], Gives::Words(1)))
    },
    Group {
        short: ILLEGAL,
        misuses: &[
            row("the kernel's", Vcpu, &[ASID, 0], &[], ILLEGAL),
            row("within a field", Vcpu, &[RSP + 1, 0], &[], ILLEGAL),
            row("counter", Vcpu, &[sel4::abi::vmcb::TLB_FLUSHES, 0], &[], ILLEGAL),
            row("largest", Vcpu, &[u64::MAX, 0], &[], ILLEGAL),
        ],
        ..group(label::VCPU_WRITE_VMCB, good(Vcpu, &[RSP, 5], &[], Gives::Words(1)))
    },
    Group {
        caps: &[cap(0, &[tag::IO_PERMISSION_MAP], capability(1))],
        after: &[
            row("again", Vcpu, &[], &[PermissionMap], DELETE_FIRST),
            row("a second", Vcpu, &[], &[OtherPermissionMap], DELETE_FIRST),
            row("another's", OtherVcpu, &[], &[Thing::PermissionMap], DELETE_FIRST),
        ],
        ..group(label::VCPU_SET_IO_PERMISSION_MAP, good(Vcpu, &[], &[PermissionMap], DONE))
    },
];
