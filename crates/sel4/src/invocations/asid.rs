// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address space identifiers.

use sel4_abi::label;

use crate::{AbsoluteCPtr, Cap, InvocationContext, Result, Word, cap, cap_type};

impl<C: InvocationContext> Cap<cap_type::AsidControl, C> {
    /// Makes a pool from an untyped of 4 KiB.
    pub fn asid_control_make_pool<C1>(self, untyped: cap::Untyped, dst: &AbsoluteCPtr<C1>) -> Result<()> {
        self.invoke(
            label::X86_ASID_CONTROL_MAKE_POOL,
            [dst.path().bits(), dst.path().depth() as Word],
            [untyped.bits(), dst.root().bits()],
        )
        .map(drop)
    }
}

impl<C: InvocationContext> Cap<cap_type::AsidPool, C> {
    /// Gives an address space an identifier, without which it can't be used.
    pub fn asid_pool_assign(self, vspace: cap::VSpace) -> Result<()> {
        self.invoke(label::X86_ASID_POOL_ASSIGN, [], [vspace.bits()]).map(drop)
    }

    /// As [`Self::asid_pool_assign`], for a top-level nested table; `entry_flush` is one of `abi::entry_flush` (extension X1).
    pub fn asid_pool_assign_nested(self, root: cap::EptPml4, entry_flush: Word) -> Result<()> {
        self.invoke(label::X86_ASID_POOL_ASSIGN, [entry_flush], [root.bits()]).map(drop)
    }
}
