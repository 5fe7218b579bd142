// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel with threads whose system calls are made by hand: registers and IPC buffer in, then what kernel entry and exit do.

use std::vec::Vec;

use sel4_abi::label;
use sel4_abi::message::{CapRights, REGISTERS};
use sel4_abi::object::ObjectType;
use sel4_abi::{MessageInfo, syscall as number};

use super::world::{RADIX, World};
use crate::arch::context::{KIND_SYSCALL, MESSAGE};
use crate::arch::{NOW, interrupt_pending};
use crate::cap::{Cap, Root};
use crate::cdt;
use crate::delete;
use crate::fastpath::{self, Other, Signalled};
use crate::ipc;
use crate::object::cnode::CNode;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{Tcb, ThreadState, slot};
use crate::ptr::Ptr;
use crate::syscall;
use crate::transfer::{Buffer, derive, insert_derived};

/// Slot of the capability to the CNode itself.
pub const ROOT: u64 = 1;
/// Slot of an address space.
pub const VSPACE: u64 = 2;
/// Slot of the interrupt control.
pub const IRQ_CONTROL: u64 = 3;
/// Slot of the scheduling control.
pub const SCHED_CONTROL: u64 = 4;
/// Slot of the authority over domains.
pub const DOMAIN: u64 = 5;
/// Slot of a CNode of two slots, of which the first one holds the CNode itself and the second one the world's: an address that begins with
/// zeros leads through it again and again.
pub const DEEP: u64 = 6;
/// First slot of what [`Machine::spawn`] makes.
const FIRST: u64 = 8;
/// Where every thread's system call instruction is.
const RIP: u64 = 0x40_0000;
/// Bytes of that instruction.
const SYSCALL_BYTES: u64 = 2;
/// Ticks of a spawned thread's budget and period.
pub const SLICE: u64 = 1_000_000;

/// What a thread asks for.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// System call number.
    pub number: i64,
    /// RDI: the capability.
    pub target: u64,
    /// R12: the reply object, or the destination of `NBSendWait`.
    pub reply: u64,
    /// R13: the destination of `NBSendRecv`.
    pub dest: u64,
    /// Label of the message.
    pub label: u64,
    /// Words of the message.
    pub words: Vec<u64>,
    /// Addresses of its capabilities.
    pub caps: Vec<u64>,
}

impl Call {
    /// A call of method `label`.
    pub fn invoke(target: u64, label: u64, words: &[u64], caps: &[u64]) -> Self {
        Self {
            number: number::CALL,
            target,
            label,
            words: words.into(),
            caps: caps.into(),
            ..Self::default()
        }
    }
}

/// Slots of a thread's objects.
#[derive(Debug, Clone, Copy)]
pub struct Thread {
    /// The thread itself.
    pub tcb: Ptr<Tcb>,
    /// Slot of its TCB.
    pub slot: u64,
    /// Slot of its scheduling context.
    pub sc: u64,
    /// Slot of the frame of its IPC buffer.
    pub frame: u64,
}

/// A kernel with threads. All share the world's CNode as their capability space; an address is a slot number.
pub struct Machine {
    /// The kernel, its CNode, its memory (slot 0).
    pub w: World,
    next: u64,
}

impl Machine {
    /// No threads yet.
    pub fn new() -> Self {
        Self::with_domains(1)
    }

    /// The same with so many scheduling domains.
    pub fn with_domains(domains: u16) -> Self {
        NOW.with(|n| n.set(1));
        let w = World::with_domains(domains);
        let vspace = Root { paddr: crate::arch::ARENA_START + (3 << 20), asid: 1 };
        for (at, cap) in [
            (ROOT, Cap::CNode(w.root)),
            (VSPACE, Cap::Pml4(vspace)),
            (IRQ_CONTROL, Cap::IrqControl),
            (SCHED_CONTROL, Cap::SchedControl { core: 0 }),
            (DOMAIN, Cap::Domain),
        ] {
            cdt::insert_root(w.slot(at), cap);
        }
        let mut m = Self { w, next: FIRST };
        m.w.retype(0, ObjectType::CNode, 1, DEEP, 1).expect("there is room");
        let (deep, world) = (m.w.slot(DEEP), m.w.slot(ROOT));
        let Cap::CNode(node) = deep.cap() else { panic!("a CNode was made") };
        insert_derived(node.slot(0), deep.cap(), deep);
        insert_derived(node.slot(1), Cap::CNode(CNode { guard_bits: 0, ..m.w.root }), world);
        m
    }

    /// The address of slot `at` in a thread's capability space. In the one of [`DEEP`] every slot has two: those with an odd number are called
    /// by the one that leads through 56 CNodes, the others by the one that leads through two.
    pub fn address(&self, of: Ptr<Tcb>, at: u64) -> u64 {
        match (of.cspace() == self.w.slot(DEEP).cap(), at % 2) {
            (false, _) => at,
            (true, 0) => 1 << 63 | at << (63 - RADIX),
            (true, _) => 1 << RADIX | at,
        }
    }

    /// Gives a thread the capability space in `at`.
    pub fn set_cspace(&mut self, tcb: Ptr<Tcb>, at: u64) {
        let (source, slot) = (self.w.slot(at), tcb.slot(slot::CSPACE));
        delete::delete(&mut self.w.k, slot).expect("nothing is pending");
        insert_derived(slot, source.cap(), source);
    }

    /// Number of an empty slot.
    pub fn empty(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Makes an object, and gives its slot.
    pub fn make(&mut self, ty: ObjectType, size_bits: u64) -> u64 {
        let at = self.empty();
        self.w.retype(0, ty, size_bits, at, 1).expect("there is room");
        at
    }

    /// Copies what is in slot `from` with these rights, and gives the copy's slot.
    pub fn copy(&mut self, by: Thread, from: u64, rights: CapRights) -> u64 {
        let to = self.empty();
        self.invoke(by, ROOT, label::CNODE_COPY, &[to, 64, from, 64, rights.0], &[ROOT]).expect("is copied");
        to
    }

    /// Makes a running thread with a scheduling context and an IPC buffer.
    pub fn spawn(&mut self, priority: u8) -> Thread {
        let thread_slot = self.make(ObjectType::Tcb, 0);
        let sc = self.make(ObjectType::SchedContext, 7);
        let frame = self.make(ObjectType::Page4K, 0);
        let thread = Thread { tcb: self.thread(thread_slot), slot: thread_slot, sc, frame };
        self.set_up(thread.tcb, frame);
        let context = self.sched_context(sc);
        configure(context);
        thread.tcb.priority.set(priority);
        thread.tcb.mcp.set(priority);
        thread.tcb.state.set(ThreadState::Running);
        context.tcb.set(Some(thread.tcb));
        thread.tcb.sc.set(Some(context));
        self.w.k.wake(thread.tcb);
        thread
    }

    /// Gives a thread capability space, address space and IPC buffer.
    pub fn set_up(&self, tcb: Ptr<Tcb>, frame: u64) {
        for (index, from) in [(slot::CSPACE, ROOT), (slot::VSPACE, VSPACE), (slot::IPC_BUFFER, frame)] {
            let source = self.w.slot(from);
            insert_derived(tcb.slot(index), derive(source).expect("can be copied"), source);
        }
        tcb.ipc_buffer.set(0x1000);
    }

    /// The thread whose capability is in slot `at`.
    pub fn thread(&self, at: u64) -> Ptr<Tcb> {
        let Cap::Thread(tcb) = self.w.slot(at).cap() else { panic!("slot {at} holds no thread") };
        tcb
    }

    /// The scheduling context whose capability is in slot `at`.
    pub fn sched_context(&self, at: u64) -> Ptr<SchedContext> {
        let Cap::SchedContext { object, .. } = self.w.slot(at).cap() else {
            panic!("slot {at} holds no scheduling context")
        };
        object
    }

    /// Makes `thread` the current one, as if its priority were the highest for a moment.
    pub fn run(&mut self, thread: Ptr<Tcb>) {
        let priority = thread.priority.get();
        self.w.k.set_priority(thread, u8::MAX);
        self.w.k.choose();
        assert_eq!(self.w.k.sched.current, Some(thread), "the thread can run");
        self.w.k.set_priority(thread, priority);
        self.w.k.sched.keep_current();
    }

    /// The current thread makes a system call; afterwards the kernel is left.
    pub fn enter(&mut self, call: &Call) {
        let tcb = self.w.k.sched.current.expect("a thread runs");
        let c = &tcb.context;
        c.rdx.set(call.number as u64);
        c.rdi.set(self.address(tcb, call.target));
        c.r12.set(self.address(tcb, call.reply));
        c.r13.set(self.address(tcb, call.dest));
        c.rsi.set(MessageInfo::new(call.label, 0, call.caps.len() as u64, call.words.len() as u64).0);
        for (i, word) in call.words.iter().enumerate() {
            match Buffer::of(&tcb) {
                _ if i < REGISTERS => c.at(MESSAGE[i]).set(*word),
                Some(buffer) => buffer.set_message(i, *word),
                None => {}
            }
        }
        if let Some(buffer) = Buffer::of(&tcb) {
            let caps = call.caps.iter().map(|&cap| self.address(tcb, cap));
            caps.enumerate().for_each(|(i, cap)| buffer.set_badge(i, cap));
        }
        self.enter_again();
    }

    /// The current thread executes the system call instruction with the registers that it has.
    pub fn enter_again(&mut self) {
        let tcb = self.w.k.sched.current.expect("a thread runs");
        tcb.context.rip.set(RIP + SYSCALL_BYTES);
        tcb.context.kind.set(KIND_SYSCALL);
        let c = &tcb.context;
        let (address, info) = (c.rdi.get(), c.rsi.get());
        let k = &mut *self.w.k;
        let full = k.domains.count() != 1;
        let next = match c.rdx.get() as i64 {
            number::CALL if !full => fastpath::call::<false>(k, tcb, address, info),
            number::REPLY_RECV if !full => fastpath::reply_recv::<false>(k, tcb, address, info),
            number::SEND if !full => match fastpath::signal(tcb, address, info) {
                Some(Signalled::Noted) => return,
                Some(Signalled::Wakes(n, bits)) => {
                    ipc::signal(k, n, bits);
                    return k.choose();
                }
                None => Err(Other::Ordinary),
            },
            _ => Err(Other::Full),
        };
        let next = match (next, c.rdx.get() as i64) {
            (Err(Other::Full), number::CALL) => fastpath::call::<true>(k, tcb, address, info),
            (Err(Other::Full), number::REPLY_RECV) => fastpath::reply_recv::<true>(k, tcb, address, info),
            (next, _) => next,
        };
        match next {
            // The short path leaves the kernel without a choice.
            Ok(next) => assert_eq!(self.w.k.sched.current, Some(next)),
            Err(_) => {
                syscall::handle(&mut self.w.k);
                self.leave();
            }
        }
    }

    /// The way out of the kernel, up to where interrupts are to be served.
    pub fn leave(&mut self) {
        let k = &mut self.w.k;
        while !(interrupt_pending() && k.sched.half().is_some()) && k.schedule() {}
    }

    /// True when a thread's next instruction is the system call that it has made already: it was preempted, cancelled, or faulted.
    pub fn is_restarted(tcb: Ptr<Tcb>) -> bool {
        tcb.context.rip.get() == RIP
    }

    /// `thread` makes a system call.
    pub fn syscall(&mut self, thread: Thread, call: &Call) {
        self.run(thread.tcb);
        self.enter(call);
    }

    /// `thread` calls a kernel object; gives the label of the answer if that is an error's.
    pub fn invoke(
        &mut self,
        thread: Thread,
        target: u64,
        label: u64,
        words: &[u64],
        caps: &[u64],
    ) -> Result<(), u64> {
        self.syscall(thread, &Call::invoke(target, label, words, caps));
        match MessageInfo(thread.tcb.context.rsi.get()).label() {
            0 => Ok(()),
            error => Err(error),
        }
    }

    /// `thread` deletes what is in a slot of the CNode.
    pub fn delete(&mut self, thread: Thread, at: u64) {
        self.invoke(thread, ROOT, label::CNODE_DELETE, &[at, 64], &[]).expect("is deleted");
    }
}

/// Gives a scheduling context its time.
pub fn configure(sc: Ptr<SchedContext>) {
    sc.configure(SLICE, SLICE, 0, NOW.with(core::cell::Cell::get));
}
