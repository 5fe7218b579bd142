// SPDX-License-Identifier: MIT OR Apache-2.0
//! [`Tlb`] against a model of a tagged translation cache that forgives nothing: it is endless, loses no entry by itself, and holds whatever
//! a guest could have had translated while it ran. A guest must never find in it what its tables don't say any more.

use std::collections::{HashMap, HashSet};

use crate::asid::Flush;
use crate::tlb::{Tag, Tlb, counter};

/// Guest-virtual pages; as many guest-physical ones.
const PAGES: u64 = 6;
/// Nested roots. The last one shares its counter with the first.
const ROOTS: [u64; 4] = [0x1000, 0x2000, 0x3000, sharing(0x1000)];
const VCPUS: usize = 6;
/// Sequences for each processor; more with the variable POSTERN_SEEDS.
const SEEDS: u64 = 20;
/// Steps of each.
const STEPS: u32 = 400;

/// Another root with the counter of this one.
const fn sharing(root: u64) -> u64 {
    let mut other = root + 0x1000;
    while counter(other) != counter(root) {
        other += 0x1000;
    }
    other
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// What the processor holds: by identifier and guest-virtual page, the frame.
#[derive(Default)]
struct Cache(HashMap<(u32, u64), u64>);

impl Cache {
    fn flush(&mut self, asid: u32, tlb_control: u32) {
        match tlb_control {
            0 => {}
            1 => self.0.clear(),
            3 => self.0.retain(|(tag, _), _| *tag != asid),
            other => panic!("TLB_CONTROL {other}"),
        }
    }
}

/// What a kernel could forget to say, each of which has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unmapped,
    RootGone,
    Refused,
    GuestTables,
}

struct Vcpu {
    tag: Tag,
    root: u64,
    /// Which of its own tables the guest uses.
    cr3: u64,
    asid: u32,
}

impl Vcpu {
    fn new(root: u64) -> Self {
        Self { tag: Tag::default(), root, cr3: 0, asid: 0 }
    }
}

/// How often what happened.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    entries: u32,
    renewals: u32,
    own: u32,
    all: u32,
}

struct World {
    random: Random,
    tlb: Tlb,
    asids: u32,
    by_asid: bool,
    fault: Option<Fault>,
    cache: Cache,
    /// Guest-physical page to frame, for each of the roots.
    tables: HashMap<u64, HashMap<u64, u64>>,
    vcpus: Vec<Vcpu>,
    frames: u64,
    /// Identifiers that may have something in the cache.
    used: HashSet<u32>,
    /// Nobody knows what is in it: at first, and after a refused entry that should have flushed everything.
    is_owed: bool,
    counts: Counts,
}

impl World {
    fn new(seed: u64, asids: u32, by_asid: bool, fault: Option<Fault>) -> Self {
        let mut cache = Cache::default();
        // Firmware ran guests; more identifiers than these aren't reached before everything is flushed.
        for asid in 0..asids.min(100) {
            cache.0.extend((0..PAGES).map(|page| ((asid, page), u64::MAX)));
        }
        Self {
            random: Random(seed * 2 + 1),
            tlb: Tlb::new(asids, by_asid),
            asids,
            by_asid,
            fault,
            cache,
            tables: ROOTS.into_iter().map(|root| (root, HashMap::new())).collect(),
            vcpus: (0..VCPUS).map(|n| Vcpu::new(ROOTS[n % ROOTS.len()])).collect(),
            frames: 0,
            used: (1..asids).collect(),
            is_owed: true,
            counts: Counts::default(),
        }
    }

    fn root(&mut self) -> u64 {
        ROOTS[self.random.below(ROOTS.len() as u64) as usize]
    }

    fn changed(&mut self, root: u64, forgotten: Fault) {
        if self.fault != Some(forgotten) {
            self.tlb.changed(root);
        }
    }

    /// Fails with what a guest found that it must not find.
    fn step(&mut self) -> Result<(), String> {
        let n = self.random.below(VCPUS as u64) as usize;
        match self.random.below(16) {
            0..=3 => {
                let (root, page) = (self.root(), self.random.below(PAGES));
                let table = self.tables.get_mut(&root).unwrap();
                // What was absent isn't cached, so a page that is new needs nothing.
                self.frames += 1;
                let was_there = table.insert(page, self.frames).is_some();
                if was_there {
                    self.changed(root, Fault::Unmapped);
                }
            }
            4 | 5 => {
                let (root, page) = (self.root(), self.random.below(PAGES));
                if self.tables.get_mut(&root).unwrap().remove(&page).is_some() {
                    self.changed(root, Fault::Unmapped);
                }
            }
            6 => {
                // The root dies, and another one lives in its memory.
                let root = self.root();
                self.tables.insert(root, HashMap::new());
                self.changed(root, Fault::RootGone);
            }
            7 => self.vcpus[n].root = self.root(),
            8 => self.vcpus[n] = Vcpu::new(self.vcpus[n].root),
            9 => {
                self.vcpus[n].cr3 += 1;
                if self.fault != Some(Fault::GuestTables) {
                    self.vcpus[n].tag.drop_translations();
                }
            }
            10 => self.enter(n, true)?,
            _ => self.enter(n, false)?,
        }
        Ok(())
    }

    fn enter(&mut self, n: usize, is_refused: bool) -> Result<(), String> {
        let vcpu = &mut self.vcpus[n];
        let mut tlb_control = 0;
        if !self.tlb.is_current(&vcpu.tag, vcpu.root) {
            (vcpu.asid, tlb_control) = self.tlb.renew(&mut vcpu.tag, vcpu.root);
            let asid = vcpu.asid;
            self.judge(asid, tlb_control)?;
        }
        let vcpu = &mut self.vcpus[n];
        if is_refused {
            // The processor may have got as far as flushing. The VCPU is dead; another one takes its place.
            if self.random.below(2) == 0 {
                self.cache.flush(vcpu.asid, tlb_control);
            }
            if self.fault != Some(Fault::Refused) {
                self.tlb.refused(tlb_control);
            }
            if tlb_control == Flush::All.tlb_control() {
                self.is_owed = true;
                self.used = (1..self.asids).collect();
            }
            *vcpu = Vcpu::new(vcpu.root);
            return Ok(());
        }
        self.counts.entries += 1;
        self.cache.flush(vcpu.asid, tlb_control);
        for _ in 0..3 {
            let page = self.random.below(PAGES);
            let now = self.tables[&vcpu.root].get(&((page + vcpu.cr3) % PAGES)).copied();
            let key = (vcpu.asid, page);
            let found = self.cache.0.get(&key).copied();
            if found.is_some() && found != now {
                return Err(format!("page {page} is at {now:?}, and was found at {found:?}"));
            }
            if let Some(frame) = now {
                self.cache.0.insert(key, frame);
            }
        }
        assert!(self.tlb.is_current(&vcpu.tag, vcpu.root), "it would renew for nothing");
        Ok(())
    }

    /// Is this identifier clean after this flush, and was nothing flushed without need?
    fn judge(&mut self, asid: u32, tlb_control: u32) -> Result<(), String> {
        let all_used = self.used.len() as u32 == self.asids - 1;
        let is_right = match tlb_control {
            0 => !self.used.contains(&asid),
            1 => self.is_owed || !self.by_asid && all_used,
            _ => self.by_asid && all_used && !self.is_owed,
        };
        if !is_right || !(1..self.asids).contains(&asid) {
            return Err(format!("identifier {asid} with TLB_CONTROL {tlb_control}; used: {:?}", self.used));
        }
        self.counts.renewals += 1;
        self.counts.own += u32::from(tlb_control == 3);
        if tlb_control == 1 {
            self.counts.all += 1;
            self.is_owed = false;
            self.used.clear();
        }
        self.used.insert(asid);
        Ok(())
    }
}

fn seeds() -> u64 {
    std::env::var("POSTERN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

/// Identifiers with the host's, and whether one can be flushed alone: the emulator's, the fewest, and real ones.
const PROCESSORS: [(u32, bool); 7] =
    [(16, false), (2, false), (2, true), (4, false), (4, true), (64, true), (0x8000, true)];

/// Plays; what a guest found, if it found what it must not.
fn play(seed: u64, (asids, by_asid): (u32, bool), fault: Option<Fault>) -> Result<Counts, String> {
    let mut world = World::new(seed, asids, by_asid, fault);
    for step in 0..STEPS {
        world.step().map_err(|what| format!("seed {seed}, {asids} identifiers, step {step}: {what}"))?;
    }
    Ok(world.counts)
}

#[test]
fn no_guest_finds_what_its_tables_do_not_say() {
    let mut sum = Counts::default();
    for processor in PROCESSORS {
        for seed in 0..seeds() {
            let counts = play(seed, processor, None).unwrap();
            sum.entries += counts.entries;
            sum.renewals += counts.renewals;
            sum.own += counts.own;
            sum.all += counts.all;
        }
    }
    assert!(sum.entries > sum.renewals, "{sum:?}");
    assert!(sum.own > 100 && sum.all > 100, "{sum:?}");
}

/// The model finds what it is there for.
#[test]
fn whatever_a_kernel_forgets_shows() {
    for fault in [Fault::Unmapped, Fault::RootGone, Fault::Refused, Fault::GuestTables] {
        for processor in PROCESSORS.into_iter().filter(|(asids, _)| *asids > 2) {
            assert!(
                (0..SEEDS).any(|seed| play(seed, processor, Some(fault)).is_err()),
                "{fault:?} on {processor:?}"
            );
        }
    }
}

/// An endless quarrel of two VCPUs over tables that change all the time: what it costs.
#[test]
fn a_flush_serves_as_many_changes_as_there_are_identifiers() {
    for (asids, by_asid, own, all) in [(16, false, 0, 200), (16, true, 2985, 1), (0x8000, true, 0, 1)] {
        let mut world = World::new(0, asids, by_asid, None);
        for n in (0..2).cycle().take(3000) {
            world.changed(world.vcpus[n].root, Fault::Unmapped);
            world.enter(n, false).unwrap();
        }
        assert_eq!(world.counts, Counts { entries: 3000, renewals: 3000, own, all }, "{asids} {by_asid}");
    }
}
