// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bindings to the kernel: typed capabilities, invocations, IPC, faults, boot information.
//!
//! Names and shapes are those of the rust-sel4 project, so that who knows that one is at home here. Numbers and layouts
//! are those of `sel4-abi`. Addresses and sizes are `usize`, words of messages `u64`.
//!
//! - A [`Cap<T>`] is an address with a type; the kernel checks both at each use. `cap.with(&mut buffer)` names the
//!   IPC buffer, otherwise the implicit one is used ([`set_ipc_buffer`]).
//! - An invocation whose message has at most four words and no capabilities touches registers only.
//! - `unsafe` is in `sys`, `state` and `bootinfo` only.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

mod bootinfo;
mod cap_facts;
mod cap_rights;
mod cap_types;
mod cptr;
pub mod debug;
mod error;
mod fault;
pub mod init_thread;
mod invocation_context;
mod invocations;
mod ipc_buffer;
mod message_info;
mod object;
mod state;
mod sys;
mod syscalls;
mod user_context;
mod vm_attributes;
mod vm_enter;

pub use bootinfo::{
    BootInfo, BootInfoExtra, BootInfoExtraIter, BootInfoPtr, SlotRegion, UntypedDesc, extensions_from_extra,
};
pub use cap_facts::{CapFacts, CapMapping};
pub use cap_rights::{CNodeCapData, CapRights, CapRightsBuilder, IOSpaceCapData};
pub use cap_types::{
    CapType, CapTypeForFrameObject, CapTypeForFrameObjectOfFixedSize, CapTypeForObjectOfFixedSize, cap,
    cap_type,
};
pub use cptr::{AbsoluteCPtr, CPtr, CPtrBits, CPtrWithDepth, Cap, HasCPtrWithDepth, NULL, WORD_SIZE};
pub use debug::{
    benchmark_finalize_log, debug_cap_identify, debug_dump_scheduler, debug_halt, debug_name_thread,
    debug_put_char, debug_snapshot,
};
pub use error::{Error, FailedLookup, Result, lookup_failure};
pub use fault::{CapFault, Fault, TimeoutFault, UnknownSyscall, UserException, VmFault};
pub use invocation_context::{InvocationContext, NoExplicitInvocationContext};
pub use invocations::{CopyRegisters, DmaFaultRecord};
pub use ipc_buffer::IpcBuffer;
pub use message_info::{MessageInfo, MessageInfoBuilder};
pub use object::{ObjectBlueprint, ObjectBlueprintX86};
pub use sel4_abi as abi;
pub use sel4_abi::LookupFailure;
pub use sel4_abi::bootinfo::Extensions;
pub use state::{ipc_buffer_address, set_ipc_buffer, with_ipc_buffer, with_ipc_buffer_mut};
pub use syscalls::{
    CallWithMRs, FastMessage, RecvWithMRs, nb_send_recv_with_mrs, nb_send_wait_with_mrs, set_tls_base, yield_,
};
pub use user_context::{UserContext, VCpuContext};
pub use vm_attributes::{EptVmAttributes, VmAttributes};
pub use vm_enter::{VmEnterResult, vm_enter, vm_enter_with};

/// A machine word.
pub type Word = u64;
/// The badge of an endpoint or notification capability.
pub type Badge = Word;
/// Time in microseconds.
pub type Time = u64;

/// Log2 of the size of the smallest frame, bytes.
pub const GRANULE_BITS: usize = 12;
/// Message words that travel in registers.
pub const NUM_MESSAGE_REGISTERS: usize = sel4_abi::message::REGISTERS;
