// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address-space identifiers of guests (APM 15.16): tags in the translation cache, too few to give one to each VCPU for
//! good. They are handed out in generations. With FlushByAsid the processor drops what it holds under one of them; without, a flush of
//! everything, the host's translations too, begins each generation.

use crate::vmcb::tlb_control;

/// What a VCPU holds. Zero-filled memory is an assignment of no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Assignment {
    /// Generation in which `asid` was given, 0 for never.
    pub generation: u64,
    /// The identifier.
    pub asid: u32,
}

/// What VMRUN has to flush so that nothing is cached under the identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Nothing: it wasn't used since it was flushed last.
    Nothing,
    /// What is under this identifier; only with FlushByAsid.
    Own,
    /// Everything.
    All,
}

impl Flush {
    /// The value of TLB_CONTROL.
    #[must_use]
    pub const fn tlb_control(self) -> u32 {
        match self {
            Self::Nothing => tlb_control::NOTHING,
            Self::Own => tlb_control::THIS_ASID,
            Self::All => tlb_control::ALL,
        }
    }
}

/// Hands out identifiers 1 .. count (0 is the host's).
#[derive(Debug)]
pub struct Allocator {
    generation: u64,
    next: u32,
    count: u32,
    /// One identifier can be flushed alone.
    by_asid: bool,
    /// This generation began with a flush of everything, so those that weren't given yet are unused.
    is_clean: bool,
    /// Everything has to be flushed before another identifier is of use.
    is_owed: bool,
}

impl Allocator {
    /// `count` identifiers including the host's, at least 2: CPUID 0x8000_000a, EBX. What firmware left in the cache is owed to the first
    /// entry.
    pub const fn new(count: u32, by_asid: bool) -> Self {
        let count = if count < 2 { 2 } else { count };
        Self { generation: 1, next: 1, count, by_asid, is_clean: false, is_owed: true }
    }

    /// True if `held` can be used as it is.
    #[inline]
    pub const fn is_current(&self, held: &Assignment) -> bool {
        held.generation == self.generation
    }

    /// An identifier for who holds `held`, and what VMRUN has to flush so that nothing is cached under it. An unused one comes before a
    /// flush, a flush of its own before a new generation, which takes all others theirs.
    pub const fn renew(&mut self, held: Assignment) -> (Assignment, Flush) {
        let is_left = self.next < self.count;
        let all = self.is_owed || !self.by_asid && !is_left;
        if !all && self.by_asid && self.is_current(&held) && !(self.is_clean && is_left) {
            return (held, Flush::Own);
        }
        if all || !is_left {
            self.generation += 1;
            self.next = 1;
            self.is_clean = all;
            self.is_owed = false;
        }
        let given = Assignment { generation: self.generation, asid: self.next };
        self.next += 1;
        let flush = if all {
            Flush::All
        } else if self.is_clean {
            Flush::Nothing
        } else {
            Flush::Own
        };
        (given, flush)
    }

    /// VMRUN was refused that should have flushed everything: whether it has, nobody says, so it is owed again.
    pub const fn owe(&mut self) {
        self.is_owed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Assignment = Assignment { generation: 0, asid: 0 };

    fn given(generation: u64, asid: u32, flush: Flush) -> (Assignment, Flush) {
        (Assignment { generation, asid }, flush)
    }

    #[test]
    fn zeroed_memory_holds_nothing() {
        assert!(!Allocator::new(16, false).is_current(&Assignment::default()));
    }

    #[test]
    fn fifteen_for_a_flush() {
        let mut allocator = Allocator::new(16, false);
        let (first, flush) = allocator.renew(NONE);
        assert_eq!((first.asid, flush), (1, Flush::All));
        for n in 2..16 {
            assert_eq!(allocator.renew(first), given(2, n, Flush::Nothing));
        }
        assert!(allocator.is_current(&first));
        assert_eq!(allocator.renew(first), given(3, 1, Flush::All));
        assert!(!allocator.is_current(&first));
        assert_eq!(allocator.renew(first), given(3, 2, Flush::Nothing));
    }

    #[test]
    fn never_the_host_and_never_twice() {
        for by_asid in [false, true] {
            let mut allocator = Allocator::new(0, by_asid);
            let mut last = NONE;
            for _ in 0..5 {
                let (given, flush) = allocator.renew(NONE);
                assert_eq!(given.asid, 1);
                assert_ne!(flush, Flush::Nothing);
                assert_ne!(given, last);
                last = given;
            }
        }
    }

    /// Unused ones first; then each flushes its own, and nobody else loses anything.
    #[test]
    fn who_can_flush_alone_does_so_when_none_is_left() {
        let mut allocator = Allocator::new(4, true);
        let a = allocator.renew(NONE).0;
        let b = allocator.renew(NONE).0;
        assert_eq!(allocator.renew(a), given(2, 3, Flush::Nothing));
        assert_eq!(allocator.renew(b), (b, Flush::Own));
        assert!(allocator.is_current(&a) && allocator.is_current(&b));
        // A newcomer finds none: a new generation, of which each flushes its own, and keeps it.
        assert_eq!(allocator.renew(NONE), given(3, 1, Flush::Own));
        assert_eq!(allocator.renew(b), given(3, 2, Flush::Own));
        assert_eq!(allocator.renew(given(3, 2, Flush::Own).0), given(3, 2, Flush::Own));
    }

    #[test]
    fn what_is_owed_comes_first() {
        for by_asid in [false, true] {
            let mut allocator = Allocator::new(16, by_asid);
            let (refused, flush) = allocator.renew(NONE);
            assert_eq!(flush, Flush::All);
            allocator.owe();
            assert_eq!(allocator.renew(NONE), given(3, 1, Flush::All));
            assert!(!allocator.is_current(&refused));
            assert_eq!(allocator.renew(NONE), given(3, 2, Flush::Nothing));
        }
    }
}
