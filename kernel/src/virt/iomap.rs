// SPDX-License-Identifier: MIT OR Apache-2.0
//! The I/O permission map object (extension X1): which ports a guest reaches without an exit.
//!
//! 16 KiB: the map as the processor reads it, then the kernel's note of whose it is.

use core::cell::Cell;

use svm::permission::{self, IO_MAP_BYTES};

use crate::arch;
use crate::ioport::MapTable;
use crate::sync::KernelCell;

/// Bytes of the object.
pub const IO_MAP_SIZE: usize = 1 << 14;

#[repr(C, align(4096))]
struct Object {
    map: [u8; IO_MAP_BYTES],
    /// Physical address of the VCPU that it is attached to, 0 for none.
    vcpu: Cell<u64>,
    /// Its identifier while it is attached.
    id: Cell<u32>,
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

    /// The VCPU that it is attached to, 0 for none.
    pub fn vcpu(self) -> u64 {
        self.object().vcpu.get()
    }

    /// Attaches it, every port exiting. False if too many are.
    #[must_use]
    pub fn attach(self, vcpu: u64) -> bool {
        let Some(id) = maps().enter(self.0) else { return false };
        self.object().map.fill(0xff);
        self.object().vcpu.set(vcpu);
        self.object().id.set(id);
        true
    }

    /// Detaches it.
    pub fn detach(self) {
        maps().leave(self.id());
        self.object().vcpu.set(0);
    }

    /// Its identifier, for port capabilities that open ports in it.
    pub fn id(self) -> u32 {
        self.object().id.get()
    }

    /// Decides about ports `first..=last`.
    pub fn set(self, first: u16, last: u16, intercept: bool) {
        permission::set_ports(&mut self.object().map, first, last, intercept);
    }
}

static MAPS: KernelCell<MapTable> = KernelCell::new(MapTable::new());

fn maps() -> &'static mut MapTable {
    // SAFETY: the functions of this file take it one after the other and don't keep it.
    unsafe { MAPS.get() }
}

/// True if the map with identifier `id` is attached.
pub fn is_attached(id: u32) -> bool {
    maps().find(id).is_some()
}

/// A port capability for `first..=last` goes, which may have opened ports in the map with identifier `id`.
pub fn close(id: u32, first: u16, last: u16) {
    if let Some(paddr) = maps().find(id) {
        // SAFETY: maps that are attached are live.
        unsafe { IoMap::at(paddr) }.set(first, last, true);
    }
}
