// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual CPUs.

use sel4_abi::label;

use crate::{Cap, InvocationContext, Result, VCpuContext, Word, cap, cap_type};

impl<C: InvocationContext> Cap<cap_type::VCpu, C> {
    /// Binds it to a thread, which then can enter it.
    pub fn vcpu_set_tcb(self, tcb: cap::Tcb) -> Result<()> {
        self.invoke(label::X86_VCPU_SET_TCB, [], [tcb.bits()]).map(drop)
    }

    /// Reads a field of the VMCS (VT-x only).
    pub fn vcpu_read_vmcs(self, field: Word) -> Result<Word> {
        self.invoke(label::X86_VCPU_READ_VMCS, [field], []).map(|reply| reply[0])
    }

    /// Writes a field of the VMCS (VT-x only), and returns what was stored.
    pub fn vcpu_write_vmcs(self, field: Word, value: Word) -> Result<Word> {
        self.invoke(label::X86_VCPU_WRITE_VMCS, [field, value], []).map(|reply| reply[0])
    }

    /// Reads a field of the control block, `abi::vmcb` (extension X1, SVM only).
    #[inline(always)]
    pub fn vcpu_read_vmcb(self, field: Word) -> Result<Word> {
        self.invoke(label::VCPU_READ_VMCB, [field], []).map(|reply| reply[0])
    }

    /// Writes a field of the control block, `abi::vmcb` (extension X1, SVM only), and returns what was stored.
    #[inline(always)]
    pub fn vcpu_write_vmcb(self, field: Word, value: Word) -> Result<Word> {
        self.invoke(label::VCPU_WRITE_VMCB, [field, value], []).map(|reply| reply[0])
    }

    /// Reads a model-specific register of the guest.
    pub fn vcpu_read_msr(self, field: Word) -> Result<Word> {
        self.invoke(label::X86_VCPU_READ_MSR, [field], []).map(|reply| reply[0])
    }

    /// Writes a model-specific register of the guest, and returns what was stored.
    pub fn vcpu_write_msr(self, field: Word, value: Word) -> Result<Word> {
        self.invoke(label::X86_VCPU_WRITE_MSR, [field, value], []).map(|reply| reply[0])
    }

    /// Lets the guest use the ports `low` to `high` of `ports` without an exit. On SVM the virtual CPU needs an I/O
    /// permission map of its own first.
    pub fn vcpu_enable_ioport(self, ports: cap::IOPort, low: Word, high: Word) -> Result<()> {
        self.invoke(label::X86_VCPU_ENABLE_IO_PORT, [low, high], [ports.bits()]).map(drop)
    }

    /// Makes the guest's accesses to the ports `low` to `high` exit again.
    pub fn vcpu_disable_ioport(self, low: Word, high: Word) -> Result<()> {
        self.invoke(label::X86_VCPU_DISABLE_IO_PORT, [low, high], []).map(drop)
    }

    /// Sets the guest's general registers.
    pub fn vcpu_write_registers(self, registers: &VCpuContext) -> Result<()> {
        self.invoke(label::X86_VCPU_WRITE_REGISTERS, registers.to_words(), []).map(drop)
    }

    /// The guest's general registers as they were when it ran last (extension X1).
    pub fn vcpu_read_registers(self) -> Result<VCpuContext> {
        self.invoke_for_words(label::VCPU_READ_REGISTERS, []).map(VCpuContext::from_words)
    }

    /// Gives the virtual CPU an I/O permission map of its own (extension X1).
    pub fn vcpu_set_io_permission_map(self, map: cap::IOPermissionMap) -> Result<()> {
        self.invoke(label::VCPU_SET_IO_PERMISSION_MAP, [], [map.bits()]).map(drop)
    }
}
