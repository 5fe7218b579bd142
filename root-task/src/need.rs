// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a part is made of, and how much memory that takes.
//!
//! An object lies at a multiple of its size, and an untyped's watermark only moves forward. So the objects are made largest
//! first, the pages last: then nothing is lost before any of them. An arena's pieces are the binary digits of its bytes;
//! those that can hold an object of a size together hold all objects of that size and above.

use alloc::vec::Vec;
use core::cmp::Reverse;

use sel4::{ObjectBlueprint, ObjectBlueprintX86, abi};

use crate::layout::{PAGE, ROOT_RADIX};

/// Arenas are multiples of this: few pieces, and few slots for them.
const STEP: u64 = 32 << 10;

/// What an object of a part is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its own untyped.
    Untyped,
    /// Its own CNode.
    Own,
    /// The CNode that the mounts are in.
    Root,
    /// Its address space.
    VSpace,
    /// Its thread.
    Tcb,
    /// Its scheduling context.
    SchedContext,
    /// Its notification.
    Notification,
    /// Its reply object.
    Reply,
    /// BAR frames, shared with pci-server.
    Bars,
    /// Interrupt handlers, shared with iommu-server.
    Irqs,
    /// The holdings that iommu-server has.
    Dma,
}

impl Role {
    /// How many there are.
    pub const COUNT: usize = Self::Dma as usize + 1;
}

/// Log2 of the slots of the CNodes that a VM with devices shares with servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shared {
    /// Of `bars`.
    pub bars: usize,
    /// Of `irqs`.
    pub irqs: usize,
    /// Of `dma`.
    pub dma: usize,
}

/// Log2 of the bytes of a scheduling context.
const SCHED_CONTEXT_BITS: usize = 9;
/// How many parts of a period a budget can come back in, beside the first. A VMM is interrupted by each of its calls to a server, and of what there is no
/// part for a little is lost.
pub const EXTRA_REFILLS: u64 = ((1 << SCHED_CONTEXT_BITS) - abi::object::SCHED_CONTEXT_CORE_BYTES as u64)
    / abi::object::REFILL_BYTES as u64;

/// Everything that an arena has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// All but single pages, in the order in which they are to be made.
    pub objects: Vec<(Role, ObjectBlueprint)>,
    /// Pages: frames and tables, made after the objects.
    pub pages: usize,
}

impl Need {
    /// For a part whose own CNode has 2^`own_radix` slots and whose untyped has 2^`untyped_bits` bytes.
    pub fn new(own_radix: usize, untyped_bits: u8, shared: Option<Shared>, pages: usize) -> Self {
        use ObjectBlueprint as B;
        let node = |size_bits| B::CNode { size_bits };
        let mut objects = Vec::from([
            (Role::Untyped, B::Untyped { size_bits: untyped_bits.into() }),
            (Role::Own, node(own_radix)),
            (Role::VSpace, ObjectBlueprintX86::Pml4.into()),
            (Role::Root, node(ROOT_RADIX)),
            (Role::Tcb, B::Tcb),
            (Role::SchedContext, B::SchedContext { size_bits: SCHED_CONTEXT_BITS }),
            (Role::Notification, B::Notification),
            (Role::Reply, B::Reply),
        ]);
        if let Some(Shared { bars, irqs, dma }) = shared {
            objects.extend([(Role::Bars, node(bars)), (Role::Irqs, node(irqs)), (Role::Dma, node(dma))]);
        }
        objects.sort_unstable_by_key(|(_, blueprint)| Reverse(blueprint.physical_size_bits()));
        Self { objects, pages }
    }

    /// Bytes of an arena for it.
    pub fn bytes(&self) -> u64 {
        let objects: u64 = self.objects.iter().map(|(_, object)| 1 << object.physical_size_bits()).sum();
        // The small ones come before the pages, so their last page is begun once.
        (objects.next_multiple_of(PAGE as u64) + (self.pages * PAGE) as u64).next_multiple_of(STEP)
    }

    /// Log2 of the largest object's bytes: no piece of the arena that is larger than that needs to be in one piece.
    pub fn largest(&self) -> u8 {
        self.objects.first().map_or(PAGE.ilog2() as u8, |(_, object)| object.physical_size_bits() as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{self, VmSlots, vmm_need};
    use crate::pieces::chunks;

    /// Makes objects in pieces as the kernel does: in the first that has room behind its watermark, aligned.
    struct Arena(Vec<(u64, u64)>);

    impl Arena {
        fn new(pieces: &[u8]) -> Self {
            Self(pieces.iter().map(|bits| (0, 1 << bits)).collect())
        }
        fn make(&mut self, bits: usize) -> bool {
            let size = 1u64 << bits;
            self.0.iter_mut().any(|(watermark, end)| {
                let start = watermark.next_multiple_of(size);
                let fits = start + size <= *end;
                if fits {
                    *watermark = start + size;
                }
                fits
            })
        }
        fn hold(&mut self, need: &Need) -> bool {
            let mut objects = need.objects.iter().map(|(_, object)| object.physical_size_bits());
            objects.all(|bits| self.make(bits)) && (0..need.pages).all(|_| self.make(12))
        }
    }

    /// As the root task cuts them when large pieces are missing.
    fn halved(mut pieces: Vec<u8>, down_to: u8) -> Vec<u8> {
        let mut cut = Vec::new();
        while let Some(bits) = pieces.pop() {
            if bits > down_to { pieces.extend([bits - 1; 2]) } else { cut.push(bits) }
        }
        cut.sort_by_key(|bits| Reverse(*bits));
        cut
    }

    fn check(image_pages: usize, memory: u64, slots: &VmSlots) {
        let need = vmm_need(image_pages, 1, memory, slots);
        let pieces = chunks(need.bytes(), 30, 12);
        let what = (image_pages, memory >> 20, slots.devices.len());
        assert!(Arena::new(&pieces).hold(&need), "{what:?}");
        assert!(Arena::new(&halved(pieces, need.largest())).hold(&need), "{what:?}, in small pieces");
    }

    #[test]
    fn an_arena_holds_what_it_was_made_for() {
        let sizes = (2..=514).step_by(2).chain([1022, 1024, 1026, 1538, 2048, 3070, 3072]);
        for memory in sizes.map(|mib: u64| mib << 20) {
            for vectors in [&[][..], &[1], &[4], &[32], &[4, 4], &[32, 1, 32], &[32; 8]] {
                for io_levels in [0, 3, 4] {
                    let devices: Vec<_> = vectors.iter().map(|count| (*count, Vec::new())).collect();
                    let slots = layout::vm(memory, &devices, io_levels);
                    (20..60).step_by(3).for_each(|image_pages| check(image_pages, memory, &slots));
                }
            }
        }
    }

    #[test]
    fn every_part_of_an_arena_is_counted() {
        let shared = Shared { bars: 10, irqs: 6, dma: 7 };
        let need = Need::new(9, 17, Some(shared), 40);
        let bits: Vec<_> = need.objects.iter().map(|(_, object)| object.physical_size_bits()).collect();
        assert_eq!(bits, [17, 15, 14, 12, 12, 11, 11, 11, 9, 6, 5]);
        assert_eq!(need.largest(), 17);
        let exact = (128 + 32 + 16 + 4 + 4 + 8 + 160) << 10;
        assert_eq!(need.bytes(), u64::next_multiple_of(exact, STEP));
        // One page less than it takes is too little.
        let tight = Need { pages: (need.bytes() as usize - (exact as usize)) / PAGE + need.pages, ..need };
        let pieces = chunks(tight.bytes(), 30, 12);
        assert!(Arena::new(&pieces).hold(&tight));
        assert!(!Arena::new(&pieces).hold(&Need { pages: tight.pages + 1, ..tight }));
    }
}
