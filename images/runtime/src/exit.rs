// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest ends, and what it can ask about itself before. QEMU's `isa-debug-exit` at the same port turns a code into the status `code << 1 | 1`.

/// The exit code of a panic.
pub const PANIC: u32 = 101;
/// The exit code of an exception that nobody expected.
pub const TRAP: u32 = 102;

/// Ends the guest: 0 powers off, any other code is reported.
pub fn exit(code: u32) -> ! {
    if code == 0 {
        power_off();
    }
    // SAFETY: the guest's debug-exit port; the write ends the guest.
    unsafe { crate::cpu::out32(0xf4, code) };
    crate::cpu::halt_forever()
}

/// Powers off, exit code 0.
pub fn power_off() -> ! {
    // SAFETY: PM1a control of q35 and of Postern: sleep enable, type 0.
    unsafe { crate::cpu::out16(0x604, 0x2000) };
    crate::cpu::halt_forever()
}

/// Asks for a reset.
pub fn reset() -> ! {
    // SAFETY: the reset control register: a full reset.
    unsafe { crate::cpu::out8(0xcf9, 0x06) };
    crate::cpu::halt_forever()
}

/// Asks the hypervisor to log how many exits there were, by reason; elsewhere nothing happens.
pub fn log_exit_counts() {
    if crate::cpuid::postern().is_some() {
        // SAFETY: Postern's statistics port and its word.
        unsafe { crate::cpu::out16(0xf5, 0x57a7) };
    }
}

/// Ends the guest the hard way, by an exception that nothing can handle (triple fault).
#[cfg(target_os = "none")]
pub fn shut_down() -> ! {
    crate::traps::triple_fault()
}
