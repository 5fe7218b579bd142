// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel says on COM1: at boot, when a thread faults without a handler (debug build), and when it panics.

use core::fmt::Write;

use crate::arch;
use crate::fault::Fault;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

/// Writes to COM1.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        s.bytes().for_each(arch::console_put);
        Ok(())
    }
}

/// A line of the kernel's, `[kernel] …`.
#[macro_export]
macro_rules! klog {
    ($($arg:tt)*) => {{
        use core::fmt::Write;
        // Writing to the console cannot fail.
        let _ = writeln!($crate::log::Console, "[kernel] {}", format_args!($($arg)*));
    }};
}

/// A thread without a fault handler stops. The release build says nothing: COM1 may be user level's by now.
pub fn unhandled_fault(tcb: Ptr<Tcb>, fault: Fault) {
    if cfg!(feature = "debug-syscalls") {
        klog!(
            "thread {:#x} faults without a handler: {:x?} at {:#x}",
            tcb.addr(),
            fault,
            tcb.context.rip.get()
        );
    }
}

/// Debug system calls; true if `number` is one.
#[cfg(feature = "debug-syscalls")]
pub fn debug_syscall(k: &mut crate::kernel::Kernel, tcb: Ptr<Tcb>, number: i64) -> bool {
    use sel4_abi::syscall as n;
    let argument = tcb.context.rdi.get();
    match number {
        n::DEBUG_PUT_CHAR => arch::console_put(argument as u8),
        n::DEBUG_HALT => {
            klog!("halted by user level");
            arch::halt();
        }
        n::DEBUG_CAP_IDENTIFY => {
            let tag = crate::cspace::lookup_at_once(&tcb, argument).map_or(0, |s| s.raw().tag());
            tcb.context.rdi.set(u64::from(tag));
        }
        n::DEBUG_NAME_THREAD => name_thread(tcb, argument),
        n::DEBUG_DUMP_SCHEDULER => {
            // Writing to the console cannot fail.
            let _ = crate::threads::write(&mut Console, k, tcb);
        }
        n::DEBUG_SNAPSHOT => {
            // Writing to the console cannot fail.
            let _ = crate::snapshot::write(&mut Console, tcb);
        }
        _ => return false,
    }
    true
}

#[cfg(feature = "debug-syscalls")]
fn name_thread(tcb: Ptr<Tcb>, address: u64) {
    let Ok(slot) = crate::cspace::lookup_at_once(&tcb, address) else { return };
    let crate::cap::Cap::Thread(t) = slot.cap() else { return };
    let Some(buffer) = crate::transfer::Buffer::to_read(&tcb) else { return };
    for (i, c) in t.name.iter().enumerate() {
        c.set((buffer.message(i / 8) >> (8 * (i % 8))) as u8);
    }
}
