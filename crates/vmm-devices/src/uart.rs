// SPDX-License-Identifier: MIT OR Apache-2.0
//! The serial line: a polled 8250 whose output becomes lines of the guest's log. It is always ready, receives nothing and never interrupts.

/// First port.
pub const FIRST_PORT: u16 = 0x3f8;
/// Last port.
pub const LAST_PORT: u16 = 0x3ff;
/// Longest line; a longer one is cut into several.
pub const MAX_LINE: usize = 200;

/// Line status: transmitter and holding register empty.
const READY: u8 = 0x60;
/// Line control: the divisor is at offsets 0 and 1.
const DIVISOR_LATCH: u8 = 0x80;
/// Modem status: carrier, data set ready, clear to send.
const MODEM_READY: u8 = 0xb0;

/// Registers and the line being written.
pub struct Uart {
    line: heapless::Vec<u8, MAX_LINE>,
    divisor: [u8; 2],
    interrupt_enable: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl Uart {
    /// As after reset.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line: heapless::Vec::new(),
            divisor: [12, 0],
            interrupt_enable: 0,
            line_control: 3,
            modem_control: 0,
            scratch: 0,
        }
    }

    /// Reads the register at `offset` (0..8).
    #[must_use]
    pub fn read(&self, offset: u16) -> u8 {
        let latch = self.line_control & DIVISOR_LATCH != 0;
        match offset {
            0 | 1 if latch => self.divisor[usize::from(offset)],
            1 => self.interrupt_enable,
            2 => 1, // no interrupt pending
            3 => self.line_control,
            4 => self.modem_control,
            5 => READY,
            6 => MODEM_READY,
            7 => self.scratch,
            _ => 0,
        }
    }

    /// Writes the register at `offset` (0..8). `log` gets each line that is complete, without its end.
    pub fn write(&mut self, offset: u16, value: u8, log: impl FnOnce(&[u8])) {
        let latch = self.line_control & DIVISOR_LATCH != 0;
        match offset {
            0 | 1 if latch => self.divisor[usize::from(offset)] = value,
            0 => self.transmit(value, log),
            1 => self.interrupt_enable = value & 0x0f,
            3 => self.line_control = value,
            4 => self.modem_control = value & 0x1f,
            7 => self.scratch = value,
            _ => {}
        }
    }

    fn transmit(&mut self, byte: u8, log: impl FnOnce(&[u8])) {
        match byte {
            b'\n' => {
                log(&self.line);
                self.line.clear();
            }
            b'\r' => {}
            // A guest can't steer the terminal that shows its log.
            _ => {
                let shown =
                    if byte == b'\t' || (b' '..0x7f).contains(&byte) || byte >= 0x80 { byte } else { b'?' };
                if let Err(shown) = self.line.push(shown) {
                    log(&self.line);
                    self.line.clear();
                    // There is room now.
                    let _ = self.line.push(shown);
                }
            }
        }
    }

    /// Gives out what was written since the last line's end, if anything.
    pub fn flush(&mut self, log: impl FnOnce(&[u8])) {
        if !self.line.is_empty() {
            log(&self.line);
            self.line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        let mut uart = Uart::new();
        let mut lines = Vec::new();
        for &byte in text {
            uart.write(0, byte, |line| lines.push(line.to_vec()));
        }
        uart.flush(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_end_at_newline_at_the_limit_and_at_the_end() {
        assert_eq!(lines(b"one\r\ntwo\n\nend"), [&b"one"[..], b"two", b"", b"end"]);
        let long = lines(&[b'x'; 450]);
        assert_eq!(long.iter().map(Vec::len).collect::<Vec<_>>(), [200, 200, 50]);
        assert_eq!(lines(b"\x1b[2J"), [b"?[2J"]);
    }

    #[test]
    fn registers() {
        let mut uart = Uart::new();
        let quiet = |_: &[u8]| panic!("no line");
        uart.write(3, 0x83, quiet);
        uart.write(0, 1, quiet);
        uart.write(1, 0, quiet);
        assert_eq!((uart.read(0), uart.read(1)), (1, 0));
        uart.write(3, 0x03, quiet);
        uart.write(7, 0x5a, quiet);
        assert_eq!((uart.read(7), uart.read(5), uart.read(0), uart.read(2)), (0x5a, 0x60, 0, 1));
    }
}
