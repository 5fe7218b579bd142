// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reply objects: who waits for a reply, and where the caller's scheduling context went.
//!
//! When a caller donates its scheduling context, the reply objects of the calls that it went through form a stack, whose
//! head the scheduling context knows. Only a reply through the head gives the scheduling context back.

use core::cell::Cell;

use super::sched_context::SchedContext;
use super::tcb::{Tcb, ThreadState};
use crate::ptr::Ptr;

/// A reply object, 32 bytes.
#[repr(C)]
pub struct Reply {
    /// The thread that waits for the reply, or that waits to receive with this object.
    pub tcb: Cell<Option<Ptr<Tcb>>>,
    /// The call before this one on the same scheduling context.
    pub prev: Cell<Option<Ptr<Reply>>>,
    /// The call after this one; `None` at the head of a stack and outside of any.
    pub next: Cell<Option<Ptr<Reply>>>,
    /// At the head: the scheduling context.
    pub sc: Cell<Option<Ptr<SchedContext>>>,
}

const _: () = assert!(core::mem::size_of::<Reply>() == 1 << sel4_abi::object::REPLY_BITS);

impl Reply {
    /// The thread that waits for the reply.
    #[inline]
    pub fn caller(&self) -> Option<Ptr<Tcb>> {
        self.tcb.get().filter(|t| t.state.get() == ThreadState::BlockedOnReply)
    }

    /// Takes the reply out of its stack. At the head, gives the scheduling context that was donated.
    pub fn unlink(this: Ptr<Self>) -> Option<Ptr<SchedContext>> {
        let (prev, next, sc) = (this.prev.take(), this.next.take(), this.sc.take());
        if let Some(p) = prev {
            p.next.set(next);
            p.sc.set(sc);
        }
        if let Some(n) = next {
            n.prev.set(prev);
        }
        if let Some(sc) = sc {
            sc.reply.set(prev);
        }
        sc
    }

    /// Takes the reply, which is the head of the stack of `sc`, out of it.
    #[inline(always)]
    pub fn pop(this: Ptr<Self>, sc: Ptr<SchedContext>) {
        let prev = this.prev.take();
        this.sc.set(None);
        sc.reply.set(prev);
        if let Some(p) = prev {
            p.next.set(None);
            p.sc.set(Some(sc));
        }
    }

    /// Puts the reply on top of the stack of `sc`.
    #[inline(always)]
    pub fn push(this: Ptr<Self>, sc: Ptr<SchedContext>) {
        debug_assert!(this.next.get().is_none(), "it is in no stack");
        let old = sc.reply.replace(Some(this));
        this.prev.set(old);
        this.sc.set(Some(sc));
        if let Some(o) = old {
            o.next.set(Some(this));
            o.sc.set(None);
        }
    }
}
