// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VCPU object: 16 KiB of which the first page is the processor's, the rest the kernel's.

use core::cell::Cell;
use core::mem::offset_of;

use crate::arch;

/// Bytes of a VCPU object.
pub const VCPU_SIZE: usize = 1 << 14;

/// What every backend keeps in the second page of the object, first. All zero is the state of a fresh object.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    /// Physical address of the thread to which it is bound, 0 for none.
    pub tcb: Cell<u64>,
    /// Physical address of its I/O permission map object, 0 for none.
    pub io_map: Cell<u64>,
    /// Its entry was refused: the control structure is not the guest's any more.
    pub dead: Cell<bool>,
    /// Number of the processor that may hold some of its registers.
    pub cpu: Cell<u8>,
    /// The backend has set it up.
    pub ready: Cell<bool>,
}

/// The object as far as all backends agree on it.
#[repr(C, align(4096))]
struct Layout {
    processor: [u8; 4096],
    header: Header,
}

/// Byte offset of the header in the object.
pub const HEADER: usize = offset_of!(Layout, header);
const _: () = assert!(HEADER == 4096);

/// A live VCPU object, by its physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vcpu(u64);

impl Vcpu {
    /// The object at `paddr`.
    ///
    /// # Safety
    /// A live VCPU object lies there: what a capability of that kind, or a thread's link to its VCPU, names.
    pub unsafe fn at(paddr: u64) -> Self {
        Self(paddr)
    }

    /// Physical address.
    #[inline]
    pub const fn paddr(self) -> u64 {
        self.0
    }

    /// The object's memory.
    #[inline]
    pub fn as_ptr(self) -> *mut u8 {
        arch::phys_to_virt(self.0)
    }

    /// What all backends share.
    #[inline]
    pub fn header(&self) -> &Header {
        // SAFETY: the object is live by the type's invariant; the header is made of cells and all zero is a valid one.
        unsafe { &*self.as_ptr().add(HEADER).cast() }
    }
}
