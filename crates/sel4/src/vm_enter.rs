// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entering a virtual machine.

use sel4_abi::vcpu;

use crate::{Badge, IpcBuffer, Word, state, sys};

/// Why `vm_enter` came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VmEnterResult {
    /// The guest exited. Words 4 to 24 are in the IPC buffer (`abi::vcpu`).
    Exit {
        /// Guest RIP.
        rip: Word,
        /// The controls that were given.
        control: Word,
        /// The event whose delivery the exit interrupted: to be given again.
        event: Word,
        /// EXITCODE; low 32 bits all ones for an entry that was refused.
        exit_code: Word,
    },
    /// The bound notification was signalled.
    Notification {
        /// Its badge.
        badge: Badge,
        /// Guest RIP.
        rip: Word,
        /// The controls that were given.
        control: Word,
        /// The event still to be given.
        event: Word,
    },
}

/// Runs the calling thread's virtual CPU with the implicit IPC buffer, see [`vm_enter_with`].
#[inline(always)]
pub fn vm_enter(rip: Word, control: Word, event: Word, with_registers: bool) -> VmEnterResult {
    state::with_ipc_buffer_mut(|buffer| vm_enter_with(buffer, rip, control, event, with_registers))
}

/// Runs the calling thread's virtual CPU until it exits or the thread's bound notification is signalled
/// (`VMEnter`, extension X1).
///
/// `rip` is the guest's instruction pointer, `control` are `abi::vcpu::CONTROL_*` bits, `event` is EVENTINJ. With
/// `with_registers` the guest's general registers are taken from message words 10 to 24 of `buffer`, otherwise those of
/// the VCPU object stay. Without a virtual CPU bound to the thread this is an UnknownSyscall fault.
#[inline(always)]
pub fn vm_enter_with(
    buffer: &mut IpcBuffer,
    rip: Word,
    control: Word,
    event: Word,
    with_registers: bool,
) -> VmEnterResult {
    let flags = if with_registers { vcpu::ENTER_WITH_REGISTERS } else { 0 };
    let out = sys::vm_enter(flags, [rip, control, event, 0], buffer);
    let [rip, control, event, exit_code] = out.mrs;
    if out.info == vcpu::RETURN_EXIT {
        VmEnterResult::Exit { rip, control, event, exit_code }
    } else {
        VmEnterResult::Notification { badge: out.badge, rip, control, event }
    }
}
