// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identity map of the lowest 4 GiB: four page directories of 2 MiB leaves; the first 2 MiB by 4 KiB pages.
//!
//! The entry code fills the tables; once the memory map is known what isn't RAM becomes uncached and page 0 absent (Intel SDM volume 3, section 5.5).

use core::cell::UnsafeCell;

/// A page-aligned run of `N` table entries.
#[repr(C, align(4096))]
pub struct Table<const N: usize>(UnsafeCell<[u64; N]>);

// SAFETY: one CPU; written by the entry code and by `finish`, before any interrupt is on.
unsafe impl<const N: usize> Sync for Table<N> {}

impl<const N: usize> Table<N> {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }
}

pub static PML4: Table<512> = Table::new();
pub static PDPT: Table<512> = Table::new();
pub static PD: Table<2048> = Table::new();
pub static PT: Table<512> = Table::new();

/// Bytes of a leaf.
#[cfg(any(test, target_os = "none"))]
const LARGE: u64 = 2 << 20;
/// PWT and PCD: with the reset PAT, strong uncacheable.
#[cfg(target_os = "none")]
const UNCACHED: u64 = 0x18;

/// The first 2 MiB leaf that holds no byte of RAM below `top`.
#[cfg(any(test, target_os = "none"))]
fn first_leaf_above(top: u64) -> usize {
    top.div_ceil(LARGE).clamp(1, 2048) as usize
}

/// Makes everything from `top` (bytes, rounded up to 2 MiB) to 4 GiB uncached, and page 0 absent: null pointers fault.
#[cfg(target_os = "none")]
pub fn finish(top: u64) {
    let first = first_leaf_above(top);
    // SAFETY: the only user of the tables at this time; the CPU sees changed entries at the latest after the reload below. Old
    // ones differ in memory type, and in a page that nothing uses.
    let (leaves, pages) = unsafe { (&mut *PD.0.get(), &mut *PT.0.get()) };
    for leaf in &mut leaves[first..] {
        *leaf |= UNCACHED;
    }
    pages[0] = 0;
    // SAFETY: the table that is in use is loaded again, which drops its cached translations.
    unsafe { crate::cpu::write_cr3(PML4.0.get() as u64) };
}

/// Makes the GiB around `address`, above 4 GiB and below 512 GiB, readable and writable, uncached, one to one. `false` where it lies elsewhere, or the
/// CPU has no pages of that size.
#[cfg(target_os = "none")]
pub fn map_gib(address: u64) -> bool {
    /// Present, writable, large.
    const LEAF: u64 = 0x83;
    const EXTENDED: u32 = 0x8000_0001;
    const HAS_GIB_PAGES: u32 = 1 << 26;
    let number = (address >> 30) as usize;
    if !(4..512).contains(&number) || crate::cpu::cpuid(EXTENDED, 0).edx & HAS_GIB_PAGES == 0 {
        return false;
    }
    // SAFETY: one CPU, and interrupt handlers don't change tables. The entry was absent, or the same.
    unsafe { (*PDPT.0.get())[number] = (number as u64) << 30 | UNCACHED | LEAF };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_of_ram_stays_cached() {
        assert_eq!(first_leaf_above(0), 1);
        assert_eq!(first_leaf_above(64 << 20), 32);
        assert_eq!(first_leaf_above((64 << 20) - 1), 32);
        assert_eq!(first_leaf_above((64 << 20) + 1), 33);
        assert_eq!(first_leaf_above(1 << 33), 2048);
    }
}
