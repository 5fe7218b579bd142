// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where `print!` and panics go: a function that the program sets.

use core::cell::Cell;
use core::fmt;

/// Writes bytes somewhere.
pub type Output = fn(&[u8]);

struct Console(Cell<Output>);

// SAFETY: only the initial thread prints: other threads of a root task report to it.
unsafe impl Sync for Console {}

static CONSOLE: Console = Console(Cell::new(debug));

/// The console at the start: the debug kernel's. On a release kernel its system call is a fault that ends the thread;
/// set another before printing.
pub fn debug(bytes: &[u8]) {
    bytes.iter().copied().for_each(sel4::debug_put_char);
}

/// Drops everything.
pub fn discard(_: &[u8]) {}

/// Prints through `output` from now on.
pub fn set(output: Output) {
    CONSOLE.0.set(output);
}

/// Prints bytes.
pub fn write(bytes: &[u8]) {
    CONSOLE.0.get()(bytes);
}

struct Writer;

impl fmt::Write for Writer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        write(s.as_bytes());
        Ok(())
    }
}

/// For the macros.
#[doc(hidden)]
pub fn print(arguments: fmt::Arguments) {
    let _ = fmt::write(&mut Writer, arguments);
}

/// Prints.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::console::print(format_args!($($arg)*)) };
}

/// Prints a line.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($arg)*))) };
}
