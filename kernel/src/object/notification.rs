// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notifications: a word of bits, and threads that wait for one.

use core::cell::Cell;

use super::endpoint::WaitQueue;
use super::sched_context::SchedContext;
use super::tcb::Tcb;
use crate::ptr::Ptr;

/// What a notification is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationState {
    /// Nothing signalled, nobody waits.
    Idle,
    /// Threads wait.
    Waiting,
    /// Signalled, the bits are in `badge`.
    Active,
}

/// A notification, 64 bytes.
#[repr(C)]
pub struct Notification {
    /// The waiting threads.
    pub queue: WaitQueue,
    /// The bits signalled so far, while active.
    pub badge: Cell<u64>,
    /// The thread to which it is bound.
    pub bound: Cell<Option<Ptr<Tcb>>>,
    /// A scheduling context for passive threads that wait.
    pub sc: Cell<Option<Ptr<SchedContext>>>,
    reserved: [Cell<u64>; 3],
}

const _: () = assert!(core::mem::size_of::<Notification>() == 1 << sel4_abi::object::NOTIFICATION_BITS);

impl Notification {
    /// What it is doing.
    pub fn state(&self) -> NotificationState {
        match self.queue.state() {
            0 => NotificationState::Idle,
            1 => NotificationState::Waiting,
            _ => NotificationState::Active,
        }
    }
    /// Sets the state.
    pub fn set_state(&self, state: NotificationState) {
        self.queue.set_state(state as u64);
    }
    /// Takes a waiting thread out.
    pub fn leave(&self, tcb: Ptr<Tcb>) {
        self.queue.remove(tcb);
        if self.queue.head().is_none() {
            self.set_state(NotificationState::Idle);
        }
    }
    /// Takes the bits: the notification is idle afterwards.
    pub fn take(&self) -> u64 {
        self.set_state(NotificationState::Idle);
        self.badge.replace(0)
    }
}
