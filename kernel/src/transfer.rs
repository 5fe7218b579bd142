// SPDX-License-Identifier: MIT OR Apache-2.0
//! Moving message words and capabilities from one thread to another.

use sel4_abi::message::{CapRights, IpcBuffer, REGISTERS};
use sel4_abi::{LookupFailure, MessageInfo};

use crate::arch;
use crate::arch::context::MESSAGE;
use crate::cap::Cap;
use crate::cdt::{self, SlotRef};
use crate::cspace;
use crate::error::{Preempted, SysError, SysResult};
use crate::fault;
use crate::kernel::Kernel;
use crate::object::endpoint::Endpoint;
use crate::object::tcb::{Tcb, slot};
use crate::ptr::Ptr;

/// A thread's IPC buffer, reached through the window. User level can write it at any time (a device could too), so every word is read
/// once, by a volatile access.
#[derive(Clone, Copy)]
pub struct Buffer(*mut IpcBuffer);

impl Buffer {
    /// The buffer of `tcb`; `None` when it has none, its frame is gone, or the thread may not write it.
    #[inline]
    pub fn of(tcb: &Tcb) -> Option<Self> {
        Self::with(tcb, CapRights::READ_WRITE)
    }

    /// The buffer of `tcb`, only to be read.
    #[inline]
    pub fn to_read(tcb: &Tcb) -> Option<Self> {
        Self::with(tcb, CapRights::READ)
    }

    /// The kernel does for a thread only what the thread could do by itself.
    #[inline(always)]
    fn with(tcb: &Tcb, rights: CapRights) -> Option<Self> {
        let (base, bits) = tcb.slots[slot::IPC_BUFFER].raw().memory_frame(rights)?;
        let paddr = base + (tcb.ipc_buffer.get() & ((1 << bits) - 1));
        Some(Self(arch::phys_to_virt(paddr).cast()))
    }

    fn word(self, byte: usize) -> *mut u64 {
        debug_assert!(byte < 1024);
        self.0.cast::<u8>().wrapping_add(byte).cast()
    }
    fn read(self, byte: usize) -> u64 {
        // SAFETY: the buffer is 1 KiB, aligned, inside a frame whose capability is in the thread's slot.
        unsafe { self.word(byte).read_volatile() }
    }
    fn write(self, byte: usize, value: u64) {
        // SAFETY: as for `read`.
        unsafe { self.word(byte).write_volatile(value) }
    }
    /// Message word `i` (0..120).
    pub fn message(self, i: usize) -> u64 {
        self.read(8 + 8 * (i % sel4_abi::message::MAX_WORDS))
    }
    /// Sets message word `i`.
    pub fn set_message(self, i: usize, value: u64) {
        self.write(8 + 8 * (i % sel4_abi::message::MAX_WORDS), value);
    }
    /// Capability address or badge `i` (0..3).
    pub fn cap(self, i: usize) -> u64 {
        self.read(976 + 8 * (i % 3))
    }
    /// Sets badge `i`.
    pub fn set_badge(self, i: usize, value: u64) {
        self.write(976 + 8 * (i % 3), value);
    }
    fn receive_slot(self) -> (u64, u64, u64) {
        (self.read(1000), self.read(1008), self.read(1016))
    }
    /// Sets where capabilities are received: the address of a CNode, and of a slot below it, of so many bits.
    #[cfg(test)]
    pub(crate) fn set_receive_slot(self, root: u64, index: u64, depth: u64) {
        [root, index, depth].into_iter().zip([1000, 1008, 1016]).for_each(|(word, at)| self.write(at, word));
    }
}

/// Writes message words of a thread: the first four to registers, the others to its buffer, if it has one.
pub struct MessageWriter<'a> {
    tcb: &'a Tcb,
    buffer: Option<Buffer>,
}

impl<'a> MessageWriter<'a> {
    /// A writer to `tcb`'s message.
    pub fn new(tcb: &'a Tcb) -> Self {
        Self { tcb, buffer: Buffer::of(tcb) }
    }
    /// Sets word `i`; gone if it needs a buffer and there is none.
    pub fn put(&mut self, i: usize, value: u64) {
        if i < REGISTERS {
            self.tcb.context.at(MESSAGE[i]).set(value);
        } else if let Some(b) = self.buffer {
            b.set_message(i, value);
        }
    }
    /// Words that can be written.
    pub fn limit(&self, n: usize) -> usize {
        if self.buffer.is_some() { n } else { n.min(REGISTERS) }
    }
}

/// Reads message words of a thread.
pub struct MessageReader<'a> {
    tcb: &'a Tcb,
    buffer: Option<Buffer>,
}

impl<'a> MessageReader<'a> {
    /// A reader of `tcb`'s message.
    pub fn new(tcb: &'a Tcb) -> Self {
        Self { tcb, buffer: Buffer::to_read(tcb) }
    }
    /// Word `i`, 0 if it needs a buffer and there is none.
    #[inline]
    pub fn get(&self, i: usize) -> u64 {
        if i < REGISTERS {
            self.tcb.context.at(MESSAGE[i]).get()
        } else {
            self.buffer.map_or(0, |b| b.message(i))
        }
    }
}

/// Slots of the extra capabilities of a message.
pub type ExtraCaps = [Option<SlotRef>; 3];

/// Finds the extra capabilities of the message that `tcb` sends. Without an IPC buffer there are none.
///
/// # Errors
/// The address that does not resolve, and why. Preempted as [`cspace::resolve`].
#[inline(always)]
pub fn extra_caps(k: &mut Kernel, tcb: &Tcb) -> Result<Result<ExtraCaps, (u64, LookupFailure)>, Preempted> {
    match MessageInfo(tcb.context.rsi.get()).extra_caps() {
        0 => Ok(Ok([None; 3])),
        count => look_up(k, tcb, count),
    }
}

#[inline(never)]
fn look_up(
    k: &mut Kernel,
    tcb: &Tcb,
    count: usize,
) -> Result<Result<ExtraCaps, (u64, LookupFailure)>, Preempted> {
    let mut caps = [None; 3];
    let Some(buffer) = Buffer::to_read(tcb) else { return Ok(Ok(caps)) };
    for (i, cap) in caps.iter_mut().enumerate().take(count) {
        let address = buffer.cap(i);
        match cspace::lookup_slot(k, tcb, address)? {
            Ok(slot) => *cap = Some(slot),
            Err(failure) => return Ok(Err((address, failure))),
        }
    }
    Ok(Ok(caps))
}

/// The capabilities that a message takes with it, and where the first of them that isn't the endpoint's own goes: all that has to be
/// looked up for a message, before anything is done.
pub struct Gifts {
    caps: ExtraCaps,
    into: Option<SlotRef>,
}

/// What the message of `from` takes with it to `to`, which takes capabilities only from who may `grant`. The sender's are looked up unless
/// they have been (`found`); if one of them can't be found none goes.
///
/// # Errors
/// Preempted as [`cspace::resolve`].
#[inline(always)]
pub fn gifts(
    k: &mut Kernel,
    from: Ptr<Tcb>,
    found: Option<ExtraCaps>,
    grant: bool,
    to: Ptr<Tcb>,
) -> Result<Option<Gifts>, Preempted> {
    if !grant || MessageInfo(from.context.rsi.get()).extra_caps() == 0 || from.fault.get().is_some() {
        return Ok(None);
    }
    choose(k, from, found, to)
}

#[inline(never)]
fn choose(
    k: &mut Kernel,
    from: Ptr<Tcb>,
    found: Option<ExtraCaps>,
    to: Ptr<Tcb>,
) -> Result<Option<Gifts>, Preempted> {
    let caps = match found {
        Some(caps) => caps,
        None => extra_caps(k, &from)?.unwrap_or_default(),
    };
    if caps[0].is_none() {
        return Ok(None);
    }
    Ok(Some(Gifts { caps, into: receive_slot(k, &to)? }))
}

/// Moves a message, ordinary or of the sender's fault, to a receiver, and tells it the badge.
pub fn message(
    from: Ptr<Tcb>,
    endpoint: Option<Ptr<Endpoint>>,
    badge: u64,
    gifts: Option<&Gifts>,
    to: Ptr<Tcb>,
) {
    let f = from.fault.get();
    let info = if f.is_some() {
        let mut out = MessageWriter::new(&to);
        let (label, words) = fault::write_message(&from, f, &mut out);
        MessageInfo::new(label, 0, 0, out.limit(words) as u64)
    } else {
        normal(from, endpoint, gifts, to)
    };
    to.context.rdi.set(badge);
    to.context.rsi.set(info.0);
}

#[inline]
fn normal(
    from: Ptr<Tcb>,
    endpoint: Option<Ptr<Endpoint>>,
    gifts: Option<&Gifts>,
    to: Ptr<Tcb>,
) -> MessageInfo {
    let info = MessageInfo(from.context.rsi.get());
    let mut words = info.length();
    for register in MESSAGE.iter().take(words) {
        to.context.at(*register).set(from.context.at(*register).get());
    }
    if words > REGISTERS {
        match (Buffer::to_read(&from), Buffer::of(&to)) {
            (Some(s), Some(d)) => (REGISTERS..words).for_each(|i| d.set_message(i, s.message(i))),
            _ => words = REGISTERS,
        }
    }
    let (unwrapped, extra) = gifts.map_or((0, 0), |gifts| capabilities(endpoint, gifts, to));
    MessageInfo::new(info.label(), unwrapped, extra, words as u64)
}

/// Moves up to three capabilities: those of the endpoint itself arrive as badges, the first other one in the receive slot.
fn capabilities(endpoint: Option<Ptr<Endpoint>>, gifts: &Gifts, to: Ptr<Tcb>) -> (u64, u64) {
    let Some(dest) = Buffer::of(&to) else { return (0, 0) };
    let mut into = gifts.into;
    let (mut unwrapped, mut count) = (0, 0);
    for (i, slot) in gifts.caps.into_iter().flatten().enumerate() {
        match (slot.cap(), endpoint) {
            (Cap::Endpoint { object, badge, .. }, Some(own)) if object == own => {
                dest.set_badge(i, badge);
                unwrapped |= 1 << i;
            }
            _ => match (into.take(), derive(slot)) {
                (Some(target), Ok(derived)) if derived != Cap::Null => insert_derived(target, derived, slot),
                _ => break,
            },
        }
        count += 1;
    }
    (unwrapped, count)
}

/// The slot in which `tcb` takes capabilities.
fn receive_slot(k: &mut Kernel, tcb: &Tcb) -> Result<Option<SlotRef>, Preempted> {
    let Some(buffer) = Buffer::of(tcb) else { return Ok(None) };
    let (root, index, depth) = buffer.receive_slot();
    let Ok(root) = cspace::lookup_slot(k, tcb, root)? else { return Ok(None) };
    Ok(match cspace::target_slot(k, root.cap(), index, depth, false) {
        Ok(slot) => Some(slot).filter(|slot| slot.is_empty()),
        Err(SysError::Preempted) => return Err(Preempted),
        Err(_) => None,
    })
}

/// What a copy of the capability in `slot` is: without its mapping, and `Null` where there can be no copy.
///
/// # Errors
/// RevokeFirst for untyped memory with children; IllegalOperation for a paging structure that is not mapped (two copies could
/// be mapped at two places).
pub fn derive(slot: SlotRef) -> SysResult<Cap> {
    use crate::cap::{Frame, Mapping};
    use SysError::{IllegalOperation, RevokeFirst};
    Ok(match slot.cap() {
        Cap::Untyped(_) if cdt::has_children(slot) => return Err(RevokeFirst),
        Cap::Frame(f) => Cap::Frame(Frame { mapping: Mapping::None, ..f }),
        Cap::IoPort { first, last, .. } => Cap::IoPort { first, last, map: 0 },
        Cap::Table(t) | Cap::EptTable(t) if t.mapping == Mapping::None => return Err(IllegalOperation),
        Cap::Pml4(r) | Cap::EptPml4(r) if r.asid == 0 => return Err(IllegalOperation),
        Cap::IoPageTable(t) if t.mapped().is_none() => return Err(IllegalOperation),
        Cap::IrqControl | Cap::IoPortControl | Cap::Zombie(_) => Cap::Null,
        cap => cap,
    })
}

/// Puts `cap`, derived from the capability in `source`, into the empty slot `dest`.
pub fn insert_derived(dest: SlotRef, cap: Cap, source: SlotRef) {
    let original = match (cap, source.cap()) {
        (Cap::Endpoint { badge: new, .. }, Cap::Endpoint { badge: old, .. })
        | (Cap::Notification { badge: new, .. }, Cap::Notification { badge: old, .. }) => new != old,
        (Cap::Untyped(_), Cap::Untyped(u)) => {
            // Only one of the two may hand the memory out.
            source.set(Cap::Untyped(crate::cap::Untyped { watermark: 1 << u.size_bits, cleared: 0, ..u }));
            true
        }
        (new @ Cap::IoSpace { .. }, old) => new != old,
        _ => false,
    };
    cdt::insert(dest, cap, source, original);
}
