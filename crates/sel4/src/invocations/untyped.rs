// SPDX-License-Identifier: MIT OR Apache-2.0
//! Untyped memory.

use sel4_abi::label;

use crate::{AbsoluteCPtr, Cap, InvocationContext, ObjectBlueprint, Result, Word, cap_type};

impl<C: InvocationContext> Cap<cap_type::Untyped, C> {
    /// Makes `num_objects` objects (1 to 256) with capabilities in consecutive slots of the CNode `dst`, from slot
    /// `dst_offset` on.
    pub fn untyped_retype<C1: InvocationContext>(
        self,
        blueprint: &ObjectBlueprint,
        dst: &AbsoluteCPtr<C1>,
        dst_offset: usize,
        num_objects: usize,
    ) -> Result<()> {
        self.invoke(
            label::UNTYPED_RETYPE,
            [
                blueprint.ty() as Word,
                blueprint.api_size_bits() as Word,
                dst.path().bits(),
                dst.path().depth() as Word,
                dst_offset as Word,
                num_objects as Word,
            ],
            [dst.root().bits()],
        )
        .map(drop)
    }
}
