// SPDX-License-Identifier: MIT OR Apache-2.0
//! Invocations: the message of a thread to a kernel object.

mod asids;
mod cnode;
mod control;
mod memory;
mod sched;
mod tcb;

use sel4_abi::MessageInfo;

use crate::cap::Cap;
use crate::cdt::SlotRef;
use crate::error::{SysError, SysResult};
use crate::kernel::Kernel;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::transfer::{Buffer, ExtraCaps, MessageReader, MessageWriter};

/// An invocation: who, on what, with which message.
pub struct Invocation {
    /// The invoking thread.
    pub tcb: Ptr<Tcb>,
    /// The slot of the invoked capability.
    pub slot: SlotRef,
    /// The message's label: the method.
    pub label: u64,
    /// Words of the message.
    pub length: usize,
    caps: ExtraCaps,
}

impl Invocation {
    /// Checks that the message has at least `words` words and `caps` capabilities.
    ///
    /// # Errors
    /// TruncatedMessage.
    pub fn need(&self, words: usize, caps: usize) -> SysResult {
        if self.length < words || self.caps[..caps].iter().any(Option::is_none) {
            return Err(SysError::Truncated);
        }
        Ok(())
    }
    /// Message word `i`; after [`Invocation::need`].
    pub fn arg(&self, i: usize) -> u64 {
        MessageReader::new(&self.tcb).get(i)
    }
    /// Slot of extra capability `i`.
    ///
    /// # Errors
    /// TruncatedMessage when there is none.
    pub fn cap_slot(&self, i: usize) -> SysResult<SlotRef> {
        self.caps[i].ok_or(SysError::Truncated)
    }
    /// Extra capability `i`.
    ///
    /// # Errors
    /// As [`Invocation::cap_slot`].
    pub fn cap(&self, i: usize) -> SysResult<Cap> {
        Ok(self.cap_slot(i)?.cap())
    }
    /// Puts `words` into the reply; gives their number, for the result.
    pub fn reply(&self, words: &[u64]) -> usize {
        let mut out = MessageWriter::new(&self.tcb);
        for (i, w) in words.iter().enumerate() {
            out.put(i, *w);
        }
        out.limit(words.len())
    }
}

/// Performs the invocation that `tcb` asks for on the capability in `slot`. Gives the number of reply words.
///
/// # Errors
/// Those of the method.
pub fn invoke(k: &mut Kernel, tcb: Ptr<Tcb>, slot: SlotRef, caps: ExtraCaps) -> SysResult<usize> {
    let info = MessageInfo(tcb.context.rsi.get());
    let mut length = info.length();
    if length > 4 && Buffer::to_read(&tcb).is_none() {
        length = 4;
    }
    let i = Invocation { tcb, slot, label: info.label(), length, caps };
    match slot.cap() {
        Cap::Untyped(u) => memory::untyped(k, &i, u),
        Cap::Frame(f) => memory::frame(k, &i, f),
        Cap::Table(t) => memory::table(k, &i, t, false),
        Cap::EptTable(t) => memory::table(k, &i, t, true),
        Cap::CNode(_) => cnode::cnode(k, &i),
        Cap::Thread(t) => tcb::tcb(k, &i, t),
        Cap::SchedContext { object, .. } => sched::context(k, &i, object),
        Cap::SchedControl { core } => sched::control(k, &i, core as u8),
        Cap::AsidControl => asids::control(k, &i),
        Cap::AsidPool { paddr, index } => asids::pool(k, &i, paddr, index),
        Cap::IrqControl => control::irq_control(k, &i),
        Cap::IrqHandler(irq) => control::irq_handler(k, &i, irq),
        Cap::IoPortControl => control::port_control(k, &i),
        Cap::IoPort { first, last, .. } => control::port(&i, first, last),
        Cap::Domain => sched::domain(k, &i),
        #[cfg(target_os = "none")]
        Cap::IoSpace { rid, domain } => crate::object::iospace::invoke_space(k, &i, rid, domain),
        #[cfg(target_os = "none")]
        Cap::IoPageTable(t) => crate::object::iospace::invoke_table(k, &i, t),
        #[cfg(target_os = "none")]
        Cap::DmaFault => crate::object::iospace::invoke_fault(k, &i),
        #[cfg(target_os = "none")]
        Cap::Vcpu(paddr) => crate::object::vcpu::invoke(k, &i, paddr),
        // Objects that have no method.
        Cap::Pml4(_) | Cap::EptPml4(_) | Cap::IoPermissionMap(_) => Err(SysError::IllegalOperation),
        _ => Err(SysError::InvalidCapability(0)),
    }
}
