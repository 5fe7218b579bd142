// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every invocation by name, with its label and the least message that it takes.

use crate::label;

/// An invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Name, as the table of the interface has it: the kind of capability and what is asked of it.
    pub name: &'static str,
    /// Label of the message; `None` for what only other configurations of seL4 have.
    pub label: Option<u64>,
    /// Words that the message needs.
    pub words: usize,
    /// Extra capabilities that it needs.
    pub caps: usize,
}

const fn method(name: &'static str, label: u64, words: usize, caps: usize) -> Method {
    Method { name, label: Some(label), words, caps }
}

/// Of a kernel without MCS, of one with the hardware debug interface, or of both.
const fn elsewhere(name: &'static str) -> Method {
    Method { name, label: None, words: 0, caps: 0 }
}

/// All of seL4's. `TCB_WriteRegisters` takes as many words more as it says.
pub const METHODS: &[Method] = &[
    method("Untyped_Retype", label::UNTYPED_RETYPE, 6, 1),
    method("TCB_ReadRegisters", label::TCB_READ_REGISTERS, 2, 0),
    method("TCB_WriteRegisters", label::TCB_WRITE_REGISTERS, 2, 0),
    method("TCB_CopyRegisters", label::TCB_COPY_REGISTERS, 1, 1),
    elsewhere("TCB_Configure"),
    method("TCB_Configure", label::TCB_CONFIGURE, 3, 3),
    method("TCB_SetPriority", label::TCB_SET_PRIORITY, 1, 1),
    method("TCB_SetMCPriority", label::TCB_SET_MC_PRIORITY, 1, 1),
    elsewhere("TCB_SetSchedParams"),
    method("TCB_SetSchedParams", label::TCB_SET_SCHED_PARAMS, 2, 3),
    method("TCB_SetTimeoutEndpoint", label::TCB_SET_TIMEOUT_ENDPOINT, 0, 1),
    method("TCB_SetIPCBuffer", label::TCB_SET_IPC_BUFFER, 1, 1),
    elsewhere("TCB_SetSpace"),
    method("TCB_SetSpace", label::TCB_SET_SPACE, 2, 3),
    method("TCB_Suspend", label::TCB_SUSPEND, 0, 0),
    method("TCB_Resume", label::TCB_RESUME, 0, 0),
    method("TCB_BindNotification", label::TCB_BIND_NOTIFICATION, 0, 1),
    method("TCB_UnbindNotification", label::TCB_UNBIND_NOTIFICATION, 0, 0),
    elsewhere("TCB_SetAffinity"),
    elsewhere("TCB_SetBreakpoint"),
    elsewhere("TCB_GetBreakpoint"),
    elsewhere("TCB_UnsetBreakpoint"),
    elsewhere("TCB_ConfigureSingleStepping"),
    method("TCB_SetTLSBase", label::TCB_SET_TLS_BASE, 1, 0),
    method("TCB_SetFlags", label::TCB_SET_FLAGS, 2, 0),
    method("CNode_Revoke", label::CNODE_REVOKE, 2, 0),
    method("CNode_Delete", label::CNODE_DELETE, 2, 0),
    method("CNode_CancelBadgedSends", label::CNODE_CANCEL_BADGED_SENDS, 2, 0),
    method("CNode_Copy", label::CNODE_COPY, 5, 1),
    method("CNode_Mint", label::CNODE_MINT, 6, 1),
    method("CNode_Move", label::CNODE_MOVE, 4, 1),
    method("CNode_Mutate", label::CNODE_MUTATE, 5, 1),
    method("CNode_Rotate", label::CNODE_ROTATE, 8, 2),
    elsewhere("CNode_SaveCaller"),
    method("IRQControl_Get", label::IRQ_ISSUE_IRQ_HANDLER, 3, 1),
    method("IRQHandler_Ack", label::IRQ_ACK_IRQ, 0, 0),
    method("IRQHandler_SetNotification", label::IRQ_SET_IRQ_HANDLER, 0, 1),
    method("IRQHandler_Clear", label::IRQ_CLEAR_IRQ_HANDLER, 0, 0),
    method("DomainSet_Set", label::DOMAIN_SET_SET, 1, 1),
    method("DomainSet_ScheduleConfigure", label::DOMAIN_SCHEDULE_CONFIGURE, 3, 0),
    method("DomainSet_ScheduleSetStart", label::DOMAIN_SCHEDULE_SET_START, 1, 0),
    method("SchedControl_ConfigureFlags", label::SCHED_CONTROL_CONFIGURE_FLAGS, 5, 1),
    method("SchedContext_Bind", label::SCHED_CONTEXT_BIND, 0, 1),
    method("SchedContext_Unbind", label::SCHED_CONTEXT_UNBIND, 0, 0),
    method("SchedContext_UnbindObject", label::SCHED_CONTEXT_UNBIND_OBJECT, 0, 1),
    method("SchedContext_Consumed", label::SCHED_CONTEXT_CONSUMED, 0, 0),
    method("SchedContext_YieldTo", label::SCHED_CONTEXT_YIELD_TO, 0, 0),
    method("PDPT_Map", label::X86_PDPT_MAP, 2, 1),
    method("PDPT_Unmap", label::X86_PDPT_UNMAP, 0, 0),
    method("VCPU_ReadMSR", label::X86_VCPU_READ_MSR, 1, 0),
    method("VCPU_WriteMSR", label::X86_VCPU_WRITE_MSR, 2, 0),
    method("PageDirectory_Map", label::X86_PAGE_DIRECTORY_MAP, 2, 1),
    method("PageDirectory_Unmap", label::X86_PAGE_DIRECTORY_UNMAP, 0, 0),
    method("PageTable_Map", label::X86_PAGE_TABLE_MAP, 2, 1),
    method("PageTable_Unmap", label::X86_PAGE_TABLE_UNMAP, 0, 0),
    method("IOPageTable_Map", label::X86_IO_PAGE_TABLE_MAP, 1, 1),
    method("IOPageTable_Unmap", label::X86_IO_PAGE_TABLE_UNMAP, 0, 0),
    method("Page_Map", label::X86_PAGE_MAP, 3, 1),
    method("Page_Unmap", label::X86_PAGE_UNMAP, 0, 0),
    method("Page_MapIO", label::X86_PAGE_MAP_IO, 2, 1),
    method("Page_GetAddress", label::X86_PAGE_GET_ADDRESS, 0, 0),
    method("Page_MapEPT", label::X86_PAGE_MAP_EPT, 3, 1),
    method("ASIDControl_MakePool", label::X86_ASID_CONTROL_MAKE_POOL, 2, 2),
    method("ASIDPool_Assign", label::X86_ASID_POOL_ASSIGN, 0, 1),
    method("IOPortControl_Issue", label::X86_IO_PORT_CONTROL_ISSUE, 4, 1),
    method("IOPort_In8", label::X86_IO_PORT_IN8, 1, 0),
    method("IOPort_In16", label::X86_IO_PORT_IN16, 1, 0),
    method("IOPort_In32", label::X86_IO_PORT_IN32, 1, 0),
    method("IOPort_Out8", label::X86_IO_PORT_OUT8, 2, 0),
    method("IOPort_Out16", label::X86_IO_PORT_OUT16, 2, 0),
    method("IOPort_Out32", label::X86_IO_PORT_OUT32, 2, 0),
    method("IRQControl_GetIOAPIC", label::IRQ_CONTROL_GET_IOAPIC, 7, 1),
    method("IRQControl_GetMSI", label::IRQ_CONTROL_GET_MSI, 7, 1),
    method("TCB_SetEPTRoot", label::TCB_SET_EPT_ROOT, 0, 1),
    method("VCPU_SetTCB", label::X86_VCPU_SET_TCB, 0, 1),
    method("VCPU_ReadVMCS", label::X86_VCPU_READ_VMCS, 1, 0),
    method("VCPU_WriteVMCS", label::X86_VCPU_WRITE_VMCS, 2, 0),
    method("VCPU_EnableIOPort", label::X86_VCPU_ENABLE_IO_PORT, 2, 1),
    method("VCPU_DisableIOPort", label::X86_VCPU_DISABLE_IO_PORT, 2, 0),
    method("VCPU_WriteRegisters", label::X86_VCPU_WRITE_REGISTERS, 15, 0),
    method("EPTPDPT_Map", label::X86_EPT_PDPT_MAP, 2, 1),
    method("EPTPDPT_Unmap", label::X86_EPT_PDPT_UNMAP, 0, 0),
    method("EPTPD_Map", label::X86_EPT_PD_MAP, 2, 1),
    method("EPTPD_Unmap", label::X86_EPT_PD_UNMAP, 0, 0),
    method("EPTPT_Map", label::X86_EPT_PT_MAP, 2, 1),
    method("EPTPT_Unmap", label::X86_EPT_PT_UNMAP, 0, 0),
];

/// The extensions' (`docs/abi.md`).
pub const EXTENSIONS: &[Method] = &[
    method("IOSpace_MapFrame", label::IO_SPACE_MAP_FRAME, 2, 1),
    method("IOSpace_Clear", label::IO_SPACE_CLEAR, 0, 0),
    method("VCPU_ReadVMCB", label::VCPU_READ_VMCB, 1, 0),
    method("VCPU_WriteVMCB", label::VCPU_WRITE_VMCB, 2, 0),
    method("VCPU_SetIOPermissionMap", label::VCPU_SET_IO_PERMISSION_MAP, 0, 1),
    method("IRQHandler_Block", label::IRQ_HANDLER_BLOCK, 0, 0),
    method("IRQHandler_Unblock", label::IRQ_HANDLER_UNBLOCK, 0, 0),
    method("DMAFault_SetNotification", label::DMA_FAULT_SET_NOTIFICATION, 0, 1),
    method("DMAFault_Read", label::DMA_FAULT_READ, 0, 0),
    method("VCPU_ReadRegisters", label::VCPU_READ_REGISTERS, 0, 0),
    method("CNode_Describe", label::CNODE_DESCRIBE, 2, 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(methods: &[Method]) -> impl Iterator<Item = u64> {
        methods.iter().filter_map(|method| method.label)
    }

    #[test]
    fn labels_of_sel4_are_1_to_77_in_order() {
        assert_eq!(METHODS.len(), 86);
        assert!(labels(METHODS).eq(1..=label::X86_EPT_PT_UNMAP));
    }

    #[test]
    fn labels_of_extensions_differ() {
        let mut before = label::FIRST_EXTENSION - 1;
        for label in labels(EXTENSIONS) {
            assert!(label > before);
            before = label;
        }
        assert_eq!(before, label::CNODE_DESCRIBE);
    }
}
