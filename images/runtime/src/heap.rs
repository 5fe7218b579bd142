// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heap: all usable memory behind the image, in the largest piece below 4 GiB.

use crate::cell::IrqCell;
use crate::memory::{Region, largest_above};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use linked_list_allocator::Heap;

struct Allocator(IrqCell<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(IrqCell::new(Heap::empty()));

// SAFETY: `Heap` hands out disjoint blocks of the range that `init` gave it; the cell keeps its calls apart.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.with(|heap| heap.allocate_first_fit(layout).map_or(core::ptr::null_mut(), NonNull::as_ptr))
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the caller returns a block of this allocator with its layout.
        self.0.with(|heap| unsafe { heap.deallocate(block, layout) });
    }
}

/// Gives the heap its memory.
///
/// # Safety
/// Called once; usable regions of the map above the image must be unused RAM, mapped one to one.
pub unsafe fn init(map: &[Region]) {
    unsafe extern "C" {
        static __image_end: u8;
    }
    let floor = &raw const __image_end as u64;
    let (start, end) = largest_above(map, floor).expect("the memory map has room for a heap");
    // SAFETY: the caller's promise; the range begins behind the image.
    ALLOCATOR.0.with(|heap| unsafe { heap.init(start as *mut u8, (end - start) as usize) });
}

/// Bytes of the heap in use, and in all.
pub fn usage() -> (usize, usize) {
    ALLOCATOR.0.with(|heap| (heap.used(), heap.size()))
}
