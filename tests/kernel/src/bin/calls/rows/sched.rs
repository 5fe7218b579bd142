// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scheduling contexts, their control, and domains.

use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{
    CapArgument, DONE, Gives, Group, ILLEGAL, argument, cap, capability, good, group, range, row,
};
use crate::things::Thing::{
    self, AwaitedNotification, Context, DomainSet, Frame, Notification, OtherContext, OtherTcb, OwnContext,
    OwnTcb, SchedControl, Tcb, WaitingTcb,
};
use crate::things::{LONGEST, TOO_LONG};

/// Budget, period, extra refills, badge, flags.
const WORDS: &[u64] = &[10_000, 10_000, 0, 7, 0];
const CONTEXT: &[Thing] = &[Context];
const FOREVER: u64 = sel4::abi::sched::MAX_DOMAIN_DURATION;
/// What a context can be bound to.
const HOLDER: CapArgument = cap(0, &[tag::THREAD, tag::NOTIFICATION], capability(1));

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        caps: &[cap(0, &[tag::SCHED_CONTEXT], capability(1))],
        misuses: &[
            row("budget 0", SchedControl, &[0, 10_000, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("budget 19", SchedControl, &[19, 10_000, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("long budget", SchedControl, &[TOO_LONG, LONGEST, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("longest budget", SchedControl, &[u64::MAX, 10_000, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("period 0", SchedControl, &[20, 0, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("period 19", SchedControl, &[20, 19, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("long period", SchedControl, &[20, TOO_LONG, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("longest period", SchedControl, &[20, u64::MAX, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("budget beyond period", SchedControl, &[10_001, 10_000, 0, 7, 0], CONTEXT, range(20, 10_000)),
            row("9 refills more", SchedControl, &[20, 20, 9, 7, 0], CONTEXT, range(0, 8)),
            row("most refills", SchedControl, &[20, 20, u64::MAX, 7, 0], CONTEXT, range(0, 8)),
            row("budget before period", SchedControl, &[19, 0, 0, 7, 0], CONTEXT, range(20, LONGEST)),
            row("time before context", SchedControl, &[21, 20, 0, 7, 0], &[Frame], range(20, 20)),
            row("context before refills", SchedControl, &[20, 20, 9, 7, 0], &[Frame], capability(1)),
        ],
        after: &[
            row("least and longest", SchedControl, &[20, LONGEST, 8, u64::MAX, 1], CONTEXT, DONE),
            row("of a thread", SchedControl, WORDS, &[OwnContext], DONE),
        ],
        ..group(label::SCHED_CONTROL_CONFIGURE_FLAGS, good(SchedControl, WORDS, CONTEXT, DONE))
    },
    Group {
        caps: &[HOLDER],
        misuses: &[
            row("in use", OwnContext, &[], &[Tcb], ILLEGAL),
            row("thread that has one", Context, &[], &[OwnTcb], ILLEGAL),
            row("without time, for one that waits", Context, &[], &[WaitingTcb], ILLEGAL),
        ],
        after: &[
            row("again", Context, &[], &[Tcb], ILLEGAL),
            row("another thread", Context, &[], &[OtherTcb], ILLEGAL),
            row("another context", OtherContext, &[], &[Tcb], ILLEGAL),
            row("a notification too", Context, &[], &[Notification], DONE),
            row("that again", Context, &[], &[Notification], ILLEGAL),
            row("another notification", Context, &[], &[AwaitedNotification], ILLEGAL),
            row("notification that has one", OtherContext, &[], &[Notification], ILLEGAL),
            row("with time", SchedControl, WORDS, &[OtherContext], DONE)
                .of(label::SCHED_CONTROL_CONFIGURE_FLAGS),
            row("for one that waits", OtherContext, &[], &[WaitingTcb], DONE),
        ],
        ..group(label::SCHED_CONTEXT_BIND, good(Context, &[], &[Tcb], DONE))
    },
    Group {
        before: &[row("bound", Context, &[], &[Tcb], DONE).of(label::SCHED_CONTEXT_BIND)],
        misuses: &[row("its own", OwnContext, &[], &[], ILLEGAL)],
        after: &[row("again", Context, &[], &[], DONE)],
        ..group(label::SCHED_CONTEXT_UNBIND, good(Context, &[], &[], DONE))
    },
    Group {
        before: &[row("bound", Context, &[], &[Tcb], DONE).of(label::SCHED_CONTEXT_BIND)],
        caps: &[HOLDER],
        misuses: &[
            row("another thread", Context, &[], &[OtherTcb], ILLEGAL),
            row("another context", OtherContext, &[], &[Tcb], ILLEGAL),
            row("notification", Context, &[], &[Notification], ILLEGAL),
            row("its own", OwnContext, &[], &[OwnTcb], ILLEGAL),
        ],
        after: &[row("again", Context, &[], &[Tcb], ILLEGAL)],
        ..group(label::SCHED_CONTEXT_UNBIND_OBJECT, good(Context, &[], &[Tcb], DONE))
    },
    group(label::SCHED_CONTEXT_CONSUMED, good(Context, &[], &[], Gives::Words(1))),
    Group {
        before: &[row("bound", Context, &[], &[Tcb], DONE).of(label::SCHED_CONTEXT_BIND)],
        misuses: &[
            row("nobody's", OtherContext, &[], &[], ILLEGAL),
            row("its own", OwnContext, &[], &[], ILLEGAL),
        ],
        ..group(label::SCHED_CONTEXT_YIELD_TO, good(Context, &[], &[], Gives::Words(1)))
    },
    Group {
        caps: &[cap(0, &[tag::THREAD], argument(1))],
        misuses: &[
            row("domain 1", DomainSet, &[1], &[Tcb], argument(0)),
            row("domain 16", DomainSet, &[16], &[Tcb], argument(0)),
            row("domain 255", DomainSet, &[255], &[Tcb], argument(0)),
            row("domain before thread", DomainSet, &[255], &[Frame], argument(0)),
        ],
        ..group(label::DOMAIN_SET_SET, good(DomainSet, &[0], &[Tcb], DONE))
    },
    // Index, domain, duration. There is one domain, so the table has one entry and its end.
    Group {
        misuses: &[
            row("entry 1", DomainSet, &[1, 0, FOREVER], &[], range(0, 0)),
            row("largest entry", DomainSet, &[u64::MAX, 0, FOREVER], &[], range(0, 0)),
            row("domain 1", DomainSet, &[0, 1, FOREVER], &[], range(0, 0)),
            row("domain 255", DomainSet, &[0, 255, FOREVER], &[], range(0, 0)),
            row("57 bits of time", DomainSet, &[0, 0, FOREVER + 1], &[], argument(2)),
            row("longest time", DomainSet, &[0, 0, u64::MAX], &[], argument(2)),
            row("an end at the start", DomainSet, &[0, 0, 0], &[], argument(2)),
            row("entry before time", DomainSet, &[1, 0, u64::MAX], &[], range(0, 0)),
            row("domain before time", DomainSet, &[0, 1, u64::MAX], &[], range(0, 0)),
        ],
        ..group(label::DOMAIN_SCHEDULE_CONFIGURE, good(DomainSet, &[0, 0, FOREVER], &[], DONE))
    },
    Group {
        misuses: &[
            row("the end", DomainSet, &[1], &[], argument(0)),
            row("behind the end", DomainSet, &[2], &[], range(0, 1)),
            row("largest entry", DomainSet, &[u64::MAX], &[], range(0, 1)),
        ],
        ..group(label::DOMAIN_SCHEDULE_SET_START, good(DomainSet, &[0], &[], DONE))
    },
];
