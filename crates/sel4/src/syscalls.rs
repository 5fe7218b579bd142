// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sending and receiving.
//!
//! The functions without `_with_mrs` take message words 0 to 3 from the IPC buffer and put them there. Those with
//! `_with_mrs` pass them as arguments and results, and leave the buffer alone: with more than four words the rest is in
//! the buffer in either case.

use sel4_abi::syscall as nr;

use crate::{
    Badge, CPtr, CPtrBits, Cap, CapType, InvocationContext, IpcBuffer, MessageInfo, Word, cap, cap_type, sys,
};

/// Message words as arguments: up to four.
pub trait FastMessage {
    /// The four words, absent ones 0.
    fn into_mrs(self) -> [Word; 4];
}

macro_rules! fast_message {
    ($($n:literal)*) => {$(
        impl FastMessage for [Word; $n] {
            #[inline(always)]
            fn into_mrs(self) -> [Word; 4] {
                let mut mrs = [0; 4];
                mrs[..$n].copy_from_slice(&self);
                mrs
            }
        }
    )*};
}
fast_message!(0 1 2 3 4);

/// What `call_with_mrs` got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallWithMRs {
    /// The reply's message information.
    pub info: MessageInfo,
    /// The reply's first words.
    pub msg: [Word; 4],
}

/// What a receive with words got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvWithMRs {
    /// The message information.
    pub info: MessageInfo,
    /// The badge of the sender's capability; of a notification, its word.
    pub badge: Badge,
    /// The first words.
    pub msg: [Word; 4],
}

impl From<sys::Received> for RecvWithMRs {
    #[inline(always)]
    fn from(r: sys::Received) -> Self {
        Self { info: MessageInfo::from_word(r.info), badge: r.badge, msg: r.mrs }
    }
}

fn load(buffer: &IpcBuffer) -> [Word; 4] {
    let [a, b, c, d, ..] = *buffer.msg_regs();
    [a, b, c, d]
}

fn store(buffer: &mut IpcBuffer, received: sys::Received) -> (MessageInfo, Badge) {
    buffer.msg_regs_mut()[..4].copy_from_slice(&received.mrs);
    (MessageInfo::from_word(received.info), received.badge)
}

/// Only an address that the compiler takes for one that the kernel may use: null where the message lies in registers.
const NO_BUFFER: *mut IpcBuffer = core::ptr::null_mut();

/// Endpoints and notifications: what can be received from.
pub trait IpcCapType: CapType {}
impl IpcCapType for cap_type::Endpoint {}
impl IpcCapType for cap_type::Notification {}
impl IpcCapType for cap_type::Unspecified {}

impl<C: InvocationContext> Cap<cap_type::Endpoint, C> {
    /// Sends, waiting for a receiver.
    pub fn send(self, info: MessageInfo) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| sys::send(cptr.bits(), info.into_word(), load(b), b));
    }
    /// Sends if someone waits for it.
    pub fn nb_send(self, info: MessageInfo) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| sys::nb_send(cptr.bits(), info.into_word(), load(b), b));
    }
    /// Sends and waits for the reply.
    pub fn call(self, info: MessageInfo) -> MessageInfo {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| {
            let out = sys::call_with_buffer(cptr.bits(), info.into_word(), load(b), b);
            store(b, out).0
        })
    }
    /// Sends, waiting for a receiver.
    #[inline(always)]
    pub fn send_with_mrs<T: FastMessage>(self, info: MessageInfo, msg: T) {
        sys::send(self.bits(), info.into_word(), msg.into_mrs(), NO_BUFFER);
    }
    /// Sends if someone waits for it.
    #[inline(always)]
    pub fn nb_send_with_mrs<T: FastMessage>(self, info: MessageInfo, msg: T) {
        sys::nb_send(self.bits(), info.into_word(), msg.into_mrs(), NO_BUFFER);
    }
    /// Sends and waits for the reply.
    #[inline(always)]
    pub fn call_with_mrs<T: FastMessage>(self, info: MessageInfo, msg: T) -> CallWithMRs {
        let out = sys::call(self.bits(), info.into_word(), msg.into_mrs());
        CallWithMRs { info: MessageInfo::from_word(out.info), msg: out.mrs }
    }
    /// Receives; the right to reply goes into `reply`.
    pub fn recv(self, reply: cap::Reply) -> (MessageInfo, Badge) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| {
            let out = sys::recv(cptr.bits(), reply.bits(), b);
            store(b, out)
        })
    }
    /// Receives if someone is sending. Badge and message information are 0 otherwise.
    pub fn nb_recv(self, reply: cap::Reply) -> (MessageInfo, Badge) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| {
            let out = sys::nb_recv(cptr.bits(), reply.bits(), b);
            store(b, out)
        })
    }
    /// Receives; the right to reply goes into `reply`.
    #[inline(always)]
    pub fn recv_with_mrs(self, reply: cap::Reply) -> RecvWithMRs {
        sys::recv(self.bits(), reply.bits(), NO_BUFFER).into()
    }
    /// Receives if someone is sending. Badge and message information are 0 otherwise.
    #[inline(always)]
    pub fn nb_recv_with_mrs(self, reply: cap::Reply) -> RecvWithMRs {
        sys::nb_recv(self.bits(), reply.bits(), NO_BUFFER).into()
    }
    /// Replies through `reply` and receives, `reply` taking the right to reply to the next message.
    pub fn reply_recv(self, info: MessageInfo, reply: cap::Reply) -> (MessageInfo, Badge) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| {
            let out = sys::reply_recv(cptr.bits(), info.into_word(), load(b), reply.bits(), b);
            store(b, out)
        })
    }
    /// Replies through `reply` and receives, `reply` taking the right to reply to the next message.
    #[inline(always)]
    pub fn reply_recv_with_mrs<T: FastMessage>(
        self,
        info: MessageInfo,
        msg: T,
        reply: cap::Reply,
    ) -> RecvWithMRs {
        sys::reply_recv(self.bits(), info.into_word(), msg.into_mrs(), reply.bits(), NO_BUFFER).into()
    }
}

impl<T: IpcCapType, C: InvocationContext> Cap<T, C> {
    /// Receives without a reply object: a caller can't be answered.
    pub fn wait_message(self) -> (MessageInfo, Badge) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| {
            let out = sys::wait(cptr.bits(), b);
            store(b, out)
        })
    }
    /// Receives without a reply object: a caller can't be answered.
    #[inline(always)]
    pub fn wait_with_mrs(self) -> RecvWithMRs {
        sys::wait(self.bits(), NO_BUFFER).into()
    }
    /// Receives without a reply object if there is something. Badge and message information are 0 otherwise.
    #[inline(always)]
    pub fn nb_wait_with_mrs(self) -> RecvWithMRs {
        sys::nb_wait(self.bits(), NO_BUFFER).into()
    }
}

impl<C: InvocationContext> Cap<cap_type::Notification, C> {
    /// Signals: the badge's bits are added to the notification's word.
    #[inline(always)]
    pub fn signal(self) {
        sys::send(self.bits(), MessageInfo::new(0, 0, 0, 0).into_word(), [0; 4], NO_BUFFER);
    }
    /// Waits until it is signalled, and takes its word.
    #[inline(always)]
    pub fn wait(self) -> Badge {
        sys::wait(self.bits(), NO_BUFFER).badge
    }
    /// Takes its word, 0 if it was not signalled.
    #[inline(always)]
    pub fn poll(self) -> Badge {
        sys::nb_wait(self.bits(), NO_BUFFER).badge
    }
}

impl<C: InvocationContext> Cap<cap_type::Reply, C> {
    /// Answers the caller that the reply object stands for. If there is none, nothing happens.
    pub fn send(self, info: MessageInfo) {
        let (cptr, mut context) = self.into_parts();
        context.with_context(|b| sys::send(cptr.bits(), info.into_word(), load(b), b));
    }
    /// Answers the caller that the reply object stands for. If there is none, nothing happens.
    #[inline(always)]
    pub fn send_with_mrs<T: FastMessage>(self, info: MessageInfo, msg: T) {
        sys::send(self.bits(), info.into_word(), msg.into_mrs(), NO_BUFFER);
    }
}

/// Sends to `dest` if someone waits for it, then receives from `src` with `reply` (`NBSendRecv`).
#[inline(always)]
pub fn nb_send_recv_with_mrs<T: FastMessage>(
    dest: CPtr,
    info: MessageInfo,
    msg: T,
    src: CPtr,
    reply: cap::Reply,
) -> RecvWithMRs {
    sys::nb_send_recv(dest.bits(), info.into_word(), msg.into_mrs(), src.bits(), reply.bits(), NO_BUFFER)
        .into()
}

/// Sends to `dest` if someone waits for it, then waits for `src` (`NBSendWait`).
#[inline(always)]
pub fn nb_send_wait_with_mrs<T: FastMessage>(
    dest: CPtr,
    info: MessageInfo,
    msg: T,
    src: CPtr,
) -> RecvWithMRs {
    sys::nb_send_wait(dest.bits(), info.into_word(), msg.into_mrs(), src.bits(), NO_BUFFER).into()
}

/// Gives up the rest of the time slice.
#[inline(always)]
pub fn yield_() {
    sys::simple(nr::YIELD, 0, NO_BUFFER);
}

/// Sets the FS base of the calling thread, at once. An address that isn't the user's becomes a fault.
#[inline(always)]
pub fn set_tls_base(base: usize) {
    sys::simple(nr::SET_TLS_BASE, base as CPtrBits, NO_BUFFER);
}
