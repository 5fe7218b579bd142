// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which IPC buffer an invocation uses.

use core::cell::RefCell;

use crate::{IpcBuffer, state};

/// Gives an invocation its IPC buffer. Only asked when the message doesn't fit into registers.
pub trait InvocationContext {
    /// Runs `f` on the buffer.
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T;

    /// Runs `f` on the buffer if there is one that can be used.
    fn try_with_context(&mut self, f: impl FnOnce(&mut IpcBuffer)) {
        self.with_context(f);
    }
}

/// The implicit buffer, see [`crate::set_ipc_buffer`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoExplicitInvocationContext;

impl InvocationContext for NoExplicitInvocationContext {
    #[inline(always)]
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        state::with_ipc_buffer_mut(f)
    }

    fn try_with_context(&mut self, f: impl FnOnce(&mut IpcBuffer)) {
        state::try_with_ipc_buffer_mut(f);
    }
}

impl InvocationContext for &mut IpcBuffer {
    #[inline(always)]
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        f(self)
    }
}

impl<U: InvocationContext> InvocationContext for &RefCell<U> {
    fn with_context<T>(&mut self, f: impl FnOnce(&mut IpcBuffer) -> T) -> T {
        self.borrow_mut().with_context(f)
    }
}
