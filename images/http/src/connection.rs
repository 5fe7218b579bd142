// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection's requests and answers, between a TCP socket's two buffers.

use crate::request::{self, Head, LONGEST_HEAD};
use crate::response::{Status, answer};
use alloc::{string::String, vec::Vec};
use smoltcp::socket::tcp::{Socket, State};

/// Nanoseconds after which a connection that says nothing is closed.
const IDLE_LIMIT: u64 = 15_000_000_000;

/// What is known of a socket's present connection.
#[derive(Default)]
pub struct Connection {
    /// Bytes of requests that aren't answered yet.
    received: Vec<u8>,
    /// The answer under way, and how much of it the socket has.
    answer: Vec<u8>,
    sent: usize,
    /// No more requests after this answer.
    last: bool,
    /// When something happened last, in nanoseconds; nothing yet for a client that has just come.
    active: Option<u64>,
}

impl Connection {
    /// Forgets the past, for the socket's next client.
    pub fn reset(&mut self) {
        self.received.clear();
        self.answer.clear();
        (self.sent, self.last, self.active) = (0, false, None);
    }

    /// When the connection is to be closed if nothing more happens, in nanoseconds. The first question starts the clock.
    pub fn deadline(&mut self, now: u64) -> u64 {
        self.active.get_or_insert(now).saturating_add(IDLE_LIMIT)
    }

    /// Moves bytes and answers requests until nothing more can be done now. `page` makes the page for one more request.
    pub fn serve(&mut self, socket: &mut Socket<'_>, now: u64, page: &mut impl FnMut() -> String) {
        loop {
            let moved = self.receive(socket) | self.respond(page) | self.send(socket);
            if !moved {
                break;
            }
            self.active = Some(now);
        }
        let answered = self.sent == self.answer.len();
        // What remains after the client's last byte is no request.
        if answered
            && (self.last || !socket.may_recv())
            && matches!(socket.state(), State::Established | State::CloseWait)
        {
            socket.close();
        }
    }

    fn receive(&mut self, socket: &mut Socket<'_>) -> bool {
        let room = LONGEST_HEAD - self.received.len().min(LONGEST_HEAD);
        if !socket.can_recv() {
            return false;
        }
        if self.last {
            // Nobody reads it any more, but the client must be able to get rid of it to see the answer's end.
            return socket.recv(|bytes| (bytes.len(), ())).is_ok();
        }
        if room == 0 {
            return false;
        }
        let taken = socket.recv(|bytes| {
            let taken = bytes.len().min(room);
            self.received.extend_from_slice(&bytes[..taken]);
            (taken, taken)
        });
        taken.is_ok_and(|taken| taken > 0)
    }

    fn respond(&mut self, page: &mut impl FnMut() -> String) -> bool {
        if self.last || self.sent < self.answer.len() {
            return false;
        }
        let (status, keep_alive, without_body, consumed) = match request::parse(&self.received) {
            Head::Incomplete => return false,
            Head::Malformed => (Status::BadRequest, false, false, self.received.len()),
            Head::Complete(request, length) => {
                (Status::of(&request), request.keep_alive, request.method == "HEAD", length)
            }
        };
        self.answer = answer(status, keep_alive, without_body, page);
        self.sent = 0;
        self.last = !keep_alive;
        self.received.drain(..consumed);
        true
    }

    fn send(&mut self, socket: &mut Socket<'_>) -> bool {
        if self.sent == self.answer.len() || !socket.can_send() {
            return false;
        }
        match socket.send_slice(&self.answer[self.sent..]) {
            Ok(taken) => {
                self.sent += taken;
                taken > 0
            }
            Err(_) => false,
        }
    }
}
