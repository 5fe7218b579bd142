// SPDX-License-Identifier: MIT OR Apache-2.0
//! Threads.

use core::cell::Cell;

use sel4_abi::MessageInfo;
use sel4_abi::object::tag;
use tlb::Space;

use super::endpoint::Endpoint;
use super::notification::Notification;
use super::reply::Reply;
use super::sched_context::SchedContext;
use crate::arch::context::{Bases, Context, FpuState, MESSAGE};
use crate::cap::{Cap, Slot};
use crate::cdt::SlotRef;
use crate::fault::Fault;
use crate::postponed::Node;
use crate::processors::Place;
use crate::ptr::Ptr;

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ThreadState {
    /// Never started, or suspended.
    Inactive = 0,
    /// Runs, or waits for its turn.
    Running,
    /// Runs as its virtual CPU, or waits for its turn to.
    RunningVm,
    /// Between the two halves of a combined system call: it has sent, and the kernel is about to let it receive.
    Receiving,
    /// Waits to receive on an endpoint.
    BlockedOnReceive,
    /// Waits to send on an endpoint.
    BlockedOnSend,
    /// Waits for a reply.
    BlockedOnReply,
    /// Waits for a notification.
    BlockedOnNotification,
}

/// Slots of a thread, in its own memory.
pub mod slot {
    /// Root of its capability space.
    pub const CSPACE: usize = 0;
    /// Root of its address space.
    pub const VSPACE: usize = 1;
    /// Endpoint of its faults.
    pub const FAULT_HANDLER: usize = 2;
    /// Endpoint of its timeouts.
    pub const TIMEOUT_HANDLER: usize = 3;
    /// Frame of its IPC buffer.
    pub const IPC_BUFFER: usize = 4;
    /// Root of its virtual CPU's nested tables.
    pub const EPT_ROOT: usize = 5;
    /// Number of slots.
    pub const COUNT: usize = 6;
}

/// A thread, 2 KiB.
#[repr(C)]
pub struct Tcb {
    /// User registers. Must be first: kernel entry pushes them here (`arch`).
    pub context: Context,
    /// Segment bases, while the thread is not the current one.
    pub bases: Bases,
    /// x87 and SSE state, while another thread's is in the processor.
    pub fpu: FpuState,
    /// See [`slot`].
    pub slots: [Slot; slot::COUNT],
    /// Its address space, or the kernel's own if it has none, as of [`Tcb::root_epoch`].
    pub space: Cell<Space>,
    /// The number (`AsidTable::epoch`) at which `space` was looked up; 0 for never.
    pub root_epoch: Cell<u64>,
    /// What the thread is doing.
    pub state: Cell<ThreadState>,
    /// The processor on which it runs, that of its scheduling context when it has one, and its domain.
    pub place: Cell<Place>,
    /// Scheduling priority.
    pub priority: Cell<u8>,
    /// Highest priority that it may give.
    pub mcp: Cell<u8>,
    /// In the ready queue.
    pub queued: Cell<bool>,
    /// Waits for its next refill.
    pub postponed: Cell<bool>,
    /// `sel4_abi::TCB_FLAG_FPU_DISABLED`.
    pub flags: Cell<u64>,
    /// User address of the IPC buffer.
    pub ipc_buffer: Cell<u64>,
    /// The fault that it waits to have handled.
    pub fault: Cell<Fault>,
    /// Its place among the threads that wait for time.
    pub postponement: Node,
    /// Neighbours in the ready queue.
    pub sched_next: Cell<Option<Ptr<Tcb>>>,
    /// See `sched_next`.
    pub sched_prev: Cell<Option<Ptr<Tcb>>>,
    /// Neighbours in the queue of an endpoint or a notification.
    pub ipc_next: Cell<Option<Ptr<Tcb>>>,
    /// See `ipc_next`.
    pub ipc_prev: Cell<Option<Ptr<Tcb>>>,
    /// Of the first of several who wait there and came at one priority: the last.
    pub ipc_last: Cell<Option<Ptr<Tcb>>>,
    /// Of the last of several: the first.
    pub ipc_first: Cell<Option<Ptr<Tcb>>>,
    /// Endpoint on which it waits.
    pub endpoint: Cell<Option<Ptr<Endpoint>>>,
    /// Notification for which it waits.
    pub waiting_for: Cell<Option<Ptr<Notification>>>,
    /// Badge of the message that waits to be sent.
    pub send_badge: Cell<u64>,
    /// `Kernel::cancellations` when it began to wait with that.
    pub sent_after: Cell<u64>,
    /// Rights of the capability through which it sends or receives.
    pub can_grant: Cell<bool>,
    /// See `can_grant`.
    pub can_grant_reply: Cell<bool>,
    /// The waiting send is a call.
    pub is_call: Cell<bool>,
    /// The reply object that it receives with, or through which it is waited for.
    pub reply: Cell<Option<Ptr<Reply>>>,
    /// Its scheduling context.
    pub sc: Cell<Option<Ptr<SchedContext>>>,
    /// The scheduling context whose thread it lets go first (`YieldTo`), until it runs again.
    pub yield_to: Cell<Option<Ptr<SchedContext>>>,
    /// The notification bound to it.
    pub bound_notification: Cell<Option<Ptr<Notification>>>,
    /// Physical address of its virtual CPU, 0 for none.
    pub vcpu: Cell<u64>,
    /// Name for the debug build's output.
    pub name: [Cell<u8>; 16],
}

const _: () = assert!(core::mem::size_of::<Tcb>() <= 1 << sel4_abi::object::TCB_BITS);

impl Tcb {
    /// Sets what is not zero at the beginning.
    pub fn init(&self) {
        self.context.init();
        self.fpu.init();
    }

    /// A slot of the thread.
    pub fn slot(&self, index: usize) -> SlotRef {
        // SAFETY: the slot lives as long as the thread; deletion empties it first.
        unsafe { Ptr::from_ref(&self.slots[index]) }
    }

    /// Root of its capability space.
    #[inline]
    pub fn cspace(&self) -> Cap {
        self.slots[slot::CSPACE].cap()
    }

    /// True when it could run, given the time.
    #[inline]
    pub fn is_runnable(&self) -> bool {
        matches!(self.state.get(), ThreadState::Running | ThreadState::RunningVm)
    }

    /// True when it waits for somebody.
    pub fn is_blocked(&self) -> bool {
        !self.is_runnable() && self.state.get() != ThreadState::Inactive
    }

    /// True when it could run and has time.
    #[inline]
    pub fn is_schedulable(&self) -> bool {
        self.is_runnable() && !self.postponed.get() && self.sc.get().is_some_and(|sc| sc.is_active())
    }

    /// True when the end of its budget is a fault. Not for a virtual CPU's thread in its guest: that only waits.
    pub fn wants_timeouts(&self) -> bool {
        self.state.get() == ThreadState::Running
            && self.slots[slot::TIMEOUT_HANDLER].raw().tag() == tag::ENDPOINT
    }

    /// Its `YieldTo` is over: the answer is how much time the other one's scheduling context has used.
    #[cold]
    pub fn end_yield(&self) {
        if let Some(sc) = self.yield_to.take() {
            sc.yield_from.set(None);
            self.context.at(MESSAGE[0]).set(sc.take_consumed_us());
            self.context.rdi.set(0);
            self.context.rsi.set(MessageInfo::new(0, 0, 0, 1).0);
        }
    }

    /// The thread that is at physical address `paddr`.
    ///
    /// # Safety
    /// As for [`Ptr::from_paddr`].
    pub unsafe fn at(paddr: u64) -> Ptr<Self> {
        // SAFETY: by the caller's promise.
        unsafe { Ptr::from_paddr(paddr) }
    }
}
