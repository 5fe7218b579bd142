// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sockets: all listen, each serves one client at a time.

use crate::connection::Connection;
use alloc::{string::String, vec, vec::Vec};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Duration;

/// The port.
pub const PORT: u16 = 80;
/// How many clients at once.
const SOCKETS: usize = 32;
/// Sockets that linger after their connection's end (TIME-WAIT) are used again once fewer than this many listen.
const FEW: usize = 16;
const RECEIVE_BYTES: usize = 2048;
const SEND_BYTES: usize = 8192;

/// All sockets, with their connections.
pub struct Server {
    sockets: SocketSet<'static>,
    connections: Vec<(SocketHandle, Connection)>,
}

fn listening_socket() -> Socket<'static> {
    let mut socket =
        Socket::new(SocketBuffer::new(vec![0; RECEIVE_BYTES]), SocketBuffer::new(vec![0; SEND_BYTES]));
    // The end of an answer goes out with the rest of it, not after an acknowledgement.
    socket.set_nagle_enabled(false);
    // A client that vanished is given up.
    socket.set_timeout(Some(Duration::from_secs(20)));
    listen(&mut socket);
    socket
}

fn listen(socket: &mut Socket<'_>) {
    // It can only fail for port 0 or a socket that is open, and this one is closed or new.
    let listens = socket.listen(PORT);
    debug_assert!(listens.is_ok());
}

impl Server {
    /// All sockets listening.
    pub fn new() -> Self {
        let mut sockets = SocketSet::new(Vec::with_capacity(SOCKETS));
        let connections =
            (0..SOCKETS).map(|_| (sockets.add(listening_socket()), Connection::default())).collect();
        Self { sockets, connections }
    }

    /// The sockets, for the network interface.
    pub fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// Serves every client as far as it goes now. `page` makes the page for one more request. The time is in nanoseconds.
    pub fn serve(&mut self, now: u64, page: &mut impl FnMut() -> String) {
        let mut listening = 0;
        for (handle, connection) in &mut self.connections {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            match socket.state() {
                State::Listen => listening += 1,
                State::Closed => {
                    connection.reset();
                    listen(socket);
                    listening += 1;
                }
                State::TimeWait => {}
                _ if connection.deadline(now) <= now => socket.abort(),
                _ => connection.serve(socket, now, page),
            }
        }
        if listening < FEW {
            self.reuse_lingering();
        }
    }

    /// Gives lingering sockets new life. TIME-WAIT guards against stray segments of the old connection; those would be answered by a reset
    /// instead, to a client that has had its answer.
    fn reuse_lingering(&mut self) {
        for (handle, connection) in &mut self.connections {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            if socket.state() == State::TimeWait {
                *socket = listening_socket();
                connection.reset();
            }
        }
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.connections.iter_mut().filter_map(|(handle, connection)| {
            let state = self.sockets.get::<Socket<'_>>(*handle).state();
            (!matches!(state, State::Listen | State::Closed | State::TimeWait)).then_some(connection)
        })
    }

    /// Whether no client is connected.
    pub fn is_idle(&mut self) -> bool {
        self.open().next().is_none()
    }

    /// When the next idle connection is to be closed, in nanoseconds.
    pub fn next_deadline(&mut self, now: u64) -> Option<u64> {
        self.open().map(|connection| connection.deadline(now)).min()
    }
}
