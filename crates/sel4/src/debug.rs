// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debug system calls. They exist in the kernel's debug build only: in the release build each is an UnknownSyscall fault.

use sel4_abi::syscall as nr;

use crate::{Cap, CapType, IpcBuffer, cap, sys};

/// Prints a byte on the kernel's console.
pub fn debug_put_char(byte: u8) {
    sys::simple(nr::DEBUG_PUT_CHAR, byte.into(), core::ptr::null_mut());
}

/// The type tag of the capability, see `abi::object::tag`.
pub fn debug_cap_identify<T: CapType>(cap: Cap<T>) -> u8 {
    sys::simple(nr::DEBUG_CAP_IDENTIFY, cap.bits(), core::ptr::null_mut()) as u8
}

/// Gives a thread a name for the kernel's messages; cut to 63 bytes.
pub fn debug_name_thread(tcb: cap::Tcb, name: &str, buffer: &mut IpcBuffer) {
    let mut bytes = [0; 64];
    let length = name.len().min(bytes.len() - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    if buffer.write_bytes(0, &bytes).is_some() {
        sys::simple(nr::DEBUG_NAME_THREAD, tcb.bits(), buffer);
    }
}

/// Of a kernel that is built to measure it (feature `pretend-interrupted`) the longest stretch from kernel entry to exit since this was asked last, in ticks of
/// the time-stamp counter.
pub fn benchmark_finalize_log() -> crate::Word {
    sys::simple(nr::BENCHMARK_FINALIZE_LOG, 0, core::ptr::null_mut())
}

/// Prints what each thread does on the kernel's console, a line for each.
pub fn debug_dump_scheduler() {
    sys::simple(nr::DEBUG_DUMP_SCHEDULER, 0, core::ptr::null_mut());
}

/// Prints the capability graph on the kernel's console: `postern inspect FILE snapshot` reads it.
pub fn debug_snapshot() {
    sys::simple(nr::DEBUG_SNAPSHOT, 0, core::ptr::null_mut());
}

/// Stops the machine.
pub fn debug_halt() {
    sys::simple(nr::DEBUG_HALT, 0, core::ptr::null_mut());
}

/// Writes to the kernel's console.
#[derive(Debug, Clone, Copy, Default)]
pub struct DebugWriter;

impl core::fmt::Write for DebugWriter {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        s.bytes().for_each(debug_put_char);
        Ok(())
    }
}
