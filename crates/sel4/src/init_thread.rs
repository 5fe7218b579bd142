// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initial thread's CSpace.

use core::marker::PhantomData;

use crate::{CPtr, Cap, CapType, cap_type};

/// A slot of the initial thread's CNode, holding a capability of type `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot<T: CapType = cap_type::Unspecified> {
    index: usize,
    phantom: PhantomData<T>,
}

impl<T: CapType> Slot<T> {
    /// The slot with this index.
    pub const fn from_index(index: usize) -> Self {
        Self { index, phantom: PhantomData }
    }
    /// Its index.
    pub const fn index(self) -> usize {
        self.index
    }
    /// Its address.
    pub const fn cptr(self) -> CPtr {
        CPtr::from_bits(self.index as u64)
    }
    /// The capability in it.
    pub const fn cap(self) -> Cap<T> {
        Cap::from_cptr(self.cptr())
    }
    /// The same slot, for a capability of another type.
    pub const fn cast<T1: CapType>(self) -> Slot<T1> {
        Slot::from_index(self.index)
    }
}

/// The slots whose use is fixed.
pub mod slot {
    #![allow(missing_docs)]
    use sel4_abi::slot;

    use super::Slot;
    use crate::cap_type;

    pub const NULL: Slot<cap_type::Null> = Slot::from_index(slot::NULL as usize);
    pub const TCB: Slot<cap_type::Tcb> = Slot::from_index(slot::INIT_TCB as usize);
    pub const CNODE: Slot<cap_type::CNode> = Slot::from_index(slot::INIT_CNODE as usize);
    pub const VSPACE: Slot<cap_type::VSpace> = Slot::from_index(slot::INIT_VSPACE as usize);
    pub const IRQ_CONTROL: Slot<cap_type::IrqControl> = Slot::from_index(slot::IRQ_CONTROL as usize);
    pub const ASID_CONTROL: Slot<cap_type::AsidControl> = Slot::from_index(slot::ASID_CONTROL as usize);
    pub const ASID_POOL: Slot<cap_type::AsidPool> = Slot::from_index(slot::INIT_ASID_POOL as usize);
    pub const IO_PORT_CONTROL: Slot<cap_type::IOPortControl> =
        Slot::from_index(slot::IO_PORT_CONTROL as usize);
    /// The master I/O space; empty without an IOMMU.
    pub const IO_SPACE: Slot<cap_type::IOSpace> = Slot::from_index(slot::IO_SPACE as usize);
    pub const BOOT_INFO_FRAME: Slot<cap_type::Granule> = Slot::from_index(slot::BOOT_INFO_FRAME as usize);
    pub const IPC_BUFFER: Slot<cap_type::Granule> = Slot::from_index(slot::INIT_IPC_BUFFER as usize);
    pub const DOMAIN_SET: Slot<cap_type::DomainSet> = Slot::from_index(slot::DOMAIN as usize);
    pub const SC: Slot<cap_type::SchedContext> = Slot::from_index(slot::INIT_SC as usize);
    /// First slot whose use the boot information tells.
    pub const FIRST_DYNAMIC: usize = slot::FIRST_DYNAMIC as usize;
}
