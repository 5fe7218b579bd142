// SPDX-License-Identifier: MIT OR Apache-2.0
//! The environment of a check: memory and slots of its own, taken back afterwards.

use sel4::init_thread::{Slot, slot};
use sel4::{
    AbsoluteCPtr, BootInfoPtr, CNodeCapData, CPtr, Cap, CapRights, CapType, CapTypeForObjectOfFixedSize,
    FastMessage, Fault, MessageInfo, ObjectBlueprint, RecvWithMRs, Word, cap, cap_type,
};
use sel4_root_task::entry::image_frame;
use sel4_root_task::println;

use crate::failure::{Failure, Outcome};
use crate::thread::{self, Body, Thread};
use crate::{check, machine};

/// Priority of the initial thread while checks run.
pub const MAIN: Word = 100;
/// Priority of a thread that runs as soon as it can.
pub const HIGH: Word = 150;
/// Priority of a thread that runs only while the initial thread waits.
pub const LOW: Word = 50;
/// Priority of the thread that the initial thread faults to.
const DOCTOR: Word = 200;
/// Priority of the watchdog.
const WATCHDOG: Word = 1;

/// Log2 of the bytes that a check has.
pub const ARENA_BITS: usize = 25;

/// Badge bit: the watchdog runs, so nobody else can.
pub const IDLE: Word = 1 << 61;
/// Badge bit of the fault endpoint.
const FAULT: Word = 1 << 62;
/// Lowest of the badge bits by which threads tell that they have come to their ends.
const DONE_SHIFT: usize = 48;
/// All of those bits.
const DONE: Word = ((1 << thread::MAX_THREADS) - 1) << DONE_SHIFT;
/// Number of the first thread: the watchdog, and then the doctor.
const WATCHDOG_ID: usize = 0;
/// Number of the first thread of a check.
const FIRST_ID: usize = 2;

/// The environment of a check.
pub struct Env {
    /// Boot information.
    pub bootinfo: BootInfoPtr,
    /// The check's memory: 2^[`ARENA_BITS`] bytes, nothing made of it yet.
    pub arena: cap::Untyped,
    /// The initial thread's bound notification.
    pub events: cap::Notification,
    /// Where threads fault to.
    pub fault_ep: cap::Endpoint,
    /// The initial thread's reply object.
    pub reply: cap::Reply,
    /// Scheduling control of this CPU.
    pub sched_control: cap::SchedControl,
    first: usize,
    next: usize,
    end: usize,
    threads: usize,
    seen: Word,
    bochs: bool,
}

/// Whether the machine is Bochs, which answers at a port of its own.
fn is_bochs(empty: CPtr) -> Outcome<bool> {
    const PORT: u16 = 0xe9;
    let ports = empty.cast::<cap_type::IOPort>();
    slot::IO_PORT_CONTROL.cap().ioport_control_issue(PORT.into(), PORT.into(), &at(ports))?;
    let answer = ports.ioport_in8(PORT)?;
    at(ports).delete()?;
    Ok(answer == PORT as u8)
}

/// The slot of the initial CNode that `cap` is in.
pub fn at<T: CapType>(cap: Cap<T>) -> AbsoluteCPtr {
    slot::CNODE.cap().absolute_cptr(cap)
}

/// The initial CNode as destination of a retype.
pub fn own_cnode() -> AbsoluteCPtr {
    slot::CNODE.cap().absolute_cptr_for_self()
}

/// The guard that makes the initial CNode a CSpace root.
pub fn root_guard(bootinfo: &BootInfoPtr) -> CNodeCapData {
    CNodeCapData::skip_high_bits(bootinfo.init_cnode_size_bits())
}

/// True if the kernel was booted with more than one scheduling domain: then the schedule has more entries.
pub fn has_domains() -> bool {
    let result = slot::DOMAIN_SET.cap().domain_set_schedule_configure(Word::MAX, 0, 1);
    result.is_err() && sel4::with_ipc_buffer(|buffer| buffer.msg_regs()[1] > 0)
}

/// Writes turns of the domains' schedule from entry `first` on: domains, and durations of so many times `unit` ticks. After them it goes round to its
/// start.
pub fn write_turns(first: Word, turns: &[(u8, Word)], unit: Word) -> Outcome {
    for (index, &(domain, duration)) in (first..).zip(turns.iter().chain([&(0, 0)])) {
        slot::DOMAIN_SET.cap().domain_set_schedule_configure(index, domain, duration * unit)?;
    }
    Ok(())
}

impl Env {
    /// Sets up what all checks share: the console, the arena, the watchdog.
    pub fn new(bootinfo: &BootInfoPtr) -> Outcome<Self> {
        let mut empty = bootinfo.empty();
        machine::open_console(empty.start)?;
        let big = bootinfo
            .untypeds()
            .filter(|(_, desc)| desc.is_device == 0)
            .max_by_key(|(_, desc)| desc.size_bits)
            .map(|(slot, _)| slot.cap())
            .ok_or(Failure::new(format_args!("no RAM untyped")))?;
        empty.start += 1;
        let mut make = |blueprint: ObjectBlueprint| -> Outcome<usize> {
            let slot = empty.next().ok_or(Failure::new(format_args!("no empty slots")))?;
            big.untyped_retype(&blueprint, &own_cnode(), slot, 1)?;
            Ok(slot)
        };
        let arena = make(ObjectBlueprint::Untyped { size_bits: ARENA_BITS })?;
        let events = make(ObjectBlueprint::Notification)?;
        let fault_ep = make(ObjectBlueprint::Endpoint)?;
        let reply = make(ObjectBlueprint::Reply)?;
        let own_faults = cap::Endpoint::from_bits(make(ObjectBlueprint::Endpoint)? as Word);
        let own_reply = cap::Reply::from_bits(make(ObjectBlueprint::Reply)? as Word);
        let watchdog_memory = make(ObjectBlueprint::Untyped { size_bits: 14 })?;
        let sched_control =
            bootinfo.sched_control(0).ok_or(Failure::new(format_args!("no scheduling control")))?.cap();
        let mut env = Self {
            bootinfo: *bootinfo,
            // The watchdog is made of memory of its own, which isn't taken back.
            arena: Slot::from_index(watchdog_memory).cap(),
            events: Slot::from_index(events).cap(),
            fault_ep: Slot::from_index(fault_ep).cap(),
            reply: Slot::from_index(reply).cap(),
            sched_control,
            first: empty.start,
            next: empty.start,
            // The last slots are for the end.
            end: empty.end - 4,
            threads: WATCHDOG_ID,
            seen: 0,
            bochs: is_bochs(CPtr::from_bits(empty.start as Word))?,
        };
        let own = slot::TCB.cap();
        own.tcb_set_sched_params(own, 255, MAIN, slot::SC.cap(), own_faults)?;
        slot::TCB.cap().tcb_bind_notification(env.events)?;
        let idle = env.mint(env.events, CapRights::all(), IDLE)?;
        env.spawn(WATCHDOG, watchdog, [idle.bits(), 0, 0, 0])?;
        env.spawn(DOCTOR, doctor, [own_faults.bits(), own_reply.bits(), empty.end as Word - 2, 0])?;
        env.arena = Slot::from_index(arena).cap();
        env.first = env.next;
        env.threads = FIRST_ID;
        Ok(env)
    }

    /// Runs a check, and takes back what it used.
    pub fn run(&mut self, check: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        self.events.poll();
        self.seen = 0;
        thread::clear_cells();
        let outcome = check(self);
        let cleaned = self.clean();
        outcome.and(cleaned)
    }

    fn clean(&mut self) -> Outcome {
        at(self.arena).revoke()?;
        // What isn't made of the arena: handlers, ports, copies of what was there before.
        for index in self.first..self.next {
            at(CPtr::from_bits(index as Word).cast::<cap_type::Unspecified>()).delete()?;
        }
        self.next = self.first;
        self.threads = FIRST_ID;
        Ok(())
    }

    /// A slot for the end of the run: nothing is in it and in the next.
    pub fn last_slot(&self) -> usize {
        self.end
    }

    /// Skips the check on Bochs, since something is wrong there.
    pub fn not_in_bochs(&self, wrong: &str) -> Outcome {
        if self.bochs { Err(Failure::skip(wrong)) } else { Ok(()) }
    }

    /// RFLAGS of a guest that something else is to end: Bochs interrupts only those that allow interrupts.
    pub fn guest_flags(&self) -> u64 {
        if self.bochs { 0x202 } else { 2 }
    }

    /// Number of a slot that is empty.
    pub fn slot(&mut self) -> Outcome<usize> {
        check!(self.next < self.end, "no empty slots left");
        self.next += 1;
        Ok(self.next - 1)
    }

    /// An empty slot, as the address of the capability that is going to be in it.
    pub fn empty<T: CapType>(&mut self) -> Outcome<Cap<T>> {
        Ok(Cap::from_bits(self.slot()? as Word))
    }

    /// First of `count` empty slots.
    pub fn slots(&mut self, count: usize) -> Outcome<usize> {
        check!(self.next + count <= self.end, "no {count} empty slots left");
        self.next += count;
        Ok(self.next - count)
    }

    /// Makes an object.
    #[track_caller]
    pub fn make<T: CapTypeForObjectOfFixedSize>(&mut self) -> Outcome<Cap<T>> {
        self.make_of(T::BLUEPRINT)
    }

    /// Makes an object of this kind.
    #[track_caller]
    pub fn make_of<T: CapType>(&mut self, blueprint: ObjectBlueprint) -> Outcome<Cap<T>> {
        let slot = self.slot()?;
        self.arena.untyped_retype(&blueprint, &own_cnode(), slot, 1)?;
        Ok(Cap::from_bits(slot as Word))
    }

    /// Makes a CNode of 2^`bits` slots.
    pub fn cnode(&mut self, bits: usize) -> Outcome<cap::CNode> {
        self.make_of(ObjectBlueprint::CNode { size_bits: bits })
    }

    /// Makes an untyped of 2^`bits` bytes.
    pub fn untyped(&mut self, bits: usize) -> Outcome<cap::Untyped> {
        self.make_of(ObjectBlueprint::Untyped { size_bits: bits })
    }

    /// A copy with a badge.
    #[track_caller]
    pub fn mint<T: CapType>(&mut self, source: Cap<T>, rights: CapRights, badge: Word) -> Outcome<Cap<T>> {
        let copy = self.empty()?;
        at(copy).mint(&at(source), rights, badge)?;
        Ok(copy)
    }

    /// A copy.
    #[track_caller]
    pub fn copy<T: CapType>(&mut self, source: Cap<T>, rights: CapRights) -> Outcome<Cap<T>> {
        let copy = self.empty()?;
        at(copy).copy(&at(source), rights)?;
        Ok(copy)
    }

    /// Makes a scheduling context with all of the time.
    pub fn sched_context(&mut self) -> Outcome<cap::SchedContext> {
        let sc = self.make_of(ObjectBlueprint::SchedContext { size_bits: 8 })?;
        self.sched_control.sched_control_configure_flags(sc, 10_000, 10_000, 0, 0, 0)?;
        Ok(sc)
    }

    /// Makes a thread, ready to be started: registers are written, it has no scheduling context and no priority.
    pub fn thread(&mut self, body: Body, args: [u64; 4]) -> Outcome<Thread> {
        let id = self.threads;
        check!(id < thread::MAX_THREADS, "no more threads");
        self.threads += 1;
        let address = thread::ipc_buffer_address(id);
        let frame = image_frame(&self.bootinfo, address)
            .ok_or(Failure::new(format_args!("the image has no frame at {address:#x}")))?;
        let tcb: cap::Tcb = self.make()?;
        let sc = self.sched_context()?;
        let done = self.done_of(id)?;
        let guard = root_guard(&self.bootinfo);
        tcb.tcb_configure(slot::CNODE.cap(), guard, slot::VSPACE.cap(), address, frame.cap())?;
        let registers = thread::prepare(id, body, args, tcb, done);
        tcb.tcb_write_all_registers(false, &registers)?;
        Ok(Thread { tcb, sc, id })
    }

    /// Makes a thread that faults to the environment, and starts it.
    pub fn spawn(&mut self, priority: Word, body: Body, args: [u64; 4]) -> Outcome<Thread> {
        let thread = self.thread(body, args)?;
        self.start(thread, priority)?;
        Ok(thread)
    }

    /// Gives the numbers of all threads free. They must have come to their ends.
    pub fn reuse_threads(&mut self) {
        self.threads = FIRST_ID;
        self.seen = 0;
    }

    /// Starts a thread.
    pub fn start(&mut self, thread: Thread, priority: Word) -> Outcome {
        let fault_ep = self.mint(self.fault_ep, CapRights::all(), FAULT | thread.id as Word)?;
        thread.tcb.tcb_set_sched_params(slot::TCB.cap(), 255, priority, thread.sc, fault_ep)?;
        thread.tcb.tcb_resume()?;
        Ok(())
    }

    /// Waits until the threads have come to their ends. Fails if one faults, or when nobody can run any more.
    #[track_caller]
    pub fn join(&mut self, threads: &[Thread]) -> Outcome {
        let awaited = threads.iter().fold(0, |bits, thread| bits | 1 << thread.id);
        while self.seen & awaited != awaited {
            match self.event()? {
                Event::Fault(id, fault, _) => {
                    return Err(Failure::new(format_args!("thread {id} faulted: {fault:x?}")));
                }
                Event::Idle => {
                    let missing = awaited & !self.seen;
                    return Err(Failure::new(format_args!("threads {missing:#b} are stuck")));
                }
                Event::Signals => {}
            }
        }
        Ok(())
    }

    /// Waits until `thread` faults. The fault can be answered through `reply`.
    #[track_caller]
    pub fn fault_of(&mut self, thread: Thread) -> Outcome<Fault> {
        self.fault_with_info(thread).map(|(fault, _)| fault)
    }

    /// The same, with the fault message's information word.
    #[track_caller]
    pub fn fault_with_info(&mut self, thread: Thread) -> Outcome<(Fault, MessageInfo)> {
        loop {
            match self.event()? {
                Event::Fault(id, Some(fault), info) if id == thread.id => return Ok((fault, info)),
                Event::Fault(id, fault, _) => {
                    return Err(Failure::new(format_args!("thread {id} faulted: {fault:x?}")));
                }
                Event::Idle => return Err(Failure::new(format_args!("no fault came"))),
                Event::Signals if self.seen & 1 << thread.id != 0 => {
                    return Err(Failure::new(format_args!("the thread ended without a fault")));
                }
                Event::Signals => {}
            }
        }
    }

    /// Waits until nobody can run any more; returns a bit for each thread that has come to its end.
    pub fn settle(&mut self) -> Outcome<Word> {
        loop {
            match self.event()? {
                Event::Fault(id, fault, _) => {
                    return Err(Failure::new(format_args!("thread {id} faulted: {fault:x?}")));
                }
                Event::Idle => return Ok(self.seen),
                Event::Signals => {}
            }
        }
    }

    /// Receives from `endpoint` with the environment's reply object; fails when nobody can run any more.
    #[track_caller]
    pub fn recv(&mut self, endpoint: cap::Endpoint) -> Outcome<RecvWithMRs> {
        loop {
            let received = endpoint.recv_with_mrs(self.reply);
            if !self.is_event(received.badge) {
                return Ok(received);
            }
            check!(received.badge & IDLE == 0, "nobody sends");
        }
    }

    /// Receives from `endpoint` what comes when there is time again: that nobody can run meanwhile is no failure.
    pub fn recv_later(&mut self, endpoint: cap::Endpoint, reply: cap::Reply) -> (MessageInfo, Word) {
        loop {
            let received = endpoint.recv(reply);
            if !self.is_event(received.1) {
                return received;
            }
        }
    }

    /// Replies through the environment's reply object.
    pub fn answer<M: FastMessage>(&self, label: Word, length: usize, msg: M) {
        self.reply.send_with_mrs(MessageInfo::new(label, 0, 0, length), msg);
    }

    /// The capability by which thread `id` tells that it has come to its end.
    pub fn done_of(&mut self, id: usize) -> Outcome<cap::Notification> {
        self.mint(self.events, CapRights::all(), 1 << (DONE_SHIFT + id))
    }

    /// Sees whether a badge is that of the environment's own notification, and notes it.
    fn is_event(&mut self, badge: Word) -> bool {
        let own = badge & (IDLE | DONE) == badge && badge != 0;
        if own {
            self.note(badge);
        }
        own
    }

    fn note(&mut self, badge: Word) {
        self.seen |= (badge & DONE) >> DONE_SHIFT;
    }

    fn event(&mut self) -> Outcome<Event> {
        let received = self.fault_ep.recv(self.reply);
        let (info, badge) = received;
        if badge & FAULT != 0 {
            let id = (badge & !FAULT) as usize;
            let fault = sel4::with_ipc_buffer(|buffer| Fault::new(buffer, &info));
            return Ok(Event::Fault(id, fault, info));
        }
        self.note(badge);
        // Signals first: the watchdog may have run before they were fetched.
        Ok(if badge & !IDLE != 0 { Event::Signals } else { Event::Idle })
    }

    /// Waits, running, until `condition` holds, for at most `limit_us` microseconds.
    #[track_caller]
    pub fn wait_until(&self, limit_us: u64, condition: impl Fn() -> bool) -> Outcome {
        let end = machine::rdtsc() + limit_us * machine::ticks_per_us(&self.bootinfo);
        while !condition() {
            check!(machine::rdtsc() < end, "not within {limit_us} us");
            machine::pass(2);
        }
        Ok(())
    }
}

enum Event {
    Fault(usize, Option<Fault>, MessageInfo),
    Signals,
    Idle,
}

/// Runs when nobody else can, and says so.
fn watchdog(me: &mut thread::Me) {
    let idle = cap::Notification::from_bits(me.args[0]);
    loop {
        idle.signal();
    }
}

/// Gets the faults of the initial thread: a check went where it must not, and the run is over.
fn doctor(me: &mut thread::Me) {
    let faults = cap::Endpoint::from_bits(me.args[0]);
    let (info, _) = faults.with(&mut *me.ipc).recv(cap::Reply::from_bits(me.args[1]));
    let fault = Fault::new(me.ipc, &info);
    // SAFETY: the initial thread stands still for good, and this one takes its place.
    unsafe { sel4::set_ipc_buffer(&raw mut *me.ipc) };
    println!("FAILED: the initial thread faulted: {fault:x?}");
    machine::exit(me.args[2] as usize, false)
}
