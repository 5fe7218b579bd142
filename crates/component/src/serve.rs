// SPDX-License-Identifier: MIT OR Apache-2.0
//! The serving loop: requests from the endpoint, signals from the bound notification.

use protocol::client::ENDPOINT_MARK;
use protocol::message::{Protocol, Refusal, Request, decode, encode_outcome};
use sel4::MessageInfo;

use crate::slot;

/// What a server does with what arrives.
pub trait Server {
    /// A client's request. Whatever it says, the server answers and lives on.
    fn request(&mut self, message: &Message) -> Answer;
    /// The bound notification was signalled; `bits` is its word.
    fn signal(&mut self, bits: u64);
}

/// A request as it arrived. Its words lie in the IPC buffer until the server calls someone or answers.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Who sent it ([`protocol::client`]).
    pub client: u64,
    label: u64,
    length: usize,
}

/// An answer, its words in the IPC buffer.
#[derive(Debug)]
#[must_use]
pub struct Answer(MessageInfo);

impl Message {
    /// The operation it asks for, if it speaks `protocol`.
    pub fn operation(&self, protocol: Protocol) -> Result<u16, Refusal> {
        protocol.operation(self.label)
    }

    /// Decodes the request, lets `handle` do it, and encodes the outcome. To be called first thing: a call to
    /// another server overwrites the message.
    pub fn answer<R: Request>(&self, handle: impl FnOnce(R) -> Result<R::Reply, R::Error>) -> Answer {
        let request = sel4::with_ipc_buffer(|buffer| decode(&buffer.msg_regs()[..self.length]));
        let Some(request) = request else { return Answer::refuse(Refusal::Malformed) };
        let outcome = handle(request);
        let (label, length) =
            sel4::with_ipc_buffer_mut(|buffer| encode_outcome::<R>(&outcome, buffer.msg_regs_mut()));
        Answer(MessageInfo::new(label, 0, 0, length))
    }
}

impl Answer {
    /// A refusal.
    pub fn refuse(refusal: Refusal) -> Self {
        Self(MessageInfo::new(refusal as u64, 0, 0, 0))
    }
}

/// Serves for ever.
pub fn serve(server: &mut impl Server) -> ! {
    let mut arrived = slot::SERVED.recv(slot::REPLY);
    loop {
        let (info, badge) = arrived;
        // Endpoint capabilities all bear the mark, notifications never: no client can pass for a signal.
        arrived = if badge & ENDPOINT_MARK == 0 {
            server.signal(badge);
            slot::SERVED.recv(slot::REPLY)
        } else {
            let message =
                Message { client: badge & !ENDPOINT_MARK, label: info.label(), length: info.length() };
            let Answer(info) = server.request(&message);
            slot::SERVED.reply_recv(info, slot::REPLY)
        };
    }
}

/// For parts that serve nothing: waits for the bound notification and takes its word.
pub fn wait() -> u64 {
    slot::NOTIFICATION.wait()
}
