// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the first instruction to the part's main function, and what becomes of a panic.

use crate::Part;

/// Names the part's main function, `fn(Part) -> !`.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn component_main(start_page: usize, restarts: u64) -> ! {
            const MAIN: fn($crate::Part) -> ! = $main;
            $crate::entry::enter(start_page, restarts, MAIN)
        }
    };
}

/// The exit code of a part that panics.
#[cfg(target_os = "none")]
const PANIC: u32 = 255;
/// The address of the IPC buffer (`docs/architecture.md`, "Memory").
const IPC_BUFFER: usize = 0x1000_8000;

#[cfg(target_os = "none")]
mod bare {
    use core::arch::global_asm;

    // The root task sets RSP to the top of the stack, RDI to the start page, RSI to how often the part was started before.
    global_asm!(".global _start", "_start:", "xor ebp, ebp", "and rsp, -16", "call component_main", "ud2",);

    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo) -> ! {
        super::die(info)
    }
}

/// Sets up the runtime and runs the part. Only [`main!`](crate::main) calls it.
#[doc(hidden)]
pub fn enter(start_page: usize, restarts: u64, main: fn(Part) -> !) -> ! {
    // SAFETY: the root task mapped an IPC buffer there that nothing else uses; a part has one thread.
    unsafe { sel4::set_ipc_buffer(IPC_BUFFER as *mut sel4::IpcBuffer) };
    // SAFETY: the address is the one that the root task put into RDI: the start page, mapped as long as the part lives.
    let part = unsafe { Part::at(start_page, restarts) };
    crate::log::start(&part);
    main(part)
}

/// Logs what went wrong, tells the supervisor, and faults if that comes back.
#[cfg(target_os = "none")]
fn die(info: &core::panic::PanicInfo) -> ! {
    crate::log!("panic: {}", info);
    let mut reason = protocol::supervisor::Reason::new();
    let _ = core::fmt::write(&mut reason, format_args!("panic: {info}"));
    // The IPC buffer may be in use where the panic happened. It's lost anyway.
    // SAFETY: as in `enter`; whoever used it before does not run on.
    unsafe { sel4::set_ipc_buffer(IPC_BUFFER as *mut sel4::IpcBuffer) };
    crate::ipc::exit(protocol::supervisor::ExitKind::Failure, PANIC, reason)
}

/// Ends the thread with a fault, which the supervisor gets.
pub(crate) fn fault() -> ! {
    // SAFETY: UD2 raises an exception, and the thread doesn't continue.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
