// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::recorder::Event::{self, Drain, Flush, Store, Submit, Wait, Zero};
use crate::recorder::Recorder;

/// As QEMU's unit: walks aren't coherent, absent entries aren't cached.
const PLAIN: Traits = Traits {
    coherent_walks: false,
    caching_mode: false,
    write_buffer: false,
    drain_reads: true,
    drain_writes: true,
    page_selective: Some(18),
};
const COHERENT: Traits = Traits { coherent_walks: true, ..PLAIN };
const CACHING: Traits = Traits { caching_mode: true, ..PLAIN };
const BUFFERED: Traits = Traits { write_buffer: true, ..PLAIN };

const CONTEXTS: u64 = 0x1_0000;
const ROOT: u64 = 0x2_0000;
const MIDDLE: u64 = 0x3_0000;
const LAST: u64 = 0x4_0000;
const IRT: u64 = 0x5_0000;
const REQUESTER: u16 = 0x0108;
const CONTEXT: u64 = CONTEXTS + 0x80;
const SPACE: Space = Space { domain: 7, root: ROOT, levels: 3, address_bits: 39 };
/// Entry 1 of every table.
const IOVA: u64 = 1 << 30 | 1 << 21 | 1 << 12;

fn iotlb(scope: IotlbScope) -> Event {
    Submit(Descriptor::Iotlb { scope, drain_reads: true, drain_writes: true })
}

fn pages(iova: u64, mask: u8) -> Event {
    iotlb(IotlbScope::Pages { domain: 7, iova, mask })
}

/// A recorder whose space has all tables for [`IOVA`], and no events.
fn with_tables(traits: Traits) -> Recorder {
    let mut recorder = Recorder::default();
    let mut changes = Changes::new(&mut recorder, traits);
    changes.set_context(CONTEXTS, REQUESTER, SPACE);
    assert_eq!(changes.map_table(SPACE, IOVA, MIDDLE), Ok(2));
    assert_eq!(changes.map_table(SPACE, IOVA, LAST), Ok(1));
    recorder.take();
    recorder
}

#[test]
fn a_context_is_set_with_its_present_half_last() {
    let set = |traits| {
        let mut recorder = Recorder::default();
        Changes::new(&mut recorder, traits).set_context(CONTEXTS, REQUESTER, SPACE);
        recorder.take()
    };
    let (high, low) = (Store(CONTEXT + 8, 0x701), Store(CONTEXT, ROOT | 1));
    assert_eq!(set(PLAIN), [Flush(ROOT, 4096), high, low, Flush(CONTEXT, 16)]);
    assert_eq!(set(COHERENT), [high, low]);
    assert_eq!(set(BUFFERED), [Flush(ROOT, 4096), high, low, Flush(CONTEXT, 16), Drain]);
    assert_eq!(
        set(CACHING),
        [
            Flush(ROOT, 4096),
            high,
            low,
            Flush(CONTEXT, 16),
            Submit(Descriptor::ContextDevice { domain: 0, requester: REQUESTER }),
            Wait,
            iotlb(IotlbScope::Domain(7)),
            Wait,
        ]
    );
}

#[test]
fn a_context_is_cleared_with_its_present_half_first_and_waited_for() {
    let mut recorder = with_tables(PLAIN);
    let cleared = Changes::new(&mut recorder, PLAIN).clear_context(CONTEXTS, REQUESTER);
    assert_eq!(cleared, Some((7, ROOT)));
    assert_eq!(
        recorder.take(),
        [
            Store(CONTEXT, 0),
            Store(CONTEXT + 8, 0),
            Flush(CONTEXT, 16),
            Submit(Descriptor::ContextDevice { domain: 7, requester: REQUESTER }),
            Wait,
            iotlb(IotlbScope::Domain(7)),
            Wait,
        ]
    );
    assert_eq!(Changes::new(&mut recorder, PLAIN).clear_context(CONTEXTS, REQUESTER), None);
    assert_eq!(recorder.take(), []);
}

#[test]
fn a_table_is_flushed_before_it_is_linked() {
    let mut recorder = Recorder::default();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert_eq!(changes.map_table(SPACE, IOVA, MIDDLE), Ok(2));
    assert_eq!(recorder.take(), [Flush(MIDDLE, 4096), Store(ROOT + 8, MIDDLE | 3), Flush(ROOT + 8, 8)]);
    let mut changes = Changes::new(&mut recorder, CACHING);
    assert_eq!(changes.map_table(SPACE, IOVA, LAST), Ok(1));
    assert_eq!(
        recorder.take(),
        [Flush(LAST, 4096), Store(MIDDLE + 8, LAST | 3), Flush(MIDDLE + 8, 8), pages(IOVA, 9), Wait]
    );
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert_eq!(changes.map_table(SPACE, IOVA, 0x9000), Err(Conflict::Occupied));
    assert_eq!(changes.map_table(SPACE, 1 << 39, 0x9000), Err(Conflict::OutOfRange));
    assert_eq!(recorder.take(), []);
}

#[test]
fn a_table_is_emptied_only_after_the_wait() {
    let mut recorder = with_tables(PLAIN);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert!(changes.unmap_table(SPACE, IOVA, 1, LAST));
    assert_eq!(
        recorder.take(),
        [Store(MIDDLE + 8, 0), Flush(MIDDLE + 8, 8), pages(IOVA, 9), Wait, Zero(LAST)]
    );
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert!(changes.unmap_table(SPACE, IOVA, 2, MIDDLE));
    assert_eq!(
        recorder.take(),
        [Store(ROOT + 8, 0), Flush(ROOT + 8, 8), pages(IOVA, 18), Wait, Zero(MIDDLE)]
    );
}

#[test]
fn a_parked_table_is_invalidated_and_waited_for_and_comes_back_as_it_was() {
    let mut recorder = with_tables(PLAIN);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    changes.map_frame(SPACE, IOVA, 0x8000, 1, Access::READ_WRITE).expect("there is room");
    recorder.take();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert!(changes.park_table(SPACE, IOVA, 1, LAST));
    assert_eq!(recorder.take(), [Store(MIDDLE + 8, LAST), Flush(MIDDLE + 8, 8), pages(IOVA, 9), Wait]);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert_eq!(
        changes.map_frame(SPACE, IOVA, 0x9000, 1, Access::READ_WRITE),
        Err(Conflict::Missing { level: 1 })
    );
    assert_eq!(changes.comes_back(SPACE, IOVA, LAST), Ok(true));
    assert_eq!(changes.comes_back(SPACE, IOVA, 0x9000), Ok(false));
    assert_eq!(changes.comes_back(SPACE, 2 << 30, LAST), Ok(false));
    assert_eq!(changes.map_table(SPACE, IOVA, LAST), Ok(1));
    assert_eq!(recorder.take(), [Store(MIDDLE + 8, LAST | 3), Flush(MIDDLE + 8, 8)]);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert!(changes.park_table(SPACE, IOVA, 1, LAST));
    assert!(changes.unmap_frame(SPACE, IOVA, 0x8000, 1), "a frame is found in a parked table");
    recorder.take();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert!(!changes.park_table(SPACE, IOVA, 1, 0x9000));
    assert_eq!(recorder.take(), [Zero(0x9000)], "what isn't there is emptied");
}

#[test]
fn a_table_that_is_no_longer_linked_is_emptied_too() {
    let mut recorder = with_tables(PLAIN);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    // Another table has its place.
    assert!(!changes.unmap_table(SPACE, IOVA, 1, 0x9000));
    assert_eq!(recorder.take(), [Zero(0x9000)]);
}

#[test]
fn a_frame_is_mapped_by_one_store() {
    let mut recorder = with_tables(PLAIN);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert_eq!(changes.map_frame(SPACE, IOVA, 0x7000, 1, Access::READ_WRITE), Ok(()));
    assert_eq!(recorder.take(), [Store(LAST + 8, 0x7003), Flush(LAST + 8, 8)]);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert_eq!(changes.map_frame(SPACE, IOVA, 0x8000, 1, Access::READ_WRITE), Err(Conflict::Occupied));
    assert_eq!(recorder.take(), []);

    let mut recorder = with_tables(COHERENT);
    let mut changes = Changes::new(&mut recorder, COHERENT);
    let read = Access { read: true, write: false };
    assert_eq!(changes.map_frame(SPACE, IOVA + (1 << 21), 0x20_0000, 2, read), Ok(()));
    assert_eq!(recorder.take(), [Store(MIDDLE + 16, 0x20_0081)]);

    let mut recorder = with_tables(CACHING);
    let mut changes = Changes::new(&mut recorder, CACHING);
    assert_eq!(changes.map_frame(SPACE, IOVA, 0x7000, 1, Access::READ_WRITE), Ok(()));
    assert_eq!(recorder.take(), [Store(LAST + 8, 0x7003), Flush(LAST + 8, 8), pages(IOVA, 0), Wait]);
}

#[test]
fn a_frame_is_unmapped_flushed_invalidated_and_waited_for() {
    for (traits, drain) in [(PLAIN, false), (BUFFERED, true)] {
        let mut recorder = with_tables(traits);
        let mut changes = Changes::new(&mut recorder, traits);
        changes.map_frame(SPACE, IOVA, 0x7000, 1, Access::READ_WRITE).unwrap();
        recorder.take();
        let mut changes = Changes::new(&mut recorder, traits);
        assert!(!changes.unmap_frame(SPACE, IOVA, 0x8000, 1), "another frame's mapping was taken away");
        assert!(!changes.unmap_frame(SPACE, IOVA, 0x7000, 2), "a table was taken for a leaf");
        assert!(changes.unmap_frame(SPACE, IOVA, 0x7000, 1));
        let mut expected = vec![Store(LAST + 8, 0), Flush(LAST + 8, 8)];
        if drain {
            expected.push(Drain);
        }
        expected.extend([pages(IOVA, 0), Wait]);
        assert_eq!(recorder.take(), expected);
        let mut changes = Changes::new(&mut recorder, traits);
        assert!(!changes.unmap_frame(SPACE, IOVA, 0x7000, 1));
        assert_eq!(recorder.take(), []);
    }
}

#[test]
fn large_frames_are_invalidated_whole_and_by_domain_where_pages_cannot_be_named() {
    let mut recorder = with_tables(PLAIN);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    let (two, four) = (IOVA + (1 << 21), 2 << 30);
    changes.map_frame(SPACE, two, 0x20_0000, 2, Access::READ_WRITE).unwrap();
    changes.map_frame(SPACE, four, 0x4000_0000, 3, Access::READ_WRITE).unwrap();
    // A large leaf is in the way of smaller pages and tables.
    assert_eq!(changes.map_frame(SPACE, four, 0x7000, 1, Access::READ_WRITE), Err(Conflict::Occupied));
    assert_eq!(changes.map_table(SPACE, four, 0x9000), Err(Conflict::Occupied));
    recorder.take();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    assert!(changes.unmap_frame(SPACE, two, 0x20_0000, 2));
    assert!(changes.unmap_frame(SPACE, four, 0x4000_0000, 3));
    assert_eq!(
        recorder.take(),
        [
            Store(MIDDLE + 16, 0),
            Flush(MIDDLE + 16, 8),
            pages(two, 9),
            Wait,
            Store(ROOT + 16, 0),
            Flush(ROOT + 16, 8),
            pages(four, 18),
            Wait,
        ]
    );
    let narrow = Traits { page_selective: None, drain_reads: false, ..PLAIN };
    let mut changes = Changes::new(&mut recorder, narrow);
    changes.map_frame(SPACE, two, 0x20_0000, 2, Access::READ_WRITE).unwrap();
    changes.unmap_frame(SPACE, two, 0x20_0000, 2);
    let by_domain =
        Descriptor::Iotlb { scope: IotlbScope::Domain(7), drain_reads: false, drain_writes: true };
    assert_eq!(recorder.take()[4..], [Submit(by_domain), Wait]);
}

#[test]
fn missing_levels_and_reach_are_told() {
    let mut recorder = Recorder::default();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    let mut map = |iova, level| changes.map_frame(SPACE, iova, 0x4000_0000, level, Access::READ_WRITE);
    assert_eq!(map(IOVA, 1), Err(Conflict::Missing { level: 2 }));
    assert_eq!(map(IOVA, 2), Err(Conflict::Missing { level: 2 }));
    assert_eq!(map(0, 3), Ok(()));
    assert_eq!(map(1 << 39, 1), Err(Conflict::OutOfRange));
    assert_eq!(map((1 << 39) - (1 << 21), 3), Err(Conflict::OutOfRange));
    assert_eq!(map(!0xfff, 1), Err(Conflict::OutOfRange));
    let mut recorder = with_tables(PLAIN);
    let mut changes = Changes::new(&mut recorder, PLAIN);
    let missing = changes.map_frame(SPACE, 1 << 30, 0x7000, 1, Access::READ_WRITE);
    assert_eq!(missing, Err(Conflict::Missing { level: 1 }));
}

#[test]
fn four_levels_take_one_table_more() {
    let space = Space { levels: 4, address_bits: 48, ..SPACE };
    let mut recorder = Recorder::default();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    let iova = 1 << 39 | IOVA;
    let levels: Vec<_> = [0xa000, 0xb000, 0xc000, 0xd000]
        .into_iter()
        .map(|table| changes.map_table(space, iova, table))
        .collect();
    assert_eq!(levels, [Ok(3), Ok(2), Ok(1), Err(Conflict::Occupied)]);
    assert_eq!(changes.map_frame(space, iova, 0x7000, 1, Access::READ_WRITE), Ok(()));
    assert!(changes.unmap_table(space, iova, 3, 0xa000));
    assert!(!changes.unmap_frame(space, iova, 0x7000, 1));
    // 512 GiB can't be named in one page-selective invalidation.
    assert!(recorder.take().ends_with(&[iotlb(IotlbScope::Domain(7)), Wait, Zero(0xa000)]));
}

#[test]
fn an_interrupt_entry_knows_its_source_before_it_is_present() {
    let irte = Irte::new(0x0100, 0x41, 0, false);
    let at = IRT + 0x30;
    for (traits, tail) in [
        (PLAIN, vec![]),
        (CACHING, vec![Submit(Descriptor::InterruptEntry { index: 3 }), Wait]),
        (BUFFERED, vec![Drain]),
    ] {
        let mut recorder = Recorder::default();
        Changes::new(&mut recorder, traits).set_irte(IRT, 3, irte);
        let mut expected = vec![Store(at + 8, irte.high), Store(at, irte.low), Flush(at, 16)];
        expected.extend(tail);
        assert_eq!(recorder.take(), expected);
    }
}

#[test]
fn an_interrupt_entry_is_cleared_invalidated_and_waited_for() {
    let mut recorder = Recorder::default();
    let at = IRT + 0x30;
    let mut changes = Changes::new(&mut recorder, PLAIN);
    changes.set_irte(IRT, 3, Irte::new(0x0100, 0x41, 0, false));
    changes.clear_irte(IRT, 3);
    assert!(!changes.irte(IRT, 3).is_taken());
    let invalidate = Submit(Descriptor::InterruptEntry { index: 3 });
    assert_eq!(recorder.take()[3..], [Store(at, 0), Store(at + 8, 0), Flush(at, 16), invalidate, Wait]);
}

#[test]
fn blocking_keeps_the_entry_and_waits_and_unblocking_needs_no_wait() {
    let mut recorder = Recorder::default();
    let irte = Irte::new(0x0100, 0x41, 0, false);
    let at = IRT + 0x30;
    let mut changes = Changes::new(&mut recorder, PLAIN);
    changes.set_irte(IRT, 3, irte);
    changes.block_irte(IRT, 3, false);
    changes.block_irte(IRT, 4, true);
    changes.block_irte(IRT, 4, false);
    changes.block_irte(IRT, 3, true);
    changes.block_irte(IRT, 3, true);
    assert!(changes.irte(IRT, 3).is_taken() && !changes.irte(IRT, 3).is_present());
    changes.block_irte(IRT, 3, false);
    assert_eq!(changes.irte(IRT, 3), irte);
    assert_eq!(
        recorder.take()[3..],
        [
            Store(at, irte.low & !1),
            Flush(at, 8),
            Submit(Descriptor::InterruptEntry { index: 3 }),
            Wait,
            Store(at, irte.low),
            Flush(at, 8),
        ]
    );
}

#[test]
fn start_up_forgets_contexts_before_translations() {
    let mut recorder = Recorder::default();
    let mut changes = Changes::new(&mut recorder, PLAIN);
    changes.forget_all_dma();
    changes.forget_all_interrupts();
    assert_eq!(
        recorder.take(),
        [
            Submit(Descriptor::ContextGlobal),
            Wait,
            iotlb(IotlbScope::Global),
            Wait,
            Submit(Descriptor::InterruptGlobal),
            Wait,
        ]
    );
}

/// Whatever the unit, no invalidation is asked for while a store waits in a cache, and nothing that was submitted is
/// left without a wait.
#[test]
fn stores_reach_memory_before_invalidations_and_every_invalidation_is_waited_for() {
    for bits in 0..8 {
        let traits = Traits {
            coherent_walks: bits & 1 != 0,
            caching_mode: bits & 2 != 0,
            write_buffer: bits & 4 != 0,
            ..PLAIN
        };
        let mut recorder = Recorder::default();
        let mut changes = Changes::new(&mut recorder, traits);
        changes.set_context(CONTEXTS, REQUESTER, SPACE);
        changes.map_table(SPACE, IOVA, MIDDLE).unwrap();
        changes.map_table(SPACE, IOVA, LAST).unwrap();
        changes.map_frame(SPACE, IOVA, 0x7000, 1, Access::READ_WRITE).unwrap();
        changes.unmap_frame(SPACE, IOVA, 0x7000, 1);
        changes.unmap_table(SPACE, IOVA, 1, LAST);
        changes.unmap_table(SPACE, IOVA, 2, MIDDLE);
        changes.set_irte(IRT, 1, Irte::new(1, 0x50, 0, true));
        changes.block_irte(IRT, 1, true);
        changes.clear_irte(IRT, 1);
        changes.clear_context(CONTEXTS, REQUESTER);
        let (mut dirty, mut buffered, mut pending) = (Vec::new(), false, false);
        for event in recorder.take() {
            match event {
                Store(address, _) => {
                    assert!(!pending, "a store overtook an invalidation");
                    dirty.push(address);
                    buffered = true;
                }
                Flush(address, bytes) => dirty.retain(|&d| d < address || d >= address + bytes),
                Drain => buffered = false,
                Submit(_) => {
                    assert!(traits.coherent_walks || dirty.is_empty(), "{dirty:x?} not flushed");
                    assert!(!traits.write_buffer || !buffered, "the write buffer was not drained");
                    pending = true;
                }
                Wait => pending = false,
                Zero(_) => assert!(!pending, "a table was emptied before the wait"),
            }
        }
        assert!(!pending, "an invalidation was never waited for");
    }
}
