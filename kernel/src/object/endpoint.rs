// SPDX-License-Identifier: MIT OR Apache-2.0
//! Endpoints: a queue of threads, all senders or all receivers.

use core::cell::Cell;

use super::tcb::Tcb;
use crate::ptr::Ptr;

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    /// Nobody.
    Idle,
    /// Senders.
    Send,
    /// Receivers.
    Recv,
}

/// A queue of blocked threads, the highest priority first, equal ones in order of arrival. The two low bits of `head` are
/// the owner's state.
///
/// Those who came at the same priority are a group, whose first and last one know each other, so that a place is found by passing groups: at
/// most as many as there are priorities, however many threads wait.
#[repr(C)]
pub struct WaitQueue {
    head: Cell<u64>,
    tail: Cell<Option<Ptr<Tcb>>>,
}

impl WaitQueue {
    /// The state bits.
    pub fn state(&self) -> u64 {
        self.head.get() & 3
    }
    /// Sets the state bits.
    pub fn set_state(&self, state: u64) {
        self.head.set(self.head.get() & !3 | state);
    }
    /// The first thread.
    #[inline]
    pub fn head(&self) -> Option<Ptr<Tcb>> {
        // SAFETY: a thread leaves the queue before it is deleted.
        unsafe { Ptr::from_addr(self.head.get() & !3) }
    }
    /// The last thread.
    #[cfg(test)]
    pub(crate) fn tail(&self) -> Option<Ptr<Tcb>> {
        self.tail.get()
    }
    fn set_head(&self, tcb: Option<Ptr<Tcb>>) {
        self.head.set(tcb.map_or(0, |t| t.addr()) | self.state());
    }

    /// Puts `tcb` behind the last thread of at least its priority. Gives the number of groups that it passed.
    pub fn insert(&self, tcb: Ptr<Tcb>) -> u32 {
        let mut passed = 0;
        let priority = tcb.priority.get();
        let mut after = self.tail.get();
        while let Some(t) = after
            && t.priority.get() < priority
        {
            after = t.ipc_first.get().unwrap_or(t).ipc_prev.get();
            passed += 1;
        }
        let before = match after {
            Some(t) => {
                if t.priority.get() == priority {
                    let first = t.ipc_first.take().unwrap_or(t);
                    first.ipc_last.set(Some(tcb));
                    tcb.ipc_first.set(Some(first));
                }
                t.ipc_next.replace(Some(tcb))
            }
            None => {
                let old = self.head();
                self.set_head(Some(tcb));
                old
            }
        };
        tcb.ipc_prev.set(after);
        tcb.ipc_next.set(before);
        match before {
            Some(t) => t.ipc_prev.set(Some(tcb)),
            None => self.tail.set(Some(tcb)),
        }
        passed
    }

    /// Takes `tcb`, which is in this queue, out of it.
    #[inline]
    pub fn remove(&self, tcb: Ptr<Tcb>) {
        leave_group(tcb);
        let (prev, next) = (tcb.ipc_prev.take(), tcb.ipc_next.take());
        match prev {
            Some(p) => p.ipc_next.set(next),
            None => self.set_head(next),
        }
        match next {
            Some(n) => n.ipc_prev.set(prev),
            None => self.tail.set(prev),
        }
    }
}

/// The thread, still linked to its neighbours, is not the first or the last one of its group any more: the next one is, or the one before.
#[inline]
fn leave_group(tcb: Ptr<Tcb>) {
    let (heir, other, heir_is_first) = match (tcb.ipc_last.take(), tcb.ipc_first.take()) {
        (Some(last), _) => (tcb.ipc_next.get(), last, true),
        (_, Some(first)) => (tcb.ipc_prev.get(), first, false),
        _ => return,
    };
    let Some(heir) = heir else { return };
    let (first, last) = if heir_is_first { (heir, other) } else { (other, heir) };
    let several = heir != other;
    first.ipc_last.set(several.then_some(last));
    last.ipc_first.set(several.then_some(first));
}

/// An endpoint, 16 bytes.
#[repr(C)]
pub struct Endpoint {
    /// The waiting threads.
    pub queue: WaitQueue,
}

const _: () = assert!(core::mem::size_of::<Endpoint>() == 1 << sel4_abi::object::ENDPOINT_BITS);

impl Endpoint {
    /// Who waits.
    #[inline]
    pub fn state(&self) -> EndpointState {
        match self.queue.state() {
            0 => EndpointState::Idle,
            1 => EndpointState::Send,
            _ => EndpointState::Recv,
        }
    }

    /// The first receiver, if receivers wait.
    #[inline(always)]
    pub fn receiver(&self) -> Option<Ptr<Tcb>> {
        let head = self.queue.head.get();
        // SAFETY: as for `WaitQueue::head`; a queue of receivers is not empty.
        (head & 3 == EndpointState::Recv as u64)
            .then(|| unsafe { Ptr::from_addr(head & !3).unwrap_unchecked() })
    }

    /// The first sender, if senders wait.
    #[inline]
    pub fn sender(&self) -> Option<Ptr<Tcb>> {
        if self.state() == EndpointState::Send { self.queue.head() } else { None }
    }

    /// As [`Endpoint::leave`], for the only thread that waits.
    #[inline(always)]
    pub fn only_one_leaves(&self) {
        self.queue.head.set(0);
        self.queue.tail.set(None);
    }

    /// As [`Endpoint::wait`], for a receiver where nobody waits.
    #[inline(always)]
    pub fn only_one_waits(&self, tcb: Ptr<Tcb>) {
        self.queue.tail.set(Some(tcb));
        self.queue.head.set(tcb.addr() | EndpointState::Recv as u64);
    }

    /// Adds a waiting thread; the queue then is of kind `state`. Gives the number of groups that it passed.
    pub fn wait(&self, tcb: Ptr<Tcb>, state: EndpointState) -> u32 {
        let passed = self.queue.insert(tcb);
        self.queue.set_state(state as u64);
        passed
    }

    /// Takes a waiting thread out.
    pub fn leave(&self, tcb: Ptr<Tcb>) {
        self.queue.remove(tcb);
        if self.queue.head().is_none() {
            self.queue.set_state(0);
        }
    }

    /// Takes out the first waiting thread.
    pub fn pop(&self) -> Option<Ptr<Tcb>> {
        let tcb = self.queue.head()?;
        self.leave(tcb);
        Some(tcb)
    }
}
