// SPDX-License-Identifier: MIT OR Apache-2.0
//! Invocation labels: the label field of the message that invokes a capability.
//! seL4 16.0.0, x86_64, MCS + IOMMU + VT-x with 64-bit guests.

/// `InvalidInvocation`.
pub const INVALID_INVOCATION: u64 = 0;
/// `UntypedRetype`.
pub const UNTYPED_RETYPE: u64 = 1;
/// `TCBReadRegisters`.
pub const TCB_READ_REGISTERS: u64 = 2;
/// `TCBWriteRegisters`.
pub const TCB_WRITE_REGISTERS: u64 = 3;
/// `TCBCopyRegisters`.
pub const TCB_COPY_REGISTERS: u64 = 4;
/// `TCBConfigure`.
pub const TCB_CONFIGURE: u64 = 5;
/// `TCBSetPriority`.
pub const TCB_SET_PRIORITY: u64 = 6;
/// `TCBSetMCPriority`.
pub const TCB_SET_MC_PRIORITY: u64 = 7;
/// `TCBSetSchedParams`.
pub const TCB_SET_SCHED_PARAMS: u64 = 8;
/// `TCBSetTimeoutEndpoint`.
pub const TCB_SET_TIMEOUT_ENDPOINT: u64 = 9;
/// `TCBSetIPCBuffer`.
pub const TCB_SET_IPC_BUFFER: u64 = 10;
/// `TCBSetSpace`.
pub const TCB_SET_SPACE: u64 = 11;
/// `TCBSuspend`.
pub const TCB_SUSPEND: u64 = 12;
/// `TCBResume`.
pub const TCB_RESUME: u64 = 13;
/// `TCBBindNotification`.
pub const TCB_BIND_NOTIFICATION: u64 = 14;
/// `TCBUnbindNotification`.
pub const TCB_UNBIND_NOTIFICATION: u64 = 15;
/// `TCBSetTLSBase`.
pub const TCB_SET_TLS_BASE: u64 = 16;
/// `TCBSetFlags`.
pub const TCB_SET_FLAGS: u64 = 17;
/// `CNodeRevoke`.
pub const CNODE_REVOKE: u64 = 18;
/// `CNodeDelete`.
pub const CNODE_DELETE: u64 = 19;
/// `CNodeCancelBadgedSends`.
pub const CNODE_CANCEL_BADGED_SENDS: u64 = 20;
/// `CNodeCopy`.
pub const CNODE_COPY: u64 = 21;
/// `CNodeMint`.
pub const CNODE_MINT: u64 = 22;
/// `CNodeMove`.
pub const CNODE_MOVE: u64 = 23;
/// `CNodeMutate`.
pub const CNODE_MUTATE: u64 = 24;
/// `CNodeRotate`.
pub const CNODE_ROTATE: u64 = 25;
/// `IRQIssueIRQHandler`.
pub const IRQ_ISSUE_IRQ_HANDLER: u64 = 26;
/// `IRQAckIRQ`.
pub const IRQ_ACK_IRQ: u64 = 27;
/// `IRQSetIRQHandler`.
pub const IRQ_SET_IRQ_HANDLER: u64 = 28;
/// `IRQClearIRQHandler`.
pub const IRQ_CLEAR_IRQ_HANDLER: u64 = 29;
/// `DomainSetSet`.
pub const DOMAIN_SET_SET: u64 = 30;
/// `DomainScheduleConfigure`.
pub const DOMAIN_SCHEDULE_CONFIGURE: u64 = 31;
/// `DomainScheduleSetStart`.
pub const DOMAIN_SCHEDULE_SET_START: u64 = 32;
/// `SchedControlConfigureFlags`.
pub const SCHED_CONTROL_CONFIGURE_FLAGS: u64 = 33;
/// `SchedContextBind`.
pub const SCHED_CONTEXT_BIND: u64 = 34;
/// `SchedContextUnbind`.
pub const SCHED_CONTEXT_UNBIND: u64 = 35;
/// `SchedContextUnbindObject`.
pub const SCHED_CONTEXT_UNBIND_OBJECT: u64 = 36;
/// `SchedContextConsumed`.
pub const SCHED_CONTEXT_CONSUMED: u64 = 37;
/// `SchedContextYieldTo`.
pub const SCHED_CONTEXT_YIELD_TO: u64 = 38;
/// `X86PDPTMap`.
pub const X86_PDPT_MAP: u64 = 39;
/// `X86PDPTUnmap`.
pub const X86_PDPT_UNMAP: u64 = 40;
/// `X86VCPUReadMSR`.
pub const X86_VCPU_READ_MSR: u64 = 41;
/// `X86VCPUWriteMSR`.
pub const X86_VCPU_WRITE_MSR: u64 = 42;
/// `X86PageDirectoryMap`.
pub const X86_PAGE_DIRECTORY_MAP: u64 = 43;
/// `X86PageDirectoryUnmap`.
pub const X86_PAGE_DIRECTORY_UNMAP: u64 = 44;
/// `X86PageTableMap`.
pub const X86_PAGE_TABLE_MAP: u64 = 45;
/// `X86PageTableUnmap`.
pub const X86_PAGE_TABLE_UNMAP: u64 = 46;
/// `X86IOPageTableMap`.
pub const X86_IO_PAGE_TABLE_MAP: u64 = 47;
/// `X86IOPageTableUnmap`.
pub const X86_IO_PAGE_TABLE_UNMAP: u64 = 48;
/// `X86PageMap`.
pub const X86_PAGE_MAP: u64 = 49;
/// `X86PageUnmap`.
pub const X86_PAGE_UNMAP: u64 = 50;
/// `X86PageMapIO`.
pub const X86_PAGE_MAP_IO: u64 = 51;
/// `X86PageGetAddress`.
pub const X86_PAGE_GET_ADDRESS: u64 = 52;
/// `X86PageMapEPT`.
pub const X86_PAGE_MAP_EPT: u64 = 53;
/// `X86ASIDControlMakePool`.
pub const X86_ASID_CONTROL_MAKE_POOL: u64 = 54;
/// `X86ASIDPoolAssign`.
pub const X86_ASID_POOL_ASSIGN: u64 = 55;
/// `X86IOPortControlIssue`.
pub const X86_IO_PORT_CONTROL_ISSUE: u64 = 56;
/// `X86IOPortIn8`.
pub const X86_IO_PORT_IN8: u64 = 57;
/// `X86IOPortIn16`.
pub const X86_IO_PORT_IN16: u64 = 58;
/// `X86IOPortIn32`.
pub const X86_IO_PORT_IN32: u64 = 59;
/// `X86IOPortOut8`.
pub const X86_IO_PORT_OUT8: u64 = 60;
/// `X86IOPortOut16`.
pub const X86_IO_PORT_OUT16: u64 = 61;
/// `X86IOPortOut32`.
pub const X86_IO_PORT_OUT32: u64 = 62;
/// `X86IRQIssueIRQHandlerIOAPIC`.
pub const IRQ_CONTROL_GET_IOAPIC: u64 = 63;
/// `X86IRQIssueIRQHandlerMSI`.
pub const IRQ_CONTROL_GET_MSI: u64 = 64;
/// `TCBSetEPTRoot`.
pub const TCB_SET_EPT_ROOT: u64 = 65;
/// `X86VCPUSetTCB`.
pub const X86_VCPU_SET_TCB: u64 = 66;
/// `X86VCPUReadVMCS`.
pub const X86_VCPU_READ_VMCS: u64 = 67;
/// `X86VCPUWriteVMCS`.
pub const X86_VCPU_WRITE_VMCS: u64 = 68;
/// `X86VCPUEnableIOPort`.
pub const X86_VCPU_ENABLE_IO_PORT: u64 = 69;
/// `X86VCPUDisableIOPort`.
pub const X86_VCPU_DISABLE_IO_PORT: u64 = 70;
/// `X86VCPUWriteRegisters`.
pub const X86_VCPU_WRITE_REGISTERS: u64 = 71;
/// `X86EPTPDPTMap`.
pub const X86_EPT_PDPT_MAP: u64 = 72;
/// `X86EPTPDPTUnmap`.
pub const X86_EPT_PDPT_UNMAP: u64 = 73;
/// `X86EPTPDMap`.
pub const X86_EPT_PD_MAP: u64 = 74;
/// `X86EPTPDUnmap`.
pub const X86_EPT_PD_UNMAP: u64 = 75;
/// `X86EPTPTMap`.
pub const X86_EPT_PT_MAP: u64 = 76;
/// `X86EPTPTUnmap`.
pub const X86_EPT_PT_UNMAP: u64 = 77;

/// First label of the extensions (`docs/abi.md`).
pub const FIRST_EXTENSION: u64 = 1024;
/// X2 `IOSpace_MapFrame`.
pub const IO_SPACE_MAP_FRAME: u64 = 1024;
/// X2 `IOSpace_Clear`.
pub const IO_SPACE_CLEAR: u64 = 1025;
/// X1 `VCPU_ReadVMCB`.
pub const VCPU_READ_VMCB: u64 = 1026;
/// X1 `VCPU_WriteVMCB`.
pub const VCPU_WRITE_VMCB: u64 = 1027;
/// X1 `VCPU_SetIOPermissionMap`.
pub const VCPU_SET_IO_PERMISSION_MAP: u64 = 1028;
/// X3 `IRQHandler_Block`.
pub const IRQ_HANDLER_BLOCK: u64 = 1029;
/// X3 `IRQHandler_Unblock`.
pub const IRQ_HANDLER_UNBLOCK: u64 = 1030;
/// X4 `DMAFault_SetNotification`.
pub const DMA_FAULT_SET_NOTIFICATION: u64 = 1031;
/// X4 `DMAFault_Read`.
pub const DMA_FAULT_READ: u64 = 1032;
/// X1 `VCPU_ReadRegisters`.
pub const VCPU_READ_REGISTERS: u64 = 1033;
/// X5 `CNode_Describe`.
pub const CNODE_DESCRIBE: u64 = 1040;
