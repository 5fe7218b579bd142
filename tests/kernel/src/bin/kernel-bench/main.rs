// SPDX-License-Identifier: MIT OR Apache-2.0
//! Measures what the kernel does beside IPC: signals, switches, memory, I/O spaces, interrupts. Under QEMU's `-icount shift=0` a tick of
//! the time-stamp counter is an instruction. Prints as `ipc-bench`. Wants a VT-d unit and QEMU's `edu` at 01:00.0 behind a root port.
#![no_std]
#![no_main]

mod interrupts;
mod io_spaces;
mod memory;
mod signals;
mod switches;

use kernel_tests::measure;
use sel4::BootInfoPtr;

sel4_root_task::declare!(main);

fn main(bootinfo: &BootInfoPtr) -> ! {
    measure::run(
        bootinfo,
        &[
            signals::alone,
            signals::between_spaces,
            switches::alone,
            switches::between_threads,
            switches::between_spaces,
            memory::pages,
            memory::objects,
            io_spaces::pages,
            interrupts::to_a_waiting_thread,
            interrupts::to_the_running_thread,
        ],
    )
}
