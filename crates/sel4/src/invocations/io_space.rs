// SPDX-License-Identifier: MIT OR Apache-2.0
//! DMA translation.

use sel4_abi::label;

use crate::{Cap, CapRights, CapTypeForFrameObject, InvocationContext, Result, Word, cap, cap_type};

impl<C: InvocationContext> Cap<cap_type::IOPageTable, C> {
    /// Puts the table into an I/O space at the first level that misses one for `iova`: the root first.
    pub fn iopt_map(self, io_space: cap::IOSpace, iova: usize) -> Result<()> {
        self.invoke(label::X86_IO_PAGE_TABLE_MAP, [iova as Word], [io_space.bits()]).map(drop)
    }

    /// Takes the table out.
    pub fn iopt_unmap(self) -> Result<()> {
        self.invoke(label::X86_IO_PAGE_TABLE_UNMAP, [], []).map(drop)
    }
}

impl<C: InvocationContext> Cap<cap_type::IOSpace, C> {
    /// Maps a frame at `iova` (extension X2). The frame's size is the leaf's size.
    pub fn io_space_map_frame<T: CapTypeForFrameObject>(
        self,
        frame: Cap<T>,
        rights: CapRights,
        iova: usize,
    ) -> Result<()> {
        self.invoke(label::IO_SPACE_MAP_FRAME, [rights.into_word(), iova as Word], [frame.bits()]).map(drop)
    }

    /// Empties the context entry and waits until the hardware has seen it (extension X2).
    pub fn io_space_clear(self) -> Result<()> {
        self.invoke(label::IO_SPACE_CLEAR, [], []).map(drop)
    }
}
