// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O permission map object (extension X1): which ports a guest reaches without an exit.
//!
//! 16 KiB: the map as the processor reads it, then the kernel's note of whose it is.

use core::cell::Cell;

use svm::permission::{self, IO_MAP_BYTES};

use crate::arch;

/// Bytes of the object.
pub const IO_MAP_SIZE: usize = 1 << 14;

#[repr(C, align(4096))]
struct Object {
    map: [u8; IO_MAP_BYTES],
    /// Physical address of the VCPU that it is attached to, 0 for none.
    vcpu: Cell<u64>,
}

const _: () = assert!(core::mem::size_of::<Object>() == IO_MAP_SIZE);

/// A live I/O permission map, by its physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoMap(u64);

impl IoMap {
    /// The object at `paddr`.
    ///
    /// # Safety
    /// A live object of that kind lies there: what a capability of that kind, or a VCPU's link to its map, names.
    pub unsafe fn at(paddr: u64) -> Self {
        Self(paddr)
    }

    /// Physical address.
    pub const fn paddr(self) -> u64 {
        self.0
    }

    fn object<'a>(self) -> &'a mut Object {
        // SAFETY: live by the type's invariant; the kernel takes one such reference at a time. The processor only reads it.
        unsafe { &mut *arch::phys_to_virt(self.0).cast() }
    }

    /// Every port exits.
    pub fn init(self) {
        self.object().map.fill(0xff);
    }

    /// The VCPU that it is attached to, 0 for none.
    pub fn vcpu(self) -> u64 {
        self.object().vcpu.get()
    }

    /// Attaches it.
    pub fn set_vcpu(self, paddr: u64) {
        self.object().vcpu.set(paddr);
    }

    /// Decides about ports `first..=last`.
    pub fn set(self, first: u16, last: u16, intercept: bool) {
        permission::set_ports(&mut self.object().map, first, last, intercept);
    }
}

/// Sets up the object at `paddr`, 16 KiB of zeros.
pub fn init_io_permission_map(paddr: u64) {
    // SAFETY: the caller makes this object.
    unsafe { IoMap::at(paddr) }.init();
}
