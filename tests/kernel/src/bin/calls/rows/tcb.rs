// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads.

use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DONE, Gives, Group, ILLEGAL, MISALIGNED, Row, TRUNCATED, cap, capability, good, group,
    range, row,
};
use crate::things::Thing::{
    self, BadgedEndpoint, BoundNotification, BoundTcb, CNode, Context, DeviceFrame, Endpoint, EptPml4, Frame,
    Nothing, Notification, OtherTcb, OwnContext, OwnTcb, Pml4, RawEptPml4, RawPml4, ReadEndpoint,
    ReadNotification, Tcb, UsedUntyped, WriteEndpoint, WriteNotification,
};

/// Where an IPC buffer could be.
const BUFFER: u64 = 0x50_0000_0000;
/// A guard of 61 bits leaves no room for the index.
const LONG_GUARD: u64 = 61;
const SPACES: &[Thing] = &[CNode, Pml4, Frame];
const WITH_HANDLER: &[Thing] = &[Endpoint, CNode, Pml4];
const PARAMETERS: &[Thing] = &[OwnTcb, Context, Endpoint];
/// A thread as the one whose authority counts.
const AUTHORITY: CapArgument = cap(0, &[tag::THREAD], capability(1));
/// What has been made of untyped memory is told apart: RevokeFirst.
const USED: &str = "memory that was used";
const REVOKE_FIRST: Gives = crate::table::REVOKE_FIRST;

const fn simple(label: u64, good: Row, misuses: &'static [Row]) -> Group {
    Group { misuses, ..group(label, good) }
}

const WRONG_PRIORITIES: &[Row] = &[
    row("256", Tcb, &[256], &[OwnTcb], range(0, 255)),
    row("largest", Tcb, &[u64::MAX], &[OwnTcb], range(0, 255)),
    row("more than the authority's", Tcb, &[1], &[OtherTcb], range(0, 0)),
    row("kind before value", Tcb, &[256], &[Frame], capability(1)),
];
const PRIORITIES: &[Row] =
    &[row("255", Tcb, &[255], &[OwnTcb], DONE), row("0", Tcb, &[0], &[OtherTcb], DONE)];

/// `SetPriority` and `SetMCPriority`.
const fn priority(label: u64) -> Group {
    Group {
        caps: &[AUTHORITY],
        misuses: WRONG_PRIORITIES,
        after: PRIORITIES,
        ..group(label, good(Tcb, &[100], &[OwnTcb], DONE))
    }
}

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        misuses: &[
            row("no registers", Tcb, &[0, 0], &[], range(1, 20)),
            row("21 registers", Tcb, &[0, 21], &[], range(1, 20)),
            row("largest number", Tcb, &[0, u64::MAX], &[], range(1, 20)),
            row("its own", OwnTcb, &[0, 20], &[], ILLEGAL),
            row("number before thread", OwnTcb, &[0, 21], &[], range(1, 20)),
        ],
        after: &[row("one", Tcb, &[0, 1], &[], Gives::Words(1))],
        ..group(label::TCB_READ_REGISTERS, good(Tcb, &[0, 20], &[], Gives::Words(20)))
    },
    Group {
        misuses: &[
            row("one register, none given", Tcb, &[0, 1], &[], TRUNCATED),
            row("three registers, two given", Tcb, &[0, 3, 0, 0], &[], TRUNCATED),
            row("largest number", Tcb, &[0, u64::MAX, 0, 0], &[], TRUNCATED),
            row("its own", OwnTcb, &[0, 1, 0], &[], ILLEGAL),
            row("length before thread", OwnTcb, &[0, 2, 0], &[], TRUNCATED),
        ],
        after: &[row("none", Tcb, &[0, 0], &[], DONE)],
        ..group(label::TCB_WRITE_REGISTERS, good(Tcb, &[0, 2, 0x40_0000, 0x50_0000], &[], DONE))
    },
    Group {
        caps: &[cap(0, &[tag::THREAD], capability(1))],
        ..group(label::TCB_COPY_REGISTERS, good(Tcb, &[0b1100], &[OtherTcb], DONE))
    },
    Group {
        caps: &[
            cap(0, &[tag::CNODE, tag::UNTYPED], ILLEGAL),
            cap(1, &[tag::PML4, tag::UNTYPED], ILLEGAL),
            cap(2, &[tag::FRAME, tag::UNTYPED], ILLEGAL),
        ],
        misuses: &[
            row("memory as CNode", Tcb, &[0, 0, BUFFER], &[Thing::Untyped, Pml4, Frame], ILLEGAL),
            row("memory as space", Tcb, &[0, 0, BUFFER], &[CNode, Thing::Untyped, Frame], ILLEGAL),
            row("memory as frame", Tcb, &[0, 0, BUFFER], &[CNode, Pml4, Thing::Untyped], ILLEGAL),
            row(USED, Tcb, &[0, 0, BUFFER], &[UsedUntyped, Pml4, Frame], REVOKE_FIRST),
            row(USED, Tcb, &[0, 0, BUFFER], &[CNode, UsedUntyped, Frame], REVOKE_FIRST),
            row(USED, Tcb, &[0, 0, BUFFER], &[CNode, Pml4, UsedUntyped], REVOKE_FIRST),
            row("guard that is too long", Tcb, &[LONG_GUARD, 0, BUFFER], SPACES, ILLEGAL),
            row("space without identifier", Tcb, &[0, 0, BUFFER], &[CNode, RawPml4, Frame], ILLEGAL),
            row("buffer at 512", Tcb, &[0, 0, BUFFER + 512], SPACES, MISALIGNED),
            row("buffer at 8", Tcb, &[0, 0, BUFFER + 8], SPACES, MISALIGNED),
            row("device's frame", Tcb, &[0, 0, BUFFER], &[CNode, Pml4, DeviceFrame], ILLEGAL),
            row("device before alignment", Tcb, &[0, 0, BUFFER + 8], &[CNode, Pml4, DeviceFrame], ILLEGAL),
            row("buffer before CNode", Tcb, &[0, 0, BUFFER + 8], &[Frame, Pml4, Frame], MISALIGNED),
            row("CNode before space", Tcb, &[0, 0, BUFFER], &[UsedUntyped, CNode, Frame], REVOKE_FIRST),
        ],
        after: &[row("no buffer, and what isn't one", Tcb, &[0, 0, 0], &[CNode, Pml4, Nothing], DONE)],
        ..group(label::TCB_CONFIGURE, good(Tcb, &[0, 0, BUFFER], SPACES, DONE))
    },
    priority(label::TCB_SET_PRIORITY),
    priority(label::TCB_SET_MC_PRIORITY),
    Group {
        caps: &[
            AUTHORITY,
            cap(1, &[tag::SCHED_CONTEXT, tag::NULL], capability(2)),
            cap(2, &[tag::ENDPOINT, tag::NULL], capability(3)),
        ],
        misuses: &[
            row("MCP 256", Tcb, &[256, 0], PARAMETERS, range(0, 255)),
            row("priority 256", Tcb, &[0, 256], PARAMETERS, range(0, 255)),
            row("largest", Tcb, &[0, u64::MAX], PARAMETERS, range(0, 255)),
            row("MCP beyond the authority's", Tcb, &[1, 0], &[OtherTcb, Context, Endpoint], range(0, 0)),
            row("priority beyond it", Tcb, &[0, 1], &[OtherTcb, Context, Endpoint], range(0, 0)),
            row("context of another", Tcb, &[0, 0], &[OwnTcb, OwnContext, Endpoint], ILLEGAL),
            row("second context", OwnTcb, &[255, 100], PARAMETERS, ILLEGAL),
            row("without time, for one that waits", Thing::WaitingTcb, &[0, 0], PARAMETERS, ILLEGAL),
            row("none for the one that runs", OwnTcb, &[255, 100], &[OwnTcb, Nothing, Endpoint], ILLEGAL),
            row("handler to receive from", Tcb, &[0, 0], &[OwnTcb, Context, ReadEndpoint], capability(3)),
            row("handler that can't answer", Tcb, &[0, 0], &[OwnTcb, Context, WriteEndpoint], capability(3)),
            row("authority before priority", Tcb, &[256, 0], &[Frame, Frame, Frame], capability(1)),
            row("priority before context", Tcb, &[0, 256], &[OwnTcb, Frame, Frame], range(0, 255)),
            row("context before handler", Tcb, &[0, 0], &[OwnTcb, Frame, Frame], capability(2)),
            row("use before handler", Tcb, &[0, 0], &[OwnTcb, OwnContext, Frame], ILLEGAL),
        ],
        after: &[row("neither context nor handler", Tcb, &[0, 0], &[OwnTcb, Nothing, Nothing], DONE)],
        ..group(label::TCB_SET_SCHED_PARAMS, good(Tcb, &[255, 100], PARAMETERS, DONE))
    },
    Group {
        caps: &[cap(0, &[tag::ENDPOINT, tag::NULL], capability(1))],
        misuses: &[
            row("handler to receive from", Tcb, &[], &[ReadEndpoint], capability(1)),
            row("handler that can't answer", Tcb, &[], &[WriteEndpoint], capability(1)),
        ],
        after: &[row("none", Tcb, &[], &[Nothing], DONE)],
        ..group(label::TCB_SET_TIMEOUT_ENDPOINT, good(Tcb, &[], &[BadgedEndpoint], DONE))
    },
    Group {
        caps: &[cap(0, &[tag::FRAME, tag::UNTYPED], ILLEGAL)],
        misuses: &[
            row("memory", Tcb, &[BUFFER], &[Thing::Untyped], ILLEGAL),
            row(USED, Tcb, &[BUFFER], &[UsedUntyped], REVOKE_FIRST),
            row("at 512", Tcb, &[BUFFER + 512], &[Frame], MISALIGNED),
            row("at 1", Tcb, &[1], &[Frame], MISALIGNED),
            row("device's frame", Tcb, &[BUFFER], &[DeviceFrame], ILLEGAL),
            row("device before alignment", Tcb, &[1], &[DeviceFrame], ILLEGAL),
            row("kind before alignment", Tcb, &[1], &[CNode], ILLEGAL),
        ],
        after: &[
            row("to be read only", Tcb, &[BUFFER + 1024], &[Thing::ReadFrame], DONE),
            row("none", Tcb, &[0], &[Nothing], DONE),
        ],
        ..group(label::TCB_SET_IPC_BUFFER, good(Tcb, &[BUFFER], &[Frame], DONE))
    },
    Group {
        caps: &[
            cap(0, &[tag::ENDPOINT, tag::NULL], capability(1)),
            cap(1, &[tag::CNODE, tag::UNTYPED], ILLEGAL),
            cap(2, &[tag::PML4, tag::UNTYPED], ILLEGAL),
        ],
        misuses: &[
            row("handler to receive from", Tcb, &[0, 0], &[ReadEndpoint, CNode, Pml4], capability(1)),
            row("handler that can't answer", Tcb, &[0, 0], &[WriteEndpoint, CNode, Pml4], capability(1)),
            row(USED, Tcb, &[0, 0], &[Endpoint, UsedUntyped, Pml4], REVOKE_FIRST),
            row(USED, Tcb, &[0, 0], &[Endpoint, CNode, UsedUntyped], REVOKE_FIRST),
            row("guard that is too long", Tcb, &[LONG_GUARD, 0], WITH_HANDLER, ILLEGAL),
            row("space without identifier", Tcb, &[0, 0], &[Endpoint, CNode, RawPml4], ILLEGAL),
            row("space before handler", Tcb, &[0, 0], &[ReadEndpoint, CNode, RawPml4], ILLEGAL),
            row("CNode before space", Tcb, &[0, 0], &[Frame, UsedUntyped, RawPml4], REVOKE_FIRST),
        ],
        after: &[row("no handler", Tcb, &[0, 0], &[Nothing, CNode, Pml4], DONE)],
        ..group(label::TCB_SET_SPACE, good(Tcb, &[0, 0], WITH_HANDLER, DONE))
    },
    simple(label::TCB_SUSPEND, good(Tcb, &[], &[], DONE), &[]),
    simple(label::TCB_RESUME, good(Tcb, &[], &[], DONE), &[]),
    Group {
        caps: &[cap(0, &[tag::NOTIFICATION], ILLEGAL)],
        misuses: &[
            row("without the read right", Tcb, &[], &[WriteNotification], ILLEGAL),
            row("notification of another", Tcb, &[], &[BoundNotification], ILLEGAL),
            row("that somebody waits for", Tcb, &[], &[Thing::AwaitedNotification], ILLEGAL),
            row("second notification", BoundTcb, &[], &[Notification], ILLEGAL),
        ],
        after: &[row("again", Tcb, &[], &[ReadNotification], ILLEGAL)],
        ..group(label::TCB_BIND_NOTIFICATION, good(Tcb, &[], &[ReadNotification], DONE))
    },
    Group {
        misuses: &[row("without one", Tcb, &[], &[], ILLEGAL)],
        after: &[row("again", BoundTcb, &[], &[], ILLEGAL)],
        ..group(label::TCB_UNBIND_NOTIFICATION, good(BoundTcb, &[], &[], DONE))
    },
    simple(label::TCB_SET_TLS_BASE, good(Tcb, &[BUFFER], &[], DONE), &[]),
    simple(label::TCB_SET_FLAGS, good(Tcb, &[0, 1], &[], Gives::Words(1)), &[]),
    Group {
        caps: &[cap(0, &[tag::EPT_PML4], ILLEGAL)],
        misuses: &[row("root without identifier", Tcb, &[], &[RawEptPml4], ILLEGAL)],
        ..group(label::TCB_SET_EPT_ROOT, good(Tcb, &[], &[EptPml4], DONE))
    },
];
