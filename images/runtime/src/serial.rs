// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text on COM1, polled: [`print!`](crate::print) and [`println!`](crate::println).

use crate::cell::IrqCell;
use core::fmt::{Arguments, Result, Write};

#[cfg(target_os = "none")]
const DATA: u16 = 0x3f8;
#[cfg(target_os = "none")]
const LINE_STATUS: u16 = 0x3fd;

struct Port {
    /// Postern's UART is always ready, and asking it would double the exits of a line.
    ask_first: bool,
}

static PORT: IrqCell<Port> = IrqCell::new(Port { ask_first: true });

impl Port {
    #[cfg(target_os = "none")]
    fn byte(&mut self, byte: u8) {
        const TRANSMITTER_EMPTY: u8 = 0x20;
        while self.ask_first && crate::cpu::in8(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {}
        // SAFETY: a UART writes no memory.
        unsafe { crate::cpu::out8(DATA, byte) };
    }

    #[cfg(not(target_os = "none"))]
    fn byte(&mut self, _: u8) {
        let _ = self.ask_first;
    }
}

impl Write for Port {
    fn write_str(&mut self, text: &str) -> Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.byte(b'\r');
            }
            self.byte(byte);
        }
        Ok(())
    }
}

#[cfg(target_os = "none")]
pub(crate) fn init() {
    PORT.with(|port| port.ask_first = crate::cpuid::postern().is_none());
}

/// Prints; what `print!` calls. Text is dropped where a line is being printed already, as in a fault while formatting.
pub fn print(arguments: Arguments<'_>) {
    let _ = PORT.try_with(|port| port.write_fmt(arguments));
}

/// Prints to the guest's log.
#[macro_export]
macro_rules! print {
    ($($arguments:tt)*) => { $crate::serial::print(format_args!($($arguments)*)) };
}

/// Prints a line to the guest's log.
#[macro_export]
macro_rules! println {
    () => { $crate::serial::print(format_args!("\n")) };
    ($($arguments:tt)*) => { $crate::serial::print(format_args!("{}\n", format_args!($($arguments)*))) };
}
