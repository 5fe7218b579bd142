// SPDX-License-Identifier: MIT OR Apache-2.0
//! References to kernel objects.

use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::arch;

/// A reference to a live kernel object in the physical-memory window.
///
/// Copyable: objects are structures of `Cell`s and the kernel runs one at a time. A `Ptr` is only made from a capability
/// in a slot or taken from another object's link. Deleting the last capability of an object severs every link to it before
/// its memory can be used again (`delete`), so a stored `Ptr` is never dangling.
pub struct Ptr<T>(NonNull<T>);

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ptr<T> {}
impl<T> PartialEq for Ptr<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Ptr<T> {}
impl<T> fmt::Debug for Ptr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ptr({:#x})", self.paddr())
    }
}

impl<T> Ptr<T> {
    /// The object at physical address `paddr`.
    ///
    /// # Safety
    /// A live object of type `T` lies there, in ordinary memory, for as long as the reference is used.
    pub unsafe fn from_paddr(paddr: u64) -> Self {
        // SAFETY: the window never maps anything at address 0.
        Self(unsafe { NonNull::new_unchecked(arch::phys_to_virt(paddr).cast()) })
    }

    /// The object that `r` refers to: for objects in the kernel's own static memory.
    ///
    /// # Safety
    /// `r` stays valid for as long as the reference is used.
    pub unsafe fn from_ref(r: &T) -> Self {
        Self(NonNull::from(r))
    }

    /// Physical address of the object. Only for objects in the window.
    pub fn paddr(self) -> u64 {
        arch::virt_to_phys(self.0.as_ptr().cast())
    }

    /// The address, for comparing and storing in tagged words.
    pub fn addr(self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// The inverse of [`Ptr::addr`]; `None` for 0.
    ///
    /// # Safety
    /// As for [`Ptr::from_paddr`].
    pub unsafe fn from_addr(addr: u64) -> Option<Self> {
        NonNull::new(addr as *mut T).map(Self)
    }

    /// The object `index` places further on in an array.
    ///
    /// # Safety
    /// The array goes that far.
    #[inline(always)]
    pub unsafe fn add(self, index: u64) -> Self {
        // SAFETY: inside the array.
        Self(unsafe { self.0.add(index as usize) })
    }

    /// Raw pointer to the object.
    pub fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Deref for Ptr<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: by the type's invariant the object is live; it is made of cells, so shared references are enough.
        unsafe { self.0.as_ref() }
    }
}
