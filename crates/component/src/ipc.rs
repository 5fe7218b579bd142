// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls to other parts.

use protocol::message::{CallError, Request, decode_outcome, encode};
use protocol::supervisor::{ExitKind, Exited, Ready, Reason, Refused};
use sel4::{MessageInfo, cap};

/// Calls `endpoint` and waits for the reply.
pub fn call<R: Request>(endpoint: cap::Endpoint, request: &R) -> Result<R::Reply, CallError<R::Error>> {
    let length = sel4::with_ipc_buffer_mut(|buffer| encode(request, buffer.msg_regs_mut()));
    let info = MessageInfo::new(R::LABEL, 0, 0, length.ok_or(CallError::TooLong)?);
    let info = endpoint.call(info);
    sel4::with_ipc_buffer(|buffer| decode_outcome::<R>(info.label(), &buffer.msg_regs()[..info.length()]))
}

/// Tells the root task that the part has started. Without an answer that says so, it ends.
pub fn ready() {
    if call(crate::slot::SUPERVISOR, &Ready).is_err() {
        crate::entry::fault();
    }
}

/// Tells the root task that VM `vm` can't be run.
pub fn refuse(vm: u16, reason: Reason) {
    if call(crate::slot::SUPERVISOR, &Refused { vm, reason }).is_err() {
        crate::log!("the root task did not take the refusal of VM {}", vm);
    }
}

/// Ends the part.
pub fn exit(kind: ExitKind, code: u32, reason: Reason) -> ! {
    let _ = call(crate::slot::SUPERVISOR, &Exited { kind, code, reason });
    // The root task answers nothing; if it did, this ends the part as well.
    crate::entry::fault()
}
