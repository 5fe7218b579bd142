// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of system calls.

use sel4::abi::syscall::{
    CALL, DEBUG_CAP_IDENTIFY, DEBUG_DUMP_SCHEDULER, DEBUG_HALT, DEBUG_NAME_THREAD, DEBUG_PUT_CHAR,
    DEBUG_SNAPSHOT, NB_RECV, NB_SEND, NB_SEND_RECV, NB_SEND_WAIT, NB_WAIT, RECV, REPLY_RECV, SEND,
    SET_TLS_BASE, VM_ENTER, WAIT, X86_DANGEROUS_RDMSR, YIELD,
};
use sel4::abi::{LookupFailure, label};

use super::{BADGE, Out, Row, Who};
use crate::table::{DONE, Gives, ILLEGAL, TRUNCATED, capability};

/// Address of a slot of the threads' root.
const fn at(slot: u64) -> u64 {
    0b0101 << 60 | slot << 56
}

const NOTHING: u64 = at(0);
const ENDPOINT: u64 = at(1);
const READ_ENDPOINT: u64 = at(2);
const WRITE_ENDPOINT: u64 = at(3);
const WRITE_NOTIFICATION: u64 = at(4);
const READ_NOTIFICATION: u64 = at(5);
const OTHERS_NOTIFICATION: u64 = at(6);
const THREAD: u64 = at(9);
const REPLY: u64 = at(10);
const FRAME: u64 = at(11);
/// Through the CNode in itself to its last bits: a CNode that is met before is looked into.
const NODE: u64 = 0x5888_8888_8888_888c;
/// Without the guard.
const BAD: u64 = 0;
/// Through the CNode in itself, once with its guard, until three bits are left.
const DEEP: u64 = 0x5d44_4444_4444_4440;

const GUARD: LookupFailure = LookupFailure::GuardMismatch { bits_left: 64, guard: 0b0101, guard_bits: 4 };
const DEPTH: LookupFailure = LookupFailure::DepthMismatch { bits_left: 3, bits_found: 4 };
const MISSING: LookupFailure = LookupFailure::MissingCapability { bits_left: 0 };

/// A call with nothing in its message, nothing to reply to and nobody else to send to.
const fn row(what: &'static str, number: i64, rdi: u64, gives: Out) -> Row {
    Row {
        what,
        number,
        rdi,
        info: (0, 0, 0),
        words: [0; 4],
        caps: [0; 2],
        r12: NOTHING,
        r13: NOTHING,
        who: Who::Ordinary,
        gives,
    }
}

/// A number without a call.
pub const fn unknown(number: i64) -> Row {
    row("no call", number, 0, Out::Unknown)
}

/// A message with these extra capabilities.
const fn with_caps(what: &'static str, number: i64, rdi: u64, caps: [u64; 2], gives: Out) -> Row {
    Row { info: (0, 2, 0), caps, ..row(what, number, rdi, gives) }
}

/// An invocation by a thread without an IPC buffer.
const fn bare(what: &'static str, rdi: u64, info: (u64, u64, u64), words: [u64; 4], gives: Gives) -> Row {
    Row { info, words, who: Who::NoBuffer, ..row(what, CALL, rdi, Out::Answer(gives)) }
}

const ROWS: &[Row] = &[
    row("to an endpoint", SEND, ENDPOINT, Out::Waits),
    row("to an endpoint", CALL, ENDPOINT, Out::Waits),
    row("to an endpoint", NB_SEND, ENDPOINT, Out::Back),
    row("without the right to be answered", CALL, WRITE_ENDPOINT, Out::Waits),
    row("to an empty slot", CALL, NOTHING, Out::Answer(capability(0))),
    row("without the write right", CALL, READ_ENDPOINT, Out::Answer(capability(0))),
    row("without the right to signal", CALL, READ_NOTIFICATION, Out::Answer(capability(0))),
    row("of no method", CALL, FRAME, Out::Answer(ILLEGAL)),
    row("of a reply that nobody waits for", CALL, REPLY, Out::Answer(DONE)),
    row("signal", CALL, WRITE_NOTIFICATION, Out::Answer(DONE)),
    row("what was signalled", NB_WAIT, READ_NOTIFICATION, Out::Badge(BADGE)),
    row("signal", NB_SEND, WRITE_NOTIFICATION, Out::Back),
    row("what was signalled", WAIT, READ_NOTIFICATION, Out::Badge(BADGE)),
    row("signal", SEND, WRITE_NOTIFICATION, Out::Back),
    row("what was signalled", RECV, READ_NOTIFICATION, Out::Badge(BADGE)),
    row("signal", SEND, WRITE_NOTIFICATION, Out::Back),
    row("what was signalled", NB_RECV, READ_NOTIFICATION, Out::Badge(BADGE)),
    Row {
        r12: REPLY,
        r13: WRITE_NOTIFICATION,
        ..row("both", NB_SEND_RECV, READ_NOTIFICATION, Out::Badge(BADGE))
    },
    Row { r12: WRITE_NOTIFICATION, ..row("both", NB_SEND_WAIT, READ_NOTIFICATION, Out::Badge(BADGE)) },
    with_caps("first capability", SEND, THREAD, [BAD, NOTHING], Out::CapFault(BAD, false, GUARD)),
    with_caps("second capability", SEND, THREAD, [ENDPOINT, DEEP], Out::CapFault(DEEP, false, DEPTH)),
    with_caps("for an endpoint", SEND, ENDPOINT, [BAD, NOTHING], Out::CapFault(BAD, false, GUARD)),
    with_caps("first capability", CALL, THREAD, [BAD, DEEP], Out::CapFault(BAD, false, GUARD)),
    with_caps("second capability", CALL, ENDPOINT, [NOTHING, DEEP], Out::CapFault(DEEP, false, DEPTH)),
    with_caps("destination first", CALL, DEEP, [BAD, BAD], Out::CapFault(DEEP, false, DEPTH)),
    with_caps("first capability", NB_SEND, THREAD, [BAD, NOTHING], Out::Back),
    Row { r12: REPLY, ..row("endpoint", RECV, ENDPOINT, Out::Waits) },
    Row { r12: REPLY, ..row("endpoint", NB_RECV, ENDPOINT, Out::Badge(0)) },
    Row { r12: REPLY, ..row("endpoint", REPLY_RECV, ENDPOINT, Out::Waits) },
    Row { r12: REPLY, ..row("endpoint", NB_SEND_RECV, ENDPOINT, Out::Waits) },
    row("endpoint", WAIT, ENDPOINT, Out::Waits),
    row("endpoint", NB_WAIT, ENDPOINT, Out::Badge(0)),
    row("endpoint", NB_SEND_WAIT, ENDPOINT, Out::Waits),
    row("notification, no reply object", RECV, READ_NOTIFICATION, Out::Waits),
    row("notification, no reply object", NB_RECV, READ_NOTIFICATION, Out::Badge(0)),
    row("notification, no reply object", REPLY_RECV, READ_NOTIFICATION, Out::Waits),
    row("notification", WAIT, READ_NOTIFICATION, Out::Waits),
    Row { r12: DEEP, ..row("source before reply object", RECV, BAD, Out::CapFault(BAD, true, GUARD)) },
    row("", YIELD, 0, Out::Back),
    row("", SET_TLS_BASE, 0x1000, Out::Back),
    unknown(0),
    unknown(1),
    unknown(i64::MAX),
    unknown(i64::MIN),
    unknown(SET_TLS_BASE - 1),
    unknown(-64),
    unknown(0xffff_ffff),
    row("without a virtual CPU", VM_ENTER, 0, Out::Unknown),
    bare("two words", NODE, (label::CNODE_DELETE, 0, 2), [1, 4, 0, 0], DONE),
    bare("five words", NODE, (label::CNODE_COPY, 0, 5), [12, 4, 2, 4], TRUNCATED),
    bare(
        "five words, and slots that lead nowhere",
        NODE,
        (label::CNODE_COPY, 1, 5),
        [12, 4, 0, 0],
        TRUNCATED,
    ),
    bare("a capability", THREAD, (label::TCB_SET_PRIORITY, 1, 1), [0; 4], TRUNCATED),
    bare("twenty words back", THREAD, (label::TCB_READ_REGISTERS, 0, 2), [0, 20, 0, 0], Gives::Words(4)),
    Row { info: (label::TCB_SUSPEND, 0, 127), ..row("127 words", CALL, THREAD, Out::Answer(DONE)) },
    Row { info: (label::TCB_SUSPEND, 3 << 2, 0), ..row("unwrapped bits", CALL, THREAD, Out::Answer(DONE)) },
];

/// What can't be sent to at all; and what a call that doesn't wait leaves alone.
const NO_DESTINATION: [(u64, LookupFailure); 2] = [(BAD, GUARD), (DEEP, DEPTH)];
const LEFT_ALONE: [u64; 8] = [BAD, DEEP, NOTHING, READ_ENDPOINT, READ_NOTIFICATION, FRAME, REPLY, THREAD];
/// What can't be received from.
const NO_SOURCE: [(u64, LookupFailure); 9] = [
    (BAD, GUARD),
    (DEEP, DEPTH),
    (NOTHING, MISSING),
    (WRITE_ENDPOINT, MISSING),
    (WRITE_NOTIFICATION, MISSING),
    (OTHERS_NOTIFICATION, MISSING),
    (REPLY, MISSING),
    (FRAME, MISSING),
    (THREAD, MISSING),
];
/// What is no reply object.
const NO_REPLY: [(u64, LookupFailure); 5] =
    [(BAD, GUARD), (DEEP, DEPTH), (NOTHING, MISSING), (ENDPOINT, MISSING), (FRAME, MISSING)];
const RECEIVING: [i64; 7] = [RECV, NB_RECV, REPLY_RECV, NB_SEND_RECV, WAIT, NB_WAIT, NB_SEND_WAIT];
const WITH_REPLY: [i64; 4] = [RECV, NB_RECV, REPLY_RECV, NB_SEND_RECV];
/// What a kernel with debug calls knows, and answers without stopping the machine.
const DEBUG: [i64; 5] =
    [DEBUG_PUT_CHAR, DEBUG_DUMP_SCHEDULER, DEBUG_CAP_IDENTIFY, DEBUG_SNAPSHOT, DEBUG_NAME_THREAD];

/// Gives every row to `judge`; those of debug calls as a kernel has it that knows them, or doesn't.
pub fn all(debug: bool, judge: &mut dyn FnMut(&Row)) {
    ROWS.iter().for_each(&mut *judge);
    for number in [SEND, CALL] {
        for (address, why) in NO_DESTINATION {
            judge(&row("to nowhere", number, address, Out::CapFault(address, false, why)));
        }
        let fault = Out::CapFault(ENDPOINT, false, LookupFailure::InvalidRoot);
        judge(&Row { who: Who::NoRoot, ..row("without a CSpace", number, ENDPOINT, fault) });
    }
    for address in LEFT_ALONE {
        judge(&row("to nobody", NB_SEND, address, Out::Back));
        if !NO_DESTINATION.iter().any(|(nowhere, _)| *nowhere == address) {
            judge(&row("to nobody", SEND, address, Out::Back));
        }
        // The second half is made all the same.
        let then = row("to nobody", NB_SEND_RECV, READ_NOTIFICATION, Out::Waits);
        judge(&Row { r12: REPLY, r13: address, ..then });
        judge(&Row { r12: address, ..row("to nobody", NB_SEND_WAIT, READ_NOTIFICATION, Out::Waits) });
    }
    judge(&Row { who: Who::NoRoot, ..row("without a CSpace", NB_SEND, ENDPOINT, Out::Back) });
    for number in RECEIVING {
        for (address, why) in NO_SOURCE {
            let fault = Out::CapFault(address, true, why);
            judge(&Row { r12: REPLY, ..row("from nowhere", number, address, fault) });
        }
        let fault = Out::CapFault(ENDPOINT, true, LookupFailure::InvalidRoot);
        judge(&Row { who: Who::NoRoot, ..row("without a CSpace", number, ENDPOINT, fault) });
    }
    for number in WITH_REPLY {
        for (address, why) in NO_REPLY {
            let fault = Out::CapFault(address, true, why);
            judge(&Row { r12: address, ..row("no reply object", number, ENDPOINT, fault) });
        }
    }
    for number in X86_DANGEROUS_RDMSR..=DEBUG_PUT_CHAR {
        // It would stop the machine.
        if debug && number == DEBUG_HALT {
            continue;
        }
        let known = debug && DEBUG.contains(&number);
        // What is identified is an empty slot: tag 0.
        let gives = if !known {
            Out::Unknown
        } else if number == DEBUG_CAP_IDENTIFY {
            Out::Badge(0)
        } else {
            Out::Back
        };
        judge(&row("of a debug build", number, NOTHING, gives));
    }
}
