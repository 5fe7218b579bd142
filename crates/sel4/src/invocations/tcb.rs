// SPDX-License-Identifier: MIT OR Apache-2.0
//! Thread control blocks.

use sel4_abi::label;

use crate::{
    CNodeCapData, CPtr, Cap, CapTypeForFrameObject, InvocationContext, Result, UserContext, Word, cap,
    cap_type,
};

/// Flags of `tcb_copy_registers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyRegisters {
    /// Suspend the source.
    pub suspend_source: bool,
    /// Resume the target.
    pub resume_target: bool,
    /// Copy instruction pointer, stack pointer and flags.
    pub transfer_frame: bool,
    /// Copy the other registers.
    pub transfer_integer: bool,
}

impl<C: InvocationContext> Cap<cap_type::Tcb, C> {
    /// All registers of the thread; with `suspend`, it is suspended first.
    pub fn tcb_read_all_registers(self, suspend: bool) -> Result<UserContext> {
        let count = UserContext::WORDS as Word;
        self.invoke_for_words(label::TCB_READ_REGISTERS, [suspend.into(), count]).map(UserContext::from_words)
    }

    /// Writes the first `count` registers; with `resume`, the thread is resumed afterwards.
    pub fn tcb_write_registers(self, resume: bool, count: usize, regs: &UserContext) -> Result<()> {
        let mut words = [0; 2 + UserContext::WORDS];
        words[0] = resume.into();
        words[1] = count as Word;
        words[2..].copy_from_slice(&regs.to_words());
        self.invoke(label::TCB_WRITE_REGISTERS, words, []).map(drop)
    }

    /// Writes all registers; with `resume`, the thread is resumed afterwards.
    pub fn tcb_write_all_registers(self, resume: bool, regs: &UserContext) -> Result<()> {
        self.tcb_write_registers(resume, UserContext::WORDS, regs)
    }

    /// Copies registers of `source`.
    pub fn tcb_copy_registers(self, source: cap::Tcb, what: CopyRegisters) -> Result<()> {
        let flags = Word::from(what.suspend_source)
            | Word::from(what.resume_target) << 1
            | Word::from(what.transfer_frame) << 2
            | Word::from(what.transfer_integer) << 3;
        self.invoke(label::TCB_COPY_REGISTERS, [flags], [source.bits()]).map(drop)
    }

    /// Sets CSpace root, address space and IPC buffer.
    pub fn tcb_configure<T: CapTypeForFrameObject>(
        self,
        cspace_root: cap::CNode,
        cspace_root_data: CNodeCapData,
        vspace_root: cap::VSpace,
        ipc_buffer: usize,
        ipc_buffer_frame: Cap<T>,
    ) -> Result<()> {
        self.invoke(
            label::TCB_CONFIGURE,
            [cspace_root_data.into_word(), 0, ipc_buffer as Word],
            [cspace_root.bits(), vspace_root.bits(), ipc_buffer_frame.bits()],
        )
        .map(drop)
    }

    /// Sets the priority, at most the maximum controlled priority of `authority`.
    pub fn tcb_set_priority(self, authority: cap::Tcb, priority: Word) -> Result<()> {
        self.invoke(label::TCB_SET_PRIORITY, [priority], [authority.bits()]).map(drop)
    }

    /// Sets the maximum controlled priority, at most that of `authority`.
    pub fn tcb_set_mc_priority(self, authority: cap::Tcb, mcp: Word) -> Result<()> {
        self.invoke(label::TCB_SET_MC_PRIORITY, [mcp], [authority.bits()]).map(drop)
    }

    /// Sets priorities, scheduling context and fault endpoint, the last two at an address in the caller's CSpace
    /// (0: none).
    pub fn tcb_set_sched_params(
        self,
        authority: cap::Tcb,
        mcp: Word,
        priority: Word,
        sched_context: cap::SchedContext,
        fault_ep: cap::Endpoint,
    ) -> Result<()> {
        self.invoke(
            label::TCB_SET_SCHED_PARAMS,
            [mcp, priority],
            [authority.bits(), sched_context.bits(), fault_ep.bits()],
        )
        .map(drop)
    }

    /// Sets the endpoint for timeout faults.
    pub fn tcb_set_timeout_endpoint(self, endpoint: cap::Endpoint) -> Result<()> {
        self.invoke(label::TCB_SET_TIMEOUT_ENDPOINT, [], [endpoint.bits()]).map(drop)
    }

    /// Sets the IPC buffer: address in the thread's address space, and the frame.
    pub fn tcb_set_ipc_buffer<T: CapTypeForFrameObject>(self, address: usize, frame: Cap<T>) -> Result<()> {
        self.invoke(label::TCB_SET_IPC_BUFFER, [address as Word], [frame.bits()]).map(drop)
    }

    /// Sets fault endpoint (at an address in the caller's CSpace, 0: none), CSpace root and address space.
    pub fn tcb_set_space(
        self,
        fault_ep: CPtr,
        cspace_root: cap::CNode,
        cspace_root_data: CNodeCapData,
        vspace_root: cap::VSpace,
    ) -> Result<()> {
        self.invoke(
            label::TCB_SET_SPACE,
            [cspace_root_data.into_word(), 0],
            [fault_ep.bits(), cspace_root.bits(), vspace_root.bits()],
        )
        .map(drop)
    }

    /// Suspends the thread.
    pub fn tcb_suspend(self) -> Result<()> {
        self.invoke(label::TCB_SUSPEND, [], []).map(drop)
    }

    /// Resumes the thread.
    pub fn tcb_resume(self) -> Result<()> {
        self.invoke(label::TCB_RESUME, [], []).map(drop)
    }

    /// Binds a notification: it arrives whenever the thread receives.
    pub fn tcb_bind_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::TCB_BIND_NOTIFICATION, [], [notification.bits()]).map(drop)
    }

    /// Unbinds the notification.
    pub fn tcb_unbind_notification(self) -> Result<()> {
        self.invoke(label::TCB_UNBIND_NOTIFICATION, [], []).map(drop)
    }

    /// Sets the FS base.
    pub fn tcb_set_tls_base(self, base: usize) -> Result<()> {
        self.invoke(label::TCB_SET_TLS_BASE, [base as Word], []).map(drop)
    }

    /// Clears and sets flags (`abi::TCB_FLAG_*`), and returns what they are then.
    pub fn tcb_set_flags(self, clear: Word, set: Word) -> Result<Word> {
        self.invoke(label::TCB_SET_FLAGS, [clear, set], []).map(|reply| reply[0])
    }

    /// Sets the nested address space of the thread's virtual CPU.
    pub fn tcb_set_ept_root(self, root: cap::EptPml4) -> Result<()> {
        self.invoke(label::TCB_SET_EPT_ROOT, [], [root.bits()]).map(drop)
    }
}
