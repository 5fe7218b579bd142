// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the queues need of the platform: addresses are the same for CPU and device, and all memory is the device's to reach.

use core::ptr::NonNull;
use guest_runtime::dma::Buffer;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// A guest's memory.
pub struct GuestHal;

// SAFETY: `dma_alloc` gives out fresh, zeroed, page-aligned memory that nobody else has until `dma_dealloc`; mappings are one to one.
unsafe impl Hal for GuestHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let (address, start) = Buffer::new(pages * PAGE_SIZE).into_raw();
        (address, start)
    }

    unsafe fn dma_dealloc(_: PhysAddr, start: NonNull<u8>, pages: usize) -> i32 {
        // SAFETY: from `dma_alloc` with as many pages, as the caller promises.
        drop(unsafe { Buffer::from_raw(start, pages * PAGE_SIZE) });
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, _: usize) -> NonNull<u8> {
        NonNull::new(address as *mut u8).expect("device registers don't lie at 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().as_ptr() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
