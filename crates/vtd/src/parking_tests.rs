// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random sequences of what user level does with tables and frames, against a model: a device reaches a frame exactly while it is mapped in a table
//! that is in reach and kept its entries since.
//!
//! Capabilities behave as the kernel's do: a mapped or parked table remembers its place, a frame where it was mapped.

use std::collections::HashMap;

use crate::changes::Changes;
use crate::descriptor::{Descriptor, IotlbScope};
use crate::pte::Access;
use crate::recorder::{Event, Recorder};
use crate::{Space, Traits};

const TRAITS: Traits = Traits {
    coherent_walks: true,
    caching_mode: false,
    write_buffer: false,
    drain_reads: false,
    drain_writes: false,
    page_selective: Some(18),
};
const LEVELS: u8 = 3;
const REQUESTERS: usize = 2;
const TABLES: usize = 9;
const FRAMES: usize = 6;
const CONTEXTS: u64 = 0x100_0000;
/// Two entries of every table are used.
const PAGES: [u64; 8] = {
    let mut pages = [0; 8];
    let mut i = 0;
    while i < 8 {
        pages[i as usize] = (i >> 2 & 1) << 30 | (i >> 1 & 1) << 21 | (i & 1) << 12;
        i += 1;
    }
    pages
};

fn table_at(table: usize) -> u64 {
    0x1_0000 + table as u64 * 0x1000
}

fn frame_at(frame: usize) -> u64 {
    0x8_0000 + frame as u64 * 0x1000
}

/// What a table's capability says.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct TableCap {
    level: u8,
    place: Option<(usize, u64)>,
    parked: bool,
}

/// The model: what every table holds, as it has to be.
#[derive(Clone, Default)]
struct Content {
    /// Entry to table, and whether that is in reach from this one.
    tables: HashMap<u64, (usize, bool)>,
    frames: HashMap<u64, usize>,
}

struct World {
    recorder: Recorder,
    roots: [Option<usize>; REQUESTERS],
    tables: [TableCap; TABLES],
    frames: [Option<(usize, u64)>; FRAMES],
    model: Vec<Content>,
    /// What a unit may have cached: requester and page to frame.
    cached: HashMap<(usize, u64), u64>,
    revived: u32,
}

fn index(level: u8, iova: u64) -> u64 {
    iova >> (12 + 9 * (level - 1)) & 0x1ff
}

impl World {
    fn new() -> Self {
        Self {
            recorder: Recorder::default(),
            roots: [None; REQUESTERS],
            tables: [TableCap::default(); TABLES],
            frames: [None; FRAMES],
            model: vec![Content::default(); TABLES],
            cached: HashMap::new(),
            revived: 0,
        }
    }

    fn space(&self, requester: usize) -> Option<Space> {
        let root = table_at(self.roots[requester]?);
        Some(Space { domain: 1 + requester as u16, root, levels: LEVELS, address_bits: 39 })
    }

    fn changes(&mut self) -> Changes<'_, Recorder> {
        Changes::new(&mut self.recorder, TRAITS)
    }

    fn clear(&mut self, requester: usize) {
        if self.roots[requester].take().is_some() {
            self.changes().clear_context(CONTEXTS, requester as u16);
        }
    }

    /// The model's table of `level` on the way to `iova`, by tables in reach or by all.
    fn model_table(&self, requester: usize, iova: u64, level: u8, all: bool) -> Option<usize> {
        let mut table = self.roots[requester]?;
        for at in (level + 1..=LEVELS).rev() {
            let &(next, live) = self.model[table].tables.get(&index(at, iova))?;
            if !live && !all {
                return None;
            }
            table = next;
        }
        Some(table)
    }

    /// As the kernel does it: taken out of wherever it is mapped or parked, and emptied.
    fn end_table(&mut self, table: usize) {
        let cap = std::mem::take(&mut self.tables[table]);
        let Some((requester, iova)) = cap.place else { return };
        match self.space(requester) {
            Some(space) if space.root == table_at(table) => {
                self.clear(requester);
                self.changes().empty_table(table_at(table));
            }
            Some(space) if cap.level < LEVELS => {
                self.changes().unmap_table(space, iova, cap.level, table_at(table));
                if let Some(above) = self.model_table(requester, iova, cap.level + 1, true) {
                    self.model[above].tables.retain(|_, (t, _)| *t != table);
                }
            }
            _ => self.changes().empty_table(table_at(table)),
        }
        self.model[table] = Content::default();
    }

    fn map_table(&mut self, table: usize, requester: usize, iova: u64) {
        let cap = self.tables[table];
        if cap.place.is_some() && !cap.parked {
            return;
        }
        let address = table_at(table);
        if cap.parked {
            let back = match self.space(requester) {
                Some(space) => self.changes().comes_back(space, iova, address),
                None => Ok(false),
            };
            match back {
                Err(_) => return,
                Ok(true) => self.revived += 1,
                Ok(false) => self.end_table(table),
            }
        }
        let level = match self.space(requester) {
            None => {
                let space =
                    Space { domain: 1 + requester as u16, root: address, levels: LEVELS, address_bits: 39 };
                self.roots[requester] = Some(table);
                self.changes().set_context(CONTEXTS, requester as u16, space);
                LEVELS
            }
            Some(space) => match self.changes().map_table(space, iova, address) {
                Ok(level) => level,
                Err(_) => return,
            },
        };
        if level < LEVELS {
            let above = self.model_table(requester, iova, level + 1, false).expect("the way is in reach");
            self.model[above].tables.insert(index(level + 1, iova), (table, true));
        }
        self.tables[table] = TableCap { level, place: Some((requester, iova)), parked: false };
    }

    fn unmap_table(&mut self, table: usize) {
        let cap = self.tables[table];
        let (Some((requester, iova)), false) = (cap.place, cap.parked) else { return };
        let address = table_at(table);
        let found = match self.space(requester) {
            Some(space) if space.root != address && cap.level < LEVELS => {
                self.changes().park_table(space, iova, cap.level, address)
            }
            _ => return self.end_table(table),
        };
        if found {
            self.tables[table].parked = true;
            let above = self.model_table(requester, iova, cap.level + 1, true).expect("it was found there");
            self.model[above].tables.insert(index(cap.level + 1, iova), (table, false));
        } else {
            self.tables[table] = TableCap::default();
            self.model[table] = Content::default();
        }
    }

    fn map_frame(&mut self, frame: usize, requester: usize, iova: u64) {
        let Some(space) = self.space(requester) else { return };
        if self.frames[frame].is_some() {
            return;
        }
        let mapped = self.changes().map_frame(space, iova, frame_at(frame), 1, Access::READ_WRITE).is_ok();
        let table = self.model_table(requester, iova, 1, false);
        let free = table.is_some_and(|t| !self.model[t].frames.contains_key(&index(1, iova)));
        assert_eq!(mapped, free, "whether there is a place");
        if let (true, Some(table)) = (mapped, table) {
            self.model[table].frames.insert(index(1, iova), frame);
            self.frames[frame] = Some((requester, iova));
        }
    }

    /// Unmapped or deleted: from then on the frame may be anybody's.
    fn unmap_frame(&mut self, frame: usize) {
        let Some((requester, iova)) = self.frames[frame].take() else { return };
        if let Some(space) = self.space(requester) {
            self.changes().unmap_frame(space, iova, frame_at(frame), 1);
        }
        self.model.iter_mut().for_each(|content| content.frames.retain(|_, f| *f != frame));
    }

    fn reached(&mut self, requester: usize, iova: u64) -> Option<u64> {
        let space = self.space(requester)?;
        let (_, leaf) = space.entry(&mut self.recorder, iova, 1).ok()?;
        leaf.is_present().then(|| leaf.address())
    }

    fn check(&mut self) {
        for event in self.recorder.take() {
            let Event::Submit(Descriptor::Iotlb { scope, .. }) = event else { continue };
            self.cached.retain(|&(requester, page), _| match scope {
                IotlbScope::Pages { domain, iova, mask } => {
                    usize::from(domain) != 1 + requester || (page ^ iova) >> (12 + mask) != 0
                }
                IotlbScope::Domain(domain) => usize::from(domain) != 1 + requester,
                IotlbScope::Global => false,
            });
        }
        let mut reached = HashMap::new();
        for requester in 0..REQUESTERS {
            for iova in PAGES {
                let expected = self
                    .model_table(requester, iova, 1, false)
                    .and_then(|t| self.model[t].frames.get(&index(1, iova)))
                    .copied();
                let frame = self.reached(requester, iova);
                assert_eq!(frame, expected.map(frame_at), "what requester {requester} reaches at {iova:#x}");
                let Some((number, frame)) = expected.zip(frame) else { continue };
                assert_eq!(
                    self.frames[number],
                    Some((requester, iova)),
                    "a frame that isn't mapped is in reach"
                );
                reached.insert((requester, iova), frame);
            }
        }
        for (what, frame) in &self.cached {
            assert_eq!(reached.get(what), Some(frame), "what was taken away is still cached");
        }
        // Devices use all that they reach.
        self.cached = reached;
    }
}

#[test]
fn frames_are_in_reach_exactly_while_mapped_whatever_is_parked() {
    let (mut revived, mut with_frames) = (0, 0);
    for seed in 1..=25u64 {
        let mut state = seed;
        let mut random = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        let mut w = World::new();
        for _ in 0..3000 {
            let (table, frame, requester) = (random(TABLES), random(FRAMES), random(16) / 12);
            let iova = PAGES[random(8)];
            let before = w.revived;
            match random(100) {
                0..45 => w.map_table(table, requester, iova),
                45..60 => w.unmap_table(table),
                60..62 => w.end_table(table),
                62..88 => w.map_frame(frame, requester, iova),
                88..94 => w.unmap_frame(frame),
                94 => w.clear(requester),
                // Parked and brought back.
                _ => {
                    if let Some((requester, iova)) = w.tables[table].place {
                        w.unmap_table(table);
                        w.check();
                        w.map_table(table, requester, iova);
                    }
                }
            }
            let cached = w.cached.len();
            w.check();
            if w.revived != before && w.cached.len() > cached {
                with_frames += 1;
            }
        }
        revived += w.revived;
    }
    assert!(
        revived > 1000 && with_frames > 100,
        "{revived} tables came back, {with_frames} of them with frames"
    );
}
