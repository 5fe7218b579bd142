// SPDX-License-Identifier: MIT OR Apache-2.0
//! The types of capabilities.

/// A type of capability.
pub trait CapType: Copy + core::fmt::Debug {
    /// Its name.
    const NAME: &'static str;
}

/// A type of capability to a frame.
pub trait CapTypeForFrameObject: CapType {}

/// A type of capability to a frame whose size is known.
pub trait CapTypeForFrameObjectOfFixedSize: CapTypeForFrameObject {
    /// Log2 of the frame's size, bytes.
    const SIZE_BITS: usize;
}

/// A type of capability to an object of a fixed size that `untyped_retype` makes.
pub trait CapTypeForObjectOfFixedSize: CapType {
    /// What makes one.
    const BLUEPRINT: crate::ObjectBlueprint;
}

macro_rules! cap_types {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Markers for [`Cap`](crate::Cap).
        pub mod cap_type {
            #[allow(unused_imports)]
            use super::CapType;
            $(
                $(#[$doc])*
                #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
                pub struct $name;
                impl CapType for $name {
                    const NAME: &'static str = stringify!($name);
                }
            )*
            /// An address space is its top-level table.
            pub type VSpace = Pml4;
            /// The smallest frame.
            pub type Granule = _4k;
        }
        /// [`Cap`](crate::Cap)s of each type.
        pub mod cap {
            use super::cap_type;
            use crate::{Cap, NoExplicitInvocationContext};
            $(
                $(#[$doc])*
                pub type $name<C = NoExplicitInvocationContext> = Cap<cap_type::$name, C>;
            )*
            /// An address space is its top-level table.
            pub type VSpace<C = NoExplicitInvocationContext> = Pml4<C>;
            /// The smallest frame.
            pub type Granule<C = NoExplicitInvocationContext> = _4k<C>;
        }
    };
}

cap_types! {
    /// No capability.
    Null,
    /// A capability of any type.
    Unspecified,
    /// Untyped memory.
    Untyped,
    /// A CNode.
    CNode,
    /// A thread control block.
    Tcb,
    /// An endpoint.
    Endpoint,
    /// A notification.
    Notification,
    /// A reply object.
    Reply,
    /// A scheduling context.
    SchedContext,
    /// The right to configure scheduling contexts for one CPU.
    SchedControl,
    /// The right to set domains.
    DomainSet,
    /// The right to make interrupt handlers.
    IrqControl,
    /// An interrupt.
    IrqHandler,
    /// The right to make ASID pools.
    AsidControl,
    /// A pool of address space identifiers.
    AsidPool,
    /// Top-level page table.
    Pml4,
    /// Page-directory-pointer table.
    Pdpt,
    /// Page directory.
    PageDirectory,
    /// Page table.
    PageTable,
    /// 4 KiB frame.
    _4k,
    /// 2 MiB frame.
    LargePage,
    /// 1 GiB frame.
    HugePage,
    /// A frame of some size.
    UnspecifiedPage,
    /// The right to issue I/O ports.
    IOPortControl,
    /// A range of I/O ports.
    IOPort,
    /// The DMA space of a requester, or the master from which such are minted.
    IOSpace,
    /// I/O page table.
    IOPageTable,
    /// Virtual CPU.
    VCpu,
    /// Nested top-level table.
    EptPml4,
    /// Nested page-directory-pointer table.
    EptPdpt,
    /// Nested page directory.
    EptPageDirectory,
    /// Nested page table.
    EptPageTable,
    /// I/O permission map of a virtual CPU (extension X1).
    IOPermissionMap,
    /// DMA-fault control (extension X4).
    DmaFault,
}

impl CapTypeForFrameObject for cap_type::_4k {}
impl CapTypeForFrameObject for cap_type::LargePage {}
impl CapTypeForFrameObject for cap_type::HugePage {}
impl CapTypeForFrameObject for cap_type::UnspecifiedPage {}

impl CapTypeForFrameObjectOfFixedSize for cap_type::_4k {
    const SIZE_BITS: usize = 12;
}
impl CapTypeForFrameObjectOfFixedSize for cap_type::LargePage {
    const SIZE_BITS: usize = 21;
}
impl CapTypeForFrameObjectOfFixedSize for cap_type::HugePage {
    const SIZE_BITS: usize = 30;
}

macro_rules! fixed_size {
    ($($name:ident => $blueprint:expr),* $(,)?) => {
        $(impl CapTypeForObjectOfFixedSize for cap_type::$name {
            const BLUEPRINT: crate::ObjectBlueprint = $blueprint;
        })*
    };
}

use crate::ObjectBlueprint::{self as B, Arch};
use crate::ObjectBlueprintX86 as X;
fixed_size! {
    Tcb => B::Tcb,
    Endpoint => B::Endpoint,
    Notification => B::Notification,
    Reply => B::Reply,
    Pml4 => Arch(X::Pml4),
    Pdpt => Arch(X::Pdpt),
    PageDirectory => Arch(X::PageDirectory),
    PageTable => Arch(X::PageTable),
    _4k => Arch(X::_4k),
    LargePage => Arch(X::LargePage),
    HugePage => Arch(X::HugePage),
    IOPageTable => Arch(X::IOPageTable),
    VCpu => Arch(X::VCpu),
    EptPml4 => Arch(X::EptPml4),
    EptPdpt => Arch(X::EptPdpt),
    EptPageDirectory => Arch(X::EptPageDirectory),
    EptPageTable => Arch(X::EptPageTable),
    IOPermissionMap => Arch(X::IOPermissionMap),
}
