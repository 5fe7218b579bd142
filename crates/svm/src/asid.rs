// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address-space identifiers of guests (APM 15.16): tags in the translation cache, too few to give one to each VCPU for
//! good. They are handed out in generations: when they run out, one flush begins the next generation.

/// What a VCPU holds. Zero-filled memory is an assignment of no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Assignment {
    /// Generation in which `asid` was given, 0 for never.
    pub generation: u64,
    /// The identifier.
    pub asid: u32,
}

/// Hands out identifiers 1 .. count (0 is the host's).
#[derive(Debug)]
pub struct Allocator {
    generation: u64,
    next: u32,
    count: u32,
    flushes: u64,
}

impl Allocator {
    /// `count` identifiers including the host's, at least 2: CPUID 0x8000_000a, EBX.
    pub const fn new(count: u32) -> Self {
        Self { generation: 1, next: 1, count: if count < 2 { 2 } else { count }, flushes: 0 }
    }

    /// True if `held` can be used as it is.
    #[inline]
    pub const fn is_current(&self, held: &Assignment) -> bool {
        held.generation == self.generation
    }

    /// A fresh identifier, under which the translation cache holds nothing; and whether VMRUN has to flush everything
    /// for that to be true. Giving a VCPU a fresh one is also how its translations are dropped.
    pub const fn allocate(&mut self) -> (Assignment, bool) {
        let flush = self.next >= self.count;
        if flush {
            self.generation += 1;
            self.next = 1;
            self.flushes += 1;
        }
        let given = Assignment { generation: self.generation, asid: self.next };
        self.next += 1;
        (given, flush)
    }

    /// Flushes so far.
    pub const fn flushes(&self) -> u64 {
        self.flushes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroed_memory_holds_nothing() {
        assert!(!Allocator::new(16).is_current(&Assignment::default()));
    }

    #[test]
    fn fifteen_before_a_flush() {
        let mut allocator = Allocator::new(16);
        let first = allocator.allocate().0;
        for n in 2..16 {
            assert_eq!(allocator.allocate(), (Assignment { generation: 1, asid: n }, false));
        }
        assert!(allocator.is_current(&first));
        assert_eq!(allocator.allocate(), (Assignment { generation: 2, asid: 1 }, true));
        assert!(!allocator.is_current(&first));
        assert_eq!(allocator.flushes(), 1);
        assert_eq!(allocator.allocate(), (Assignment { generation: 2, asid: 2 }, false));
    }

    #[test]
    fn never_the_host_and_never_twice() {
        let mut allocator = Allocator::new(0);
        let mut last = (0, 0);
        for _ in 0..5 {
            let (given, flush) = allocator.allocate();
            assert_eq!(given.asid, 1);
            assert_eq!(flush, last != (0, 0));
            assert_ne!((given.generation, given.asid), last);
            last = (given.generation, given.asid);
        }
    }
}
