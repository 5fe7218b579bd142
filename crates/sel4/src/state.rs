// SPDX-License-Identifier: MIT OR Apache-2.0
//! The implicit IPC buffer: the one of the image's only thread.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr;

use crate::IpcBuffer;

struct State {
    buffer: Cell<*mut IpcBuffer>,
    borrowed: Cell<bool>,
}

// SAFETY: whoever calls `set_ipc_buffer` promises that one thread only uses the implicit buffer.
unsafe impl Sync for State {}

static STATE: State = State { buffer: Cell::new(ptr::null_mut()), borrowed: Cell::new(false) };

/// Makes `buffer` the implicit IPC buffer, which functions use that aren't given one.
///
/// # Safety
/// It must be the calling thread's IPC buffer and stay mapped, nothing else may refer to it, and from now on only the
/// calling thread may use the implicit buffer. Other threads of the image name theirs: [`Cap::with`](crate::Cap::with).
pub unsafe fn set_ipc_buffer(buffer: *mut IpcBuffer) {
    STATE.buffer.set(buffer);
    STATE.borrowed.set(false);
}

/// Address of the implicit IPC buffer, null if none is set.
pub fn ipc_buffer_address() -> usize {
    STATE.buffer.get() as usize
}

/// Runs `f` on the implicit IPC buffer.
///
/// # Panics
/// If there is none, or from inside another such function: a buffer has one user at a time.
#[inline(always)]
pub fn with_ipc_buffer_mut<T>(f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
    let buffer = STATE.buffer.get();
    if buffer.is_null() || STATE.borrowed.replace(true) {
        unusable();
    }
    // SAFETY: `set_ipc_buffer` was given a buffer that nothing else refers to, and the flag keeps a second user out.
    let result = f(unsafe { &mut *buffer });
    STATE.borrowed.set(false);
    result
}

/// Runs `f` on the implicit IPC buffer, to read it. Panics as [`with_ipc_buffer_mut`] does.
#[inline(always)]
pub fn with_ipc_buffer<T>(f: impl FnOnce(&IpcBuffer) -> T) -> T {
    with_ipc_buffer_mut(|buffer| f(buffer))
}

/// As [`with_ipc_buffer_mut`], and nothing where that would panic.
pub(crate) fn try_with_ipc_buffer_mut(f: impl FnOnce(&mut IpcBuffer)) {
    if !STATE.buffer.get().is_null() && !STATE.borrowed.get() {
        with_ipc_buffer_mut(f);
    }
}

#[cold]
#[inline(never)]
fn unusable() -> ! {
    panic!("the implicit IPC buffer is not set or in use")
}
