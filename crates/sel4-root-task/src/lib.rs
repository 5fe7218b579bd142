// SPDX-License-Identifier: MIT OR Apache-2.0
//! The runtime of an initial thread: entry, stack, console, panic, optionally a heap.
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! sel4_root_task::declare!(main);
//! fn main(bootinfo: &sel4::BootInfoPtr) -> ! { ... }
//! ```
#![cfg_attr(not(test), no_std)]

mod com1;
pub mod console;
pub mod entry;
#[cfg(feature = "heap")]
pub mod heap;
mod panic;
pub mod stack;

pub use com1::Com1;

/// Bytes of the stack if [`declare!`] isn't told otherwise.
pub const DEFAULT_STACK_SIZE: usize = 64 * 1024;

/// Names the main function, `fn(&sel4::BootInfoPtr) -> !`, and optionally the bytes of its stack, a multiple of 4096.
#[macro_export]
macro_rules! declare {
    ($main:path) => {
        $crate::declare!($main, stack_size = $crate::DEFAULT_STACK_SIZE);
    };
    ($main:path, stack_size = $size:expr) => {
        const _: () = {
            static STACK: $crate::stack::Stack<{ $size }> = $crate::stack::Stack::new();

            // Read by the entry code.
            #[unsafe(no_mangle)]
            static SEL4_ROOT_TASK_STACK_TOP: $crate::stack::StackTop = STACK.top();

            #[unsafe(no_mangle)]
            extern "C" fn sel4_root_task_main(bootinfo: usize) -> ! {
                const MAIN: fn(&$crate::_private::BootInfoPtr) -> ! = $main;
                $crate::entry::enter(bootinfo, STACK.guard(), MAIN)
            }
        };
    };
}

/// For the macros.
#[doc(hidden)]
pub mod _private {
    pub use sel4::BootInfoPtr;
}
