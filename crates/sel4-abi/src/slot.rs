// SPDX-License-Identifier: MIT OR Apache-2.0
//! Slots of the initial thread's CNode.
#![allow(missing_docs)]
pub const NULL: u64 = 0;
pub const INIT_TCB: u64 = 1;
pub const INIT_CNODE: u64 = 2;
pub const INIT_VSPACE: u64 = 3;
pub const IRQ_CONTROL: u64 = 4;
pub const ASID_CONTROL: u64 = 5;
pub const INIT_ASID_POOL: u64 = 6;
pub const IO_PORT_CONTROL: u64 = 7;
pub const IO_SPACE: u64 = 8;
pub const BOOT_INFO_FRAME: u64 = 9;
pub const INIT_IPC_BUFFER: u64 = 10;
pub const DOMAIN: u64 = 11;
pub const SMMU_SID_CONTROL: u64 = 12;
pub const SMMU_CB_CONTROL: u64 = 13;
pub const INIT_SC: u64 = 14;
pub const SMC: u64 = 15;
/// First slot whose use the boot information tells.
pub const FIRST_DYNAMIC: u64 = 16;
