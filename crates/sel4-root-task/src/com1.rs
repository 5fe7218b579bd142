// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1 by I/O-port capability: the console of a root task on a release kernel.

use sel4::init_thread::slot;
use sel4::{AbsoluteCPtr, Result, cap};

/// First port of COM1.
const BASE: u16 = 0x3f8;
/// Last port of COM1.
const LAST: u16 = BASE + 7;
/// Line status register.
const LINE_STATUS: u16 = BASE + 5;
/// Line status: the transmitter takes a byte.
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// COM1, as firmware or kernel set it up.
#[derive(Debug, Clone, Copy)]
pub struct Com1 {
    ports: cap::IOPort,
}

impl Com1 {
    /// Issues COM1's ports into the empty slot `index` of the initial CNode. RevokeFirst if they were issued before.
    pub fn issue(index: usize) -> Result<Self> {
        let ports: cap::IOPort = cap::IOPort::from_bits(index as u64);
        let destination: AbsoluteCPtr = slot::CNODE.cap().absolute_cptr(ports);
        slot::IO_PORT_CONTROL.cap().ioport_control_issue(BASE.into(), LAST.into(), &destination)?;
        Ok(Self { ports })
    }

    /// COM1 by a capability to its ports.
    pub const fn from_cap(ports: cap::IOPort) -> Self {
        Self { ports }
    }

    /// The capability to its ports.
    pub const fn cap(&self) -> cap::IOPort {
        self.ports
    }

    /// Writes bytes, a carriage return before each line feed, waiting for the transmitter.
    pub fn write(&self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
    }

    fn put(&self, byte: u8) {
        // An error means that the ports are gone; then nothing can be said about it either.
        while self.ports.ioport_in8(LINE_STATUS).is_ok_and(|status| status & TRANSMITTER_EMPTY == 0) {}
        let _ = self.ports.ioport_out8(BASE, byte);
    }
}
