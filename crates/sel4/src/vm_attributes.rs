// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory types of mappings.

use crate::Word;

/// Memory type of a mapping in an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct VmAttributes(Word);

impl VmAttributes {
    /// Write-back.
    pub const DEFAULT: Self = Self(sel4_abi::vm_attributes::WRITE_BACK);
    /// Write-through.
    pub const WRITE_THROUGH: Self = Self(sel4_abi::vm_attributes::WRITE_THROUGH);
    /// UC-: uncached unless an MTRR says write-combining.
    pub const CACHE_DISABLED: Self = Self(sel4_abi::vm_attributes::CACHE_DISABLED);
    /// Uncacheable.
    pub const UNCACHEABLE: Self = Self(sel4_abi::vm_attributes::UNCACHEABLE);
    /// Write-combining.
    pub const WRITE_COMBINING: Self = Self(sel4_abi::vm_attributes::WRITE_COMBINING);

    /// Any word, known to the kernel or not.
    pub const fn from_word(word: Word) -> Self {
        Self(word)
    }
    /// The word itself.
    pub const fn into_word(self) -> Word {
        self.0
    }
}

impl Default for VmAttributes {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Memory type of a mapping in a nested address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct EptVmAttributes(Word);

impl EptVmAttributes {
    /// Write-back.
    pub const DEFAULT: Self = Self(sel4_abi::ept_attributes::WRITE_BACK);
    /// Uncacheable.
    pub const UNCACHEABLE: Self = Self(sel4_abi::ept_attributes::UNCACHEABLE);
    /// Write-combining.
    pub const WRITE_COMBINING: Self = Self(sel4_abi::ept_attributes::WRITE_COMBINING);
    /// Write-through.
    pub const WRITE_THROUGH: Self = Self(sel4_abi::ept_attributes::WRITE_THROUGH);
    /// Write-protected.
    pub const WRITE_PROTECTED: Self = Self(sel4_abi::ept_attributes::WRITE_PROTECTED);

    /// The same type, and the guest can't execute what is there (Postern's extension X1).
    #[must_use]
    pub const fn without_execution(self) -> Self {
        Self(self.0 | sel4_abi::ept_attributes::NO_EXECUTE)
    }

    /// Any word, known to the kernel or not.
    pub const fn from_word(word: Word) -> Self {
        Self(word)
    }
    /// The word itself.
    pub const fn into_word(self) -> Word {
        self.0
    }
}

impl Default for EptVmAttributes {
    fn default() -> Self {
        Self::DEFAULT
    }
}
