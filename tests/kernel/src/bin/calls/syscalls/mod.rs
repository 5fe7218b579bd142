// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system calls themselves: what they do with an address that leads nowhere, with a capability of another kind, without its rights, without a
//! reply object. Threads of the table's own make them, one instruction each.

mod rows;

use core::arch::global_asm;

use kernel_tests::env::{HIGH, at};
use kernel_tests::{Env, Failure, Outcome, thread};
use sel4::abi::message::IpcBuffer;
use sel4::abi::{LookupFailure, fault, syscall};
use sel4::init_thread::slot;
use sel4::{CNodeCapData, CapRights, Error, Fault, UserContext, cap, cap_type};
use sel4_root_task::println;

use crate::judge::Score;
use crate::table::Gives;
use crate::things::Thing;
use crate::world::World;

global_asm!(".global calls_gadget", "calls_gadget:", "syscall", "ud2");

unsafe extern "C" {
    fn calls_gadget();
}

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Out {
    /// A fault: address, while receiving, why.
    CapFault(u64, bool, LookupFailure),
    /// A fault that tells the number.
    Unknown,
    /// An invocation's answer.
    Answer(Gives),
    /// It is over, and nothing came back.
    Back,
    /// It is over, with this badge; 0 for nothing.
    Badge(u64),
    /// It waits.
    Waits,
}

/// Who makes the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// A thread with the CSpace of [`ROOT`].
    Ordinary,
    /// The same without an IPC buffer.
    NoBuffer,
    /// A thread without a CSpace.
    NoRoot,
}

/// A system call and what becomes of it.
#[derive(Debug, Clone, Copy)]
struct Row {
    what: &'static str,
    number: i64,
    /// RDI: what is sent to, or received from by calls that receive.
    rdi: u64,
    /// RSI: the message's label, extra capabilities, words.
    info: (u64, u64, u64),
    words: [u64; 4],
    caps: [u64; 2],
    /// The reply object, or of NBSendWait what is sent to.
    r12: u64,
    /// Of NBSendRecv what is sent to.
    r13: u64,
    who: Who,
    gives: Out,
}

/// The threads' root CNode, by slot: 16 of them, with guard 0b0101. Slot 8 is it itself without the guard, slot 13 with a guard of one bit;
/// the others are empty.
const ROOT: &[(u64, Thing)] = &[
    (1, Thing::Endpoint),
    (2, Thing::ReadEndpoint),
    (3, Thing::WriteEndpoint),
    (4, Thing::WriteNotification),
    (5, Thing::ReadNotification),
    (6, Thing::BoundNotification),
    (9, Thing::OtherTcb),
    (10, Thing::Reply),
    (11, Thing::Frame),
    (12, Thing::CNode),
];
/// Badge of the notification in slot 4.
const BADGE: u64 = 5;

struct Prober {
    thread: kernel_tests::Thread,
    faults: cap::Endpoint,
    reply: cap::Reply,
}

/// Judges all rows, and counts them.
pub fn judge(env: &mut Env, score: &mut Score) -> Outcome {
    let world = World::new(env)?;
    let root = root(env, &world)?;
    let probers = [
        Prober::new(env, root, Who::Ordinary)?,
        Prober::new(env, root, Who::NoBuffer)?,
        Prober::new(env, root, Who::NoRoot)?,
    ];
    // A kernel with debug calls knows more numbers.
    let identify = rows::unknown(syscall::DEBUG_CAP_IDENTIFY);
    let debug = probers[0].run(&identify)? != Out::Unknown;
    let mut wrong = 0;
    rows::all(debug, &mut |row| {
        match row.gives {
            Out::Answer(Gives::Words(_)) | Out::Back | Out::Badge(_) | Out::Waits => score.successes += 1,
            _ => score.misuses += 1,
        }
        let got = probers[row.who as usize].run(row);
        if !matches!(got, Ok(got) if got == row.gives) {
            wrong += 1;
            println!("{} {}, {:x}: {got:x?} instead of {:x?}", row.number, row.what, row.rdi, row.gives);
        }
    });
    if wrong == 0 { Ok(()) } else { Err(Failure::new(format_args!("{wrong} rows are wrong"))) }
}

fn root(env: &mut Env, world: &World) -> Outcome<cap::CNode> {
    let node = env.cnode(4)?;
    let slot = |index| node.absolute_cptr_from_bits_with_depth(index, 4);
    for (index, thing) in ROOT {
        let badge = if *thing == Thing::WriteNotification { BADGE } else { 0 };
        slot(*index).mint(&at(world.cap::<cap_type::Unspecified>(*thing)), CapRights::all(), badge)?;
    }
    slot(8).copy(&at(node), CapRights::all())?;
    slot(13).mint_guarded(&at(node), CapRights::all(), CNodeCapData::new(0, 1))?;
    Ok(node)
}

impl Prober {
    fn new(env: &mut Env, root: cap::CNode, who: Who) -> Outcome<Self> {
        let thread = env.thread(|_| (), [0; 4])?;
        let own = slot::TCB.cap();
        let (faults, reply): (cap::Endpoint, cap::Reply) = (env.make()?, env.make()?);
        thread.tcb.tcb_set_sched_params(own, 255, HIGH, thread.sc, faults)?;
        let root = if who == Who::NoRoot { env.cnode(4)? } else { root };
        let guard = CNodeCapData::new(0b0101, 4);
        thread.tcb.tcb_set_space(faults.cptr(), root, guard, slot::VSPACE.cap())?;
        match who {
            Who::Ordinary => {}
            Who::NoBuffer => thread.tcb.tcb_set_ipc_buffer(0, cap::Granule::from_bits(0))?,
            Who::NoRoot => at(root).revoke()?,
        }
        Ok(Self { thread, faults, reply })
    }

    /// Lets the thread make the call, and sees what became of it.
    fn run(&self, row: &Row) -> Outcome<Out> {
        let (label, caps, length) = row.info;
        let before = UserContext {
            rip: calls_gadget as *const () as u64,
            rflags: 0x202,
            rdx: row.number as u64,
            rdi: row.rdi,
            rsi: label << 12 | caps << 7 | length,
            r10: row.words[0],
            r8: row.words[1],
            r9: row.words[2],
            r15: row.words[3],
            r12: row.r12,
            r13: row.r13,
            ..UserContext::default()
        };
        let tcb = self.thread.tcb;
        tcb.tcb_suspend()?;
        let buffer = thread::ipc_buffer_address(self.thread.id) as *mut IpcBuffer;
        // SAFETY: the page of a thread that stands still.
        unsafe { (&raw mut (*buffer).caps_or_badges).write_volatile([row.caps[0], row.caps[1], 0]) };
        tcb.tcb_write_all_registers(true, &before)?;
        // It has run by now: its priority is higher.
        let (info, _) = self.faults.nb_recv(self.reply);
        let told = sel4::with_ipc_buffer(|buffer| Fault::new(buffer, &info));
        match told {
            Some(Fault::CapFault(told)) if info.label() == fault::CAP_FAULT => {
                let why = told.failure.ok_or(Failure::new(format_args!("no reason: {told:x?}")))?;
                Ok(Out::CapFault(told.address, told.in_receive, why))
            }
            Some(Fault::UnknownSyscall(told)) => {
                let is_this =
                    told.number == row.number as u64 && info.length() == fault::UNKNOWN_SYSCALL_WORDS;
                if is_this { Ok(Out::Unknown) } else { Err(Failure::new(format_args!("{:x}", told.number))) }
            }
            Some(Fault::UserException(_)) => {
                // SAFETY: as above.
                let fifth = unsafe { (&raw const (*buffer).msg[4]).read_volatile() };
                Ok(outcome(row, &before, &tcb.tcb_read_all_registers(false)?, fifth))
            }
            Some(Fault::NullFault) | None if info.into_word() == 0 => Ok(Out::Waits),
            told => Err(Failure::new(format_args!("{told:x?}"))),
        }
    }
}

/// What the registers say after the call, in the terms in which the row does.
fn outcome(row: &Row, before: &UserContext, after: &UserContext, fifth: u64) -> Out {
    match row.gives {
        Out::Answer(_) => {
            let info = sel4::MessageInfo::from_word(after.rsi);
            let length = info.length();
            match Error::from_code(info.label()) {
                None => Out::Answer(Gives::Words(length)),
                Some(error) => {
                    let mut words = [after.r10, after.r8, after.r9, after.r15, fifth];
                    words[length.min(5)..].fill(0);
                    Out::Answer(Gives::Error(error, words, length))
                }
            }
        }
        Out::Badge(_) => Out::Badge(after.rdi),
        _ if (after.rdi, after.rsi) == (before.rdi, before.rsi) => Out::Back,
        _ => Out::Badge(after.rdi),
    }
}
