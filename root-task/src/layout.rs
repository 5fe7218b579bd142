// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things lie: addresses of a part, slots of its CNodes, and what a VM takes beside its RAM.

use alloc::vec::Vec;

use protocol::start::slot;

use crate::need::{Need, Shared};
use crate::regions::Extent;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes of a large page, the granule of guest RAM.
pub const LARGE: u64 = 2 << 20;

/// Lowest address of a part's image.
pub const IMAGE_START: usize = 0x40_0000;
/// First address behind a part's image area.
pub const IMAGE_END: usize = 0x1000_0000;
/// The start page's region.
pub const START_PAGE: usize = 0x1000_0000;
/// The IPC buffer's page.
pub const IPC_BUFFER: usize = 0x1000_8000;
/// What a server finds again after its death: 64 KiB behind the start page, far below the stack's guard page.
pub const KEPT: usize = 0x1001_0000;
/// Pages of that.
pub const fn kept_pages(client: u64) -> usize {
    protocol::kept::bytes(client) / PAGE
}
/// The first address behind the stack.
pub const STACK_TOP: usize = 0x1012_0000;
/// Pages of a stack.
pub const STACK_PAGES: usize = 16;
/// Pages of the largest stack that fits above its guard page: pci-server's, whose tables are large.
pub const LARGE_STACK_PAGES: usize = 31;
/// The part's own log ring.
pub const RING: usize = 0x1020_0000;
/// Pages of a ring.
pub const RING_PAGES: usize = protocol::ring::RING_BYTES / PAGE;
/// Device registers and other parts' rings.
pub const DEVICES: usize = 0x2000_0000;
/// The large window: configuration space in pci-server, guest RAM in a VMM.
pub const WINDOW: usize = 0x40_0000_0000;

/// Log2 of the slots of a part's root CNode.
pub const ROOT_RADIX: usize = 6;
/// Bits of an index in a second-level CNode, guard included.
pub const INDEX_BITS: usize = 16;

/// Slots for the frames of one device's BARs: 2 MiB of 4 KiB pages, or 1 GiB of large ones.
pub const BAR_SLOTS: u16 = 512;
/// Slots for the ports of one device's BARs, behind those.
pub const PORT_SLOTS: u16 = 6;
/// Vectors of a device whose description names no number.
pub const DEFAULT_VECTORS: u8 = protocol::pci::DEFAULT_VECTORS as u8;
/// Slots that a VMM fills itself: VCPU, nested tables, badged notifications.
pub const VMM_EMPTY_SLOTS: usize = 384;
/// Slots of a VMM for what isn't counted elsewhere: endpoints and the like.
const VMM_OTHER_SLOTS: usize = 16;

/// Log2 of the slots of a CNode that has at least `slots`.
pub const fn radix(slots: usize) -> usize {
    if slots <= 2 { 1 } else { (slots - 1).ilog2() as usize + 1 }
}

/// A run of slots in some CNode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// The first.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// Hands out runs of slots one behind the other.
#[derive(Debug)]
struct Counter(usize);

impl Counter {
    fn run(&mut self, count: usize) -> Run {
        self.0 += count;
        Run { first: self.0 - count, count }
    }
}

/// Slots that belong to one device of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceSlots {
    /// In `bars`: its BAR frames.
    pub bars: Run,
    /// In `irqs`: its handlers.
    pub irqs: Run,
    /// In `dma`: its I/O page tables.
    pub tables: Run,
    /// In `dma`: frame copies of all RAM.
    pub frames: Run,
    /// In `dma`: frames of memory that firmware reserves for it, region after region.
    pub regions: Run,
    /// In `dma`: the original handlers.
    pub handlers: Run,
}

/// The capability spaces of a VM. Slot 0 of the shared CNodes stays empty, so that no address is the null capability's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmSlots {
    /// In the VMM's own CNode: unmapped copies of the RAM frames.
    pub nested: Run,
    /// In the VMM's own CNode: the RAM frames as its address space has them.
    pub mapped: Run,
    /// Log2 of the slots of the VMM's own CNode.
    pub own_radix: usize,
    /// The devices', in the description's order.
    pub devices: Vec<DeviceSlots>,
    /// The CNodes that they need.
    pub shared: Option<Shared>,
}

/// Lays out a VM with `memory` bytes of RAM, whose devices show so many vectors each and go on reaching these regions, on a
/// machine whose I/O page tables have `io_levels` levels.
pub fn vm(memory: u64, devices: &[(u8, Vec<Extent>)], io_levels: u64) -> VmSlots {
    let frames = (memory / LARGE) as usize;
    let mut own = Counter(slot::FIRST_DYNAMIC as usize + VMM_OTHER_SLOTS + VMM_EMPTY_SLOTS);
    let (nested, mapped) = (own.run(frames), own.run(frames));
    let (mut bars, mut irqs, mut dma) = (Counter(1), Counter(1), Counter(1));
    let devices: Vec<_> = devices
        .iter()
        .map(|(vectors, regions)| DeviceSlots {
            bars: bars.run((BAR_SLOTS + PORT_SLOTS).into()),
            irqs: irqs.run((*vectors).into()),
            tables: dma.run(
                io_tables(memory, io_levels)
                    + regions.iter().map(|region| region.tables(io_levels)).sum::<usize>(),
            ),
            frames: dma.run(frames),
            regions: dma.run(regions.iter().map(|region| region.count).sum()),
            handlers: dma.run((*vectors).into()),
        })
        .collect();
    VmSlots {
        nested,
        mapped,
        own_radix: radix(own.0),
        shared: (!devices.is_empty()).then(|| Shared {
            bars: radix(bars.0),
            irqs: radix(irqs.0),
            dma: radix(dma.0),
        }),
        devices,
    }
}

/// I/O page tables that map `memory` bytes from IOVA 0 with leaves of 2 MiB: tables of the levels 2 to `levels`.
pub fn io_tables(memory: u64, levels: u64) -> usize {
    (2..=levels).map(|level| memory.div_ceil(1 << (12 + 9 * level)) as usize).sum()
}

/// Bytes of the part's own untyped in a VMM: VCPU, permission map, nested tables for RAM and BARs.
pub fn vmm_untyped_bits(memory: u64) -> u8 {
    // A nested table per GiB of RAM; the rest stays the same.
    if memory > 1 << 30 { 18 } else { 17 }
}

/// Frames and tables of a part whose image has `image_pages` in `image_tables` regions of 2 MiB.
fn process_pages(image_pages: usize, image_tables: usize, stack_pages: usize) -> usize {
    let start_pages = protocol::start::MAX_BYTES / PAGE;
    // PDPT, page directory; page tables of start page and stack, of the ring, of devices; one to spare.
    let tables = 6;
    image_pages + image_tables + stack_pages + start_pages + 1 + tables
}

/// What a server is made of.
pub fn server_need(
    image_pages: usize,
    image_tables: usize,
    stack_pages: usize,
    own_radix: usize,
    untyped_bits: u8,
    kept_pages: usize,
) -> Need {
    let pages = process_pages(image_pages, image_tables, stack_pages) + kept_pages;
    Need::new(own_radix, untyped_bits, None, pages)
}

/// What a VM takes beside its RAM and its log ring.
pub fn vmm_need(image_pages: usize, image_tables: usize, memory: u64, slots: &VmSlots) -> Need {
    let mut pages = process_pages(image_pages, image_tables, STACK_PAGES);
    // Page directories of the window, the top of the nested tables.
    pages += memory.div_ceil(1 << 30) as usize + 1;
    pages += slots.devices.iter().map(|device| device.tables.count).sum::<usize>();
    Need::new(slots.own_radix, vmm_untyped_bits(memory), slots.shared, pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn radices() {
        assert_eq!((radix(1), radix(2), radix(3), radix(64), radix(65)), (1, 1, 2, 6, 7));
    }

    #[test]
    fn io_tables_of_64_mib() {
        assert_eq!(io_tables(64 << 20, 3), 2);
        assert_eq!(io_tables(64 << 20, 4), 3);
        assert_eq!(io_tables(3 << 30, 3), 4);
        assert_eq!(io_tables(64 << 20, 0), 0);
    }

    #[test]
    fn runs_are_disjoint_and_fit() {
        let region = Extent { base: 0x7000_0000, size_bits: 12, count: 5 };
        let slots = vm(64 << 20, &[(4, Vec::from([region; 2])), (32, Vec::new())], 3);
        assert_eq!((slots.nested.count, slots.mapped.count), (32, 32));
        assert_eq!(slots.nested.first + 32, slots.mapped.first);
        assert!(slots.mapped.first + 32 <= 1 << slots.own_radix);
        let [a, b] = slots.devices[..] else { panic!() };
        assert_eq!((a.bars.first, b.bars.first), (1, 519));
        assert_eq!((a.irqs, b.irqs), (Run { first: 1, count: 4 }, Run { first: 5, count: 32 }));
        assert_eq!((a.regions.count, b.regions.count), (10, 0));
        assert_eq!((a.tables.count, b.tables.count), (2 + 2 * 3, 2));
        let dma = [a.tables, a.frames, a.regions, a.handlers, b.tables, b.frames, b.regions, b.handlers];
        for pair in dma.windows(2) {
            assert_eq!(pair[0].first + pair[0].count, pair[1].first);
        }
        assert!(b.handlers.first + b.handlers.count <= 1 << slots.shared.unwrap().dma);
    }

    #[test]
    fn a_vm_of_64_mib_costs_less_than_a_mib() {
        let slots = vm(64 << 20, &[(32, Vec::new())], 4);
        // An image of 300 KiB.
        assert!(vmm_need(75, 1, 64 << 20, &slots).bytes() <= 1 << 20);
        let large = vm(3 << 30, &[const { (32, Vec::new()) }; 8], 4);
        assert!(vmm_need(75, 1, 3 << 30, &large).bytes() < 4 << 20);
    }
}
