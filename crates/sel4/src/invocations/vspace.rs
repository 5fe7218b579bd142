// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces: frames and tables.

use sel4_abi::label;

use crate::{
    Cap, CapRights, CapTypeForFrameObject, EptVmAttributes, InvocationContext, Result, VmAttributes, Word,
    cap, cap_type,
};

impl<T: CapTypeForFrameObject, C: InvocationContext> Cap<T, C> {
    /// Maps the frame at `vaddr`. FailedLookup when a table is missing: message word 2 is the number of address bits
    /// below that level.
    pub fn frame_map(
        self,
        vspace: cap::VSpace,
        vaddr: usize,
        rights: CapRights,
        attrs: VmAttributes,
    ) -> Result<()> {
        self.invoke(
            label::X86_PAGE_MAP,
            [vaddr as Word, rights.into_word(), attrs.into_word()],
            [vspace.bits()],
        )
        .map(drop)
    }

    /// Unmaps the frame.
    pub fn frame_unmap(self) -> Result<()> {
        self.invoke(label::X86_PAGE_UNMAP, [], []).map(drop)
    }

    /// Its physical address.
    pub fn frame_get_address(self) -> Result<usize> {
        self.invoke(label::X86_PAGE_GET_ADDRESS, [], []).map(|reply| reply[0] as usize)
    }

    /// Maps the frame in a nested address space.
    pub fn frame_map_ept(
        self,
        ept: cap::EptPml4,
        gpa: usize,
        rights: CapRights,
        attrs: EptVmAttributes,
    ) -> Result<()> {
        self.invoke(
            label::X86_PAGE_MAP_EPT,
            [gpa as Word, rights.into_word(), attrs.into_word()],
            [ept.bits()],
        )
        .map(drop)
    }

    /// Maps the frame in an I/O space, as seL4 does: this capability must be mapped nowhere.
    pub fn frame_map_io(self, io_space: cap::IOSpace, rights: CapRights, iova: usize) -> Result<()> {
        self.invoke(label::X86_PAGE_MAP_IO, [rights.into_word(), iova as Word], [io_space.bits()]).map(drop)
    }
}

macro_rules! table {
    ($name:ident, $map:ident, $unmap:ident, $map_label:ident, $unmap_label:ident) => {
        impl<C: InvocationContext> Cap<cap_type::$name, C> {
            /// Puts the table into an address space, for the addresses around `vaddr`.
            pub fn $map(self, vspace: cap::VSpace, vaddr: usize, attrs: VmAttributes) -> Result<()> {
                self.invoke(label::$map_label, [vaddr as Word, attrs.into_word()], [vspace.bits()]).map(drop)
            }

            /// Takes the table out.
            pub fn $unmap(self) -> Result<()> {
                self.invoke(label::$unmap_label, [], []).map(drop)
            }
        }
    };
}

table!(Pdpt, pdpt_map, pdpt_unmap, X86_PDPT_MAP, X86_PDPT_UNMAP);
table!(
    PageDirectory,
    page_directory_map,
    page_directory_unmap,
    X86_PAGE_DIRECTORY_MAP,
    X86_PAGE_DIRECTORY_UNMAP
);
table!(PageTable, page_table_map, page_table_unmap, X86_PAGE_TABLE_MAP, X86_PAGE_TABLE_UNMAP);
