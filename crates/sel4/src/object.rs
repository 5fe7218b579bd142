// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `untyped_retype` makes.

use sel4_abi::object::ObjectType;

/// A kind of object, with its size where that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectBlueprint {
    /// Untyped memory of 2^`size_bits` bytes.
    Untyped {
        /// Log2 of bytes, 4 to 47.
        size_bits: usize,
    },
    /// An endpoint.
    Endpoint,
    /// A notification.
    Notification,
    /// A CNode of 2^`size_bits` slots.
    CNode {
        /// Log2 of slots, at least 1.
        size_bits: usize,
    },
    /// A thread control block.
    Tcb,
    /// A scheduling context of 2^`size_bits` bytes.
    SchedContext {
        /// Log2 of bytes, at least 7.
        size_bits: usize,
    },
    /// A reply object.
    Reply,
    /// An object of the architecture.
    Arch(ObjectBlueprintX86),
}

/// The objects of x86.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ObjectBlueprintX86 {
    _4k,
    LargePage,
    HugePage,
    PageTable,
    PageDirectory,
    Pdpt,
    Pml4,
    IOPageTable,
    VCpu,
    EptPml4,
    EptPdpt,
    EptPageDirectory,
    EptPageTable,
    IOPermissionMap,
}

impl ObjectBlueprint {
    /// The type's number.
    pub const fn ty(self) -> ObjectType {
        match self {
            Self::Untyped { .. } => ObjectType::Untyped,
            Self::Endpoint => ObjectType::Endpoint,
            Self::Notification => ObjectType::Notification,
            Self::CNode { .. } => ObjectType::CNode,
            Self::Tcb => ObjectType::Tcb,
            Self::SchedContext { .. } => ObjectType::SchedContext,
            Self::Reply => ObjectType::Reply,
            Self::Arch(arch) => arch.ty(),
        }
    }

    /// The size argument of `untyped_retype`, 0 where it is ignored.
    pub const fn api_size_bits(self) -> usize {
        match self {
            Self::Untyped { size_bits } | Self::CNode { size_bits } | Self::SchedContext { size_bits } => {
                size_bits
            }
            _ => 0,
        }
    }

    /// Log2 of the bytes that an object takes, which is its alignment too.
    pub const fn physical_size_bits(self) -> usize {
        self.ty().size_bits(self.api_size_bits())
    }
}

impl ObjectBlueprintX86 {
    /// The type's number.
    pub const fn ty(self) -> ObjectType {
        match self {
            Self::_4k => ObjectType::Page4K,
            Self::LargePage => ObjectType::LargePage,
            Self::HugePage => ObjectType::HugePage,
            Self::PageTable => ObjectType::PageTable,
            Self::PageDirectory => ObjectType::PageDirectory,
            Self::Pdpt => ObjectType::Pdpt,
            Self::Pml4 => ObjectType::Pml4,
            Self::IOPageTable => ObjectType::IoPageTable,
            Self::VCpu => ObjectType::Vcpu,
            Self::EptPml4 => ObjectType::EptPml4,
            Self::EptPdpt => ObjectType::EptPdpt,
            Self::EptPageDirectory => ObjectType::EptPd,
            Self::EptPageTable => ObjectType::EptPt,
            Self::IOPermissionMap => ObjectType::IoPermissionMap,
        }
    }
}

impl From<ObjectBlueprintX86> for ObjectBlueprint {
    fn from(arch: ObjectBlueprintX86) -> Self {
        Self::Arch(arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_abi() {
        use ObjectBlueprint as B;
        use ObjectBlueprintX86 as X;
        assert_eq!(B::Tcb.physical_size_bits(), 11);
        assert_eq!(B::CNode { size_bits: 6 }.physical_size_bits(), 11);
        assert_eq!(B::SchedContext { size_bits: 8 }.physical_size_bits(), 8);
        assert_eq!(B::Untyped { size_bits: 20 }.physical_size_bits(), 20);
        assert_eq!(B::Notification.physical_size_bits(), 6);
        assert_eq!(B::Arch(X::VCpu).physical_size_bits(), 14);
        assert_eq!(B::Arch(X::HugePage).physical_size_bits(), 30);
        assert_eq!(B::from(X::EptPageTable).ty() as u64, 19);
        assert_eq!(B::Arch(X::Pml4).api_size_bits(), 0);
    }
}
