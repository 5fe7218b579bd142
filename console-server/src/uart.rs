// SPDX-License-Identifier: MIT OR Apache-2.0
//! COM1: a 16550 whose transmitter takes 16 bytes at once, and whose receiver interrupts at each byte.

use component::sel4::cap;

/// Transmit register, receive register when read, and the divisor's low byte while it is open.
const DATA: u16 = 0;
/// Interrupt enable register, and the divisor's high byte while it is open.
const INTERRUPTS: u16 = 1;
/// FIFO control register; interrupt identification when read.
const FIFO: u16 = 2;
/// Line control register.
const LINE: u16 = 3;
/// Modem control register.
const MODEM: u16 = 4;
/// Line status register.
const STATUS: u16 = 5;

/// Line control: eight bits, no parity, one stop bit.
const EIGHT_BITS: u8 = 3;
/// Line control: the divisor is open.
const DIVISOR: u8 = 0x80;
/// FIFOs on and empty.
const FIFO_ON: u8 = 7;
/// Modem control: DTR, RTS, and OUT2, which lets interrupts out.
const READY: u8 = 0x0b;
/// Interrupt: something was received.
const ON_INPUT: u8 = 1;
/// Interrupt: the transmitter is empty.
const ON_EMPTY: u8 = 2;
/// Line status: something was received.
const RECEIVED: u8 = 1;
/// Line status: the transmitter is empty.
const EMPTY: u8 = 0x20;
/// Bytes that an empty transmitter takes.
const BURST: usize = 16;

/// The UART.
#[derive(Debug)]
pub struct Uart {
    ports: cap::IOPort,
    base: u16,
    /// What the interrupt enable register holds.
    enabled: u8,
}

impl Uart {
    /// Sets it to 115,200 baud, 8N1, no interrupts yet.
    pub fn start(ports: cap::IOPort, base: u16) -> Option<Self> {
        let uart = Self { ports, base, enabled: 0 };
        uart.write(INTERRUPTS, 0)?;
        uart.write(LINE, DIVISOR | EIGHT_BITS)?;
        uart.write(DATA, 1)?;
        uart.write(INTERRUPTS, 0)?;
        uart.write(LINE, EIGHT_BITS)?;
        uart.write(FIFO, FIFO_ON)?;
        uart.write(MODEM, READY)?;
        Some(uart)
    }

    /// Sends what the transmitter takes now; returns how much that was.
    pub fn send(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() && self.read(STATUS) & EMPTY != 0 {
            let burst = &bytes[sent..][..BURST.min(bytes.len() - sent)];
            for byte in burst {
                let _ = self.write(DATA, *byte);
            }
            sent += burst.len();
        }
        sent
    }

    /// A byte that was received.
    pub fn receive(&self) -> Option<u8> {
        (self.read(STATUS) & RECEIVED != 0).then(|| self.read(DATA))
    }

    /// Raises an interrupt when something is received (`input`), when the transmitter is empty (`empty`), and for nothing else. What
    /// is so already raises it at once: its line, whose edge counts, was low since [`quiet`](Self::quiet).
    pub fn interrupt_on(&mut self, input: bool, empty: bool) {
        let wanted = if input { ON_INPUT } else { 0 } | if empty { ON_EMPTY } else { 0 };
        if core::mem::replace(&mut self.enabled, wanted) != wanted {
            let _ = self.write(INTERRUPTS, wanted);
        }
    }

    /// Takes the interrupt back.
    pub fn quiet(&mut self) {
        self.enabled = 0;
        let _ = self.write(INTERRUPTS, 0);
        self.read(FIFO);
    }

    fn read(&self, register: u16) -> u8 {
        // Without the ports there is nothing to wait for.
        self.ports.ioport_in8(self.base + register).unwrap_or(EMPTY)
    }

    fn write(&self, register: u16, value: u8) -> Option<()> {
        self.ports.ioport_out8(self.base + register, value).ok()
    }
}
