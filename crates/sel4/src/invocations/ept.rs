// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nested address spaces: tables.

use sel4_abi::label;

use crate::{Cap, EptVmAttributes, InvocationContext, Result, Word, cap, cap_type};

macro_rules! table {
    ($name:ident, $map:ident, $unmap:ident, $map_label:ident, $unmap_label:ident) => {
        impl<C: InvocationContext> Cap<cap_type::$name, C> {
            /// Puts the table into a nested address space, for the addresses around `gpa`.
            pub fn $map(self, ept: cap::EptPml4, gpa: usize, attrs: EptVmAttributes) -> Result<()> {
                self.invoke(label::$map_label, [gpa as Word, attrs.into_word()], [ept.bits()]).map(drop)
            }

            /// Takes the table out.
            pub fn $unmap(self) -> Result<()> {
                self.invoke(label::$unmap_label, [], []).map(drop)
            }
        }
    };
}

table!(EptPdpt, ept_pdpt_map, ept_pdpt_unmap, X86_EPT_PDPT_MAP, X86_EPT_PDPT_UNMAP);
table!(EptPageDirectory, ept_page_directory_map, ept_page_directory_unmap, X86_EPT_PD_MAP, X86_EPT_PD_UNMAP);
table!(EptPageTable, ept_page_table_map, ept_page_table_unmap, X86_EPT_PT_MAP, X86_EPT_PT_UNMAP);
