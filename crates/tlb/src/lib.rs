// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a processor forgets translations of address spaces (Intel SDM volume 3, section 4.10; APM volume 2, section 5.5).
//!
//! With process-context identifiers (PCIDs) translations of several address spaces stay cached side by side. An address space's PCID is its
//! identifier (ASID), which is its alone until it dies. Each processor notes of each PCID whether what it has cached under it is true; if it
//! is, CR3 is loaded with [`NO_FLUSH`], otherwise the load flushes what there is. So what changes in tables that aren't loaded costs a bit,
//! or one INVPCID, and what changes for other processors is done where and when they load the tables.
//!
//! The emulators forgive mistakes in this: one has no identifiers, the other flushes at each load. So they show in `model_tests`.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(test)]
mod model_tests;

use core::cell::Cell;

/// Bit 63 of a value for CR3: what is cached under its identifier stays.
pub const NO_FLUSH: u64 = 1 << 63;
/// Identifiers, 0 included, which is the kernel's.
pub const IDENTIFIERS: u16 = 1 << 12;
/// The identifier of address spaces that have none of their own, where the kernel has one to itself. It is a proper address space's too, so what
/// is cached under it is never taken for true afterwards.
const NOBODYS: u16 = IDENTIFIERS - 1;

/// What a processor has, and what is made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// Translations bear identifiers (CR4.PCIDE).
    pub tagged: bool,
    /// There is INVPCID.
    pub by_page: bool,
    /// The kernel runs in an address space of its own, and user level in one without the kernel.
    pub isolated: bool,
}

impl Mode {
    /// No identifiers, and the kernel in each address space.
    pub const PLAIN: Self = Self { tagged: false, by_page: false, isolated: false };
    /// The same with identifiers.
    pub const TAGGED: Self = Self { tagged: true, ..Self::PLAIN };
    /// No identifiers, and the kernel in an address space of its own.
    pub const ISOLATED: Self = Self { isolated: true, ..Self::PLAIN };
    /// The same with identifiers.
    pub const ISOLATED_TAGGED: Self = Self { tagged: true, ..Self::ISOLATED };

    /// The address space of the root at physical `root` with identifier `asid`; 0: it has none.
    #[inline]
    pub const fn space(self, root: u64, asid: u16) -> Space {
        Space(if self.tagged { root | (asid % IDENTIFIERS) as u64 } else { root })
    }
}

/// An address space, as CR3 has it: physical address of the root, and identifier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Space(u64);

impl Space {
    /// None.
    pub const NONE: Self = Self(0);

    /// The space with these bits.
    #[inline]
    pub const fn of(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    const fn identifier(self) -> u16 {
        self.0 as u16 % IDENTIFIERS
    }
}

/// What the processor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing.
    Nothing,
    /// INVLPG of this address.
    Page(u64),
    /// INVPCID, type 0, with this identifier and address.
    PageOf(u16, u64),
    /// Load CR3 with this value.
    Load(u64),
}

/// What a processor has loaded and cached. Other processors look and write too, each while it has the kernel.
#[derive(Debug)]
pub struct Translations {
    /// For user level.
    loaded: Cell<Space>,
    /// Where the processor goes when an address space is taken away from it.
    kernel: Cell<Space>,
    /// Of each identifier: what is cached under it is true.
    is_true: [Cell<u64>; IDENTIFIERS as usize / 64],
}

impl Translations {
    /// Of a processor of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            loaded: Cell::new(Space::NONE),
            kernel: Cell::new(Space::NONE),
            is_true: [const { Cell::new(0) }; IDENTIFIERS as usize / 64],
        }
    }

    /// The processor has loaded the kernel's own address space, with identifier 0, and flushed what was cached under that.
    pub fn start(&self, kernel: Space) {
        self.kernel.set(kernel);
        self.loaded.set(kernel);
        self.note(0);
    }

    /// The address space for user level.
    #[inline]
    pub fn loaded(&self) -> Space {
        self.loaded.get()
    }

    /// User level is about to run in `space`, which has the kernel in it too: what to load into CR3, if it isn't.
    #[inline]
    pub fn enter(&self, mode: Mode, space: Space) -> Option<u64> {
        if self.loaded.get() == space {
            return None;
        }
        self.loaded.set(space);
        Some(self.value(mode, space))
    }

    /// User level is about to run in `space`, which doesn't have the kernel in it: what has to be loaded into CR3 on the way there.
    #[inline]
    pub fn leave(&self, mode: Mode, space: Space) -> u64 {
        self.loaded.set(space);
        if mode.tagged && space.identifier() == 0 {
            self.doubt(NOBODYS);
            return space.0 | u64::from(NOBODYS);
        }
        self.value(mode, space)
    }

    /// An entry of a page table of `space` for `address` has lost something.
    pub fn unmapped(&self, mode: Mode, space: Space, address: u64) -> Step {
        let is_in_use = self.loaded.get() == space && !mode.isolated;
        if is_in_use {
            return Step::Page(address);
        }
        if !mode.tagged || !self.has(space.identifier()) {
            return Step::Nothing;
        }
        if mode.by_page {
            return Step::PageOf(space.identifier(), address);
        }
        self.doubt(space.identifier());
        Step::Nothing
    }

    /// The tables of `space` have lost more than a page.
    pub fn changed(&self, mode: Mode, space: Space) -> Step {
        if self.loaded.get() == space && !mode.isolated {
            return Step::Load(space.0);
        }
        self.doubt(space.identifier());
        Step::Nothing
    }

    /// `space` is going away; its root may soon be other memory, its identifier another address space's.
    pub fn gone(&self, mode: Mode, space: Space) -> Step {
        self.doubt(space.identifier());
        if self.loaded.get() == space { self.retreat(mode) } else { Step::Nothing }
    }

    /// Another processor, which has the kernel, has changed `space`. True if this one has it loaded: it has to [`Translations::retreat`] before the change
    /// is over.
    pub fn changed_elsewhere(&self, space: Space) -> bool {
        self.doubt(space.identifier());
        self.loaded.get() == space
    }

    /// The processor, which is in the kernel, goes to the kernel's own address space.
    pub fn retreat(&self, mode: Mode) -> Step {
        if mode.isolated {
            self.loaded.set(Space::NONE);
            return Step::Nothing;
        }
        self.loaded.set(self.kernel.get());
        Step::Load(self.value(mode, self.kernel.get()))
    }

    fn value(&self, mode: Mode, space: Space) -> u64 {
        if !mode.tagged {
            return space.0;
        }
        if self.has(space.identifier()) {
            return space.0 | NO_FLUSH;
        }
        self.note(space.identifier());
        space.0
    }

    fn word(&self, identifier: u16) -> (&Cell<u64>, u64) {
        (&self.is_true[usize::from(identifier % IDENTIFIERS) / 64], 1 << (identifier % 64))
    }

    fn has(&self, identifier: u16) -> bool {
        let (word, bit) = self.word(identifier);
        word.get() & bit != 0
    }

    fn note(&self, identifier: u16) {
        let (word, bit) = self.word(identifier);
        word.set(word.get() | bit);
    }

    /// The kernel's own address space never loses anything.
    fn doubt(&self, identifier: u16) {
        let (word, bit) = self.word(identifier);
        if identifier != 0 {
            word.set(word.get() & !bit);
        }
    }
}

impl Default for Translations {
    fn default() -> Self {
        Self::new()
    }
}
