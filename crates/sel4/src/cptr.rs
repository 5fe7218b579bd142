// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capability addresses.

use core::marker::PhantomData;

use crate::{CapType, InvocationContext, NoExplicitInvocationContext, Word, cap, cap_type};

/// Bits of a capability address.
pub type CPtrBits = Word;

/// Number of bits of a capability address.
pub const WORD_SIZE: usize = 64;

/// A capability address of 64 bits, resolved from the thread's CSpace root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct CPtr(CPtrBits);

impl CPtr {
    /// The address with these bits.
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self(bits)
    }
    /// Its bits.
    pub const fn bits(self) -> CPtrBits {
        self.0
    }
    /// The address as that of a capability of type `T`; nothing is checked.
    pub const fn cast<T: CapType>(self) -> Cap<T> {
        Cap::from_cptr(self)
    }
}

/// A capability of type `T`, by its address. Whether there is one, and of that type, the kernel checks at each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cap<T: CapType, C = NoExplicitInvocationContext> {
    cptr: CPtr,
    context: C,
    phantom: PhantomData<T>,
}

impl<T: CapType> Cap<T> {
    /// The capability at `cptr`.
    pub const fn from_cptr(cptr: CPtr) -> Self {
        Self { cptr, context: NoExplicitInvocationContext, phantom: PhantomData }
    }
    /// The capability at the address with these bits.
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self::from_cptr(CPtr::from_bits(bits))
    }
}

impl<T: CapType, C> Cap<T, C> {
    /// The bits of its address.
    pub const fn bits(&self) -> CPtrBits {
        self.cptr.bits()
    }
    /// Its address.
    pub const fn cptr(&self) -> CPtr {
        self.cptr
    }
    /// The same capability, used with the IPC buffer that `context` gives.
    pub fn with<C1>(self, context: C1) -> Cap<T, C1> {
        Cap { cptr: self.cptr, context, phantom: PhantomData }
    }
    /// The same capability, used with the implicit IPC buffer.
    pub fn without_context(&self) -> Cap<T> {
        Cap::from_cptr(self.cptr)
    }
    /// The same address as a capability of another type; nothing is checked.
    pub fn cast<T1: CapType>(self) -> Cap<T1, C> {
        Cap { cptr: self.cptr, context: self.context, phantom: PhantomData }
    }
    /// The same address as a capability of no particular type.
    pub fn upcast(self) -> Cap<cap_type::Unspecified, C> {
        self.cast()
    }
    pub(crate) fn into_parts(self) -> (CPtr, C) {
        (self.cptr, self.context)
    }
}

/// A capability address with the number of its low bits that count, resolved from some CNode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CPtrWithDepth {
    bits: CPtrBits,
    depth: usize,
}

impl CPtrWithDepth {
    /// The `depth` low bits of `bits`.
    pub const fn from_bits_with_depth(bits: CPtrBits, depth: usize) -> Self {
        Self { bits, depth }
    }
    /// The address of the CNode itself that it is resolved from.
    pub const fn empty() -> Self {
        Self { bits: 0, depth: 0 }
    }
    /// The bits.
    pub const fn bits(&self) -> CPtrBits {
        self.bits
    }
    /// How many count.
    pub const fn depth(&self) -> usize {
        self.depth
    }
}

impl From<CPtr> for CPtrWithDepth {
    fn from(cptr: CPtr) -> Self {
        Self { bits: cptr.bits(), depth: WORD_SIZE }
    }
}

/// A slot: a CNode and an address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AbsoluteCPtr<C = NoExplicitInvocationContext> {
    root: Cap<cap_type::CNode, C>,
    path: CPtrWithDepth,
}

impl<C> AbsoluteCPtr<C> {
    /// The slot that `path` leads to from `root`.
    pub const fn new(root: Cap<cap_type::CNode, C>, path: CPtrWithDepth) -> Self {
        Self { root, path }
    }
    /// The CNode.
    pub const fn root(&self) -> &Cap<cap_type::CNode, C> {
        &self.root
    }
    /// The address in it.
    pub const fn path(&self) -> &CPtrWithDepth {
        &self.path
    }
    pub(crate) fn into_parts(self) -> (Cap<cap_type::CNode, C>, CPtrWithDepth) {
        (self.root, self.path)
    }
    /// The same slot, used with the IPC buffer that `context` gives.
    pub fn with<C1>(self, context: C1) -> AbsoluteCPtr<C1> {
        AbsoluteCPtr { root: self.root.with(context), path: self.path }
    }
}

/// What names a slot of a CNode.
pub trait HasCPtrWithDepth {
    /// The address in the CNode.
    fn cptr_with_depth(self) -> CPtrWithDepth;
}

impl HasCPtrWithDepth for CPtrWithDepth {
    fn cptr_with_depth(self) -> CPtrWithDepth {
        self
    }
}

impl HasCPtrWithDepth for CPtr {
    fn cptr_with_depth(self) -> CPtrWithDepth {
        self.into()
    }
}

impl<T: CapType, C> HasCPtrWithDepth for Cap<T, C> {
    fn cptr_with_depth(self) -> CPtrWithDepth {
        self.cptr().into()
    }
}

impl<C: InvocationContext> Cap<cap_type::CNode, C> {
    /// The slot at `path`; a plain address counts with all its 64 bits.
    pub fn absolute_cptr<T: HasCPtrWithDepth>(self, path: T) -> AbsoluteCPtr<C> {
        AbsoluteCPtr::new(self, path.cptr_with_depth())
    }
    /// The slot at the `depth` low bits of `bits`.
    pub fn absolute_cptr_from_bits_with_depth(self, bits: CPtrBits, depth: usize) -> AbsoluteCPtr<C> {
        AbsoluteCPtr::new(self, CPtrWithDepth::from_bits_with_depth(bits, depth))
    }
    /// The CNode itself, as the destination of `untyped_retype`.
    pub fn absolute_cptr_for_self(self) -> AbsoluteCPtr<C> {
        AbsoluteCPtr::new(self, CPtrWithDepth::empty())
    }
}

/// An absent capability, for arguments that may be left out.
pub const NULL: cap::Null = Cap::from_bits(0);
