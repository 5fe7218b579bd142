// SPDX-License-Identifier: MIT OR Apache-2.0
//! What becomes of a panic.

#[cfg(not(test))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    crate::println!("root task: {info}");
    stop()
}

/// Ends the calling thread, which must be the initial one.
#[cfg_attr(test, allow(dead_code))]
pub(crate) fn stop() -> ! {
    loop {
        // The kernel suspends the thread before it could answer.
        let _ = sel4::init_thread::slot::TCB.cap().tcb_suspend();
    }
}
