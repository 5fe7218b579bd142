// SPDX-License-Identifier: MIT OR Apache-2.0
//! A heap in .bss, for `alloc`.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, RefCell, UnsafeCell};
use core::ptr::{self, NonNull};

/// A heap of `N` bytes, for one thread.
pub struct Heap<const N: usize> {
    memory: UnsafeCell<[u8; N]>,
    heap: RefCell<linked_list_allocator::Heap>,
    started: Cell<bool>,
}

// SAFETY: the initial thread only allocates; other threads of a root task get what they need from it.
unsafe impl<const N: usize> Sync for Heap<N> {}

impl<const N: usize> Heap<N> {
    /// A heap.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            memory: UnsafeCell::new([0; N]),
            heap: RefCell::new(linked_list_allocator::Heap::empty()),
            started: Cell::new(false),
        }
    }
}

// SAFETY: the list allocator keeps the contract, on memory that is the heap's alone.
unsafe impl<const N: usize> GlobalAlloc for Heap<N> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.heap.borrow_mut();
        if !self.started.replace(true) {
            // SAFETY: once only, and the memory is static and not used otherwise.
            unsafe { heap.init(self.memory.get().cast(), N) };
        }
        heap.allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: the caller's promise: `alloc` gave this pointer for this layout.
            unsafe { self.heap.borrow_mut().deallocate(pointer, layout) };
        }
    }
}

/// Makes the program's heap, of this many bytes.
#[macro_export]
macro_rules! declare_heap {
    ($size:expr) => {
        const _: () = {
            #[global_allocator]
            static HEAP: $crate::heap::Heap<{ $size }> = $crate::heap::Heap::new();
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back() {
        let heap = Heap::<4096>::new();
        let layout = Layout::from_size_align(3000, 8).unwrap();
        for _ in 0..3 {
            // SAFETY: the layout's size isn't 0, and the memory is given back once.
            unsafe {
                let pointer = heap.alloc(layout);
                assert!(!pointer.is_null());
                assert!(heap.alloc(layout).is_null());
                heap.dealloc(pointer, layout);
            }
        }
    }
}
