// SPDX-License-Identifier: MIT OR Apache-2.0
//! [`Translations`] of several processors against a model of their caches that forgives nothing: each is endless, loses no entry by itself, caches
//! whatever the loaded tables say at every moment, tables among it, and gives an old entry the preference over what the tables say now.

use std::collections::HashMap;

use crate::{IDENTIFIERS, Mode, NO_FLUSH, NOBODYS, Space, Step, Translations};

/// Pages of an address space, and how many of them a table maps.
const PAGES: u64 = 6;
const OF_TABLE: u64 = 3;
/// A page of the kernel's.
const KERNEL_PAGE: u64 = 100;
/// What the kernel's page is at.
const KERNEL_FRAME: u64 = u64::MAX;
/// The kernel's own root; the root without anything but the way into the kernel.
const KERNEL_ROOT: u64 = 0x1000;
const EMPTY_ROOT: u64 = 0x2000;
/// Memory for roots of address spaces, and identifiers for them. Both are used again and again.
const ROOTS: [u64; 4] = [0x10000, 0x11000, 0x12000, 0x13000];
const ASIDS: [u16; 4] = [1, 2, 63, NOBODYS];
/// Sequences of each processor and number; more with the variable POSTERN_SEEDS.
const SEEDS: u64 = 10;
/// Steps of each.
const STEPS: u32 = 300;

const MODES: [Mode; 6] = [
    Mode::PLAIN,
    Mode::TAGGED,
    Mode { by_page: true, ..Mode::TAGGED },
    Mode::ISOLATED,
    Mode::ISOLATED_TAGGED,
    Mode { by_page: true, ..Mode::ISOLATED_TAGGED },
];

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Each of them has to show in every mode that it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    /// A page is unmapped and nothing is done.
    Unmapped,
    /// INVPCID is left out.
    PageOf,
    /// A whole table is unmapped as a page is.
    Table,
    /// An address space dies and its identifier isn't doubted.
    Gone,
    /// The dead root stays loaded.
    Stays,
    /// Other processors aren't told.
    Elsewhere,
    /// They are told, but not waited for.
    NotAsked,
    /// Each load keeps what is there.
    Keeps,
    /// Identifier 0 serves user level too.
    Shared,
}

/// Tables are numbered; a root maps each [`OF_TABLE`] pages by one. What was one table may be another.
type Tables = HashMap<u64, HashMap<u64, u64>>;

/// A processor's caches: by identifier, pages with their frames, and which table maps a page.
#[derive(Default)]
struct Caches {
    pages: HashMap<(u16, u64), u64>,
    tables: HashMap<(u16, u64), u64>,
}

impl Caches {
    fn flush(&mut self, identifier: u16) {
        self.pages.retain(|(tag, _), _| *tag != identifier);
        self.tables.retain(|(tag, _), _| *tag != identifier);
    }
}

struct Processor {
    translations: Translations,
    caches: Caches,
    cr3: u64,
    in_user: bool,
    /// What user level runs in, if anything.
    runs: Option<Alive>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Alive {
    root: u64,
    asid: u16,
}

/// How often what happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    loads: u32,
    flushes: u32,
    pages: u32,
    asked: u32,
    found: u32,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.loads += other.loads;
        self.flushes += other.flushes;
        self.pages += other.pages;
        self.asked += other.asked;
        self.found += other.found;
    }
}

struct World {
    random: Random,
    mode: Mode,
    mistake: Option<Mistake>,
    processors: Vec<Processor>,
    spaces: Vec<Alive>,
    /// Page-table number by root and place in it.
    roots: HashMap<(u64, u64), u64>,
    tables: Tables,
    next: u64,
    counts: Counts,
}

impl World {
    fn new(seed: u64, mode: Mode, count: usize, mistake: Option<Mistake>) -> Self {
        let processors = (0..count).map(|_| {
            let translations = Translations::new();
            translations.start(mode.space(KERNEL_ROOT, 0));
            if mistake == Some(Mistake::Keeps) {
                (0..IDENTIFIERS).for_each(|identifier| translations.note(identifier));
            }
            // Firmware has used all identifiers but 0, which was flushed.
            let mut caches = Caches::default();
            if mode.tagged {
                caches.pages.extend(ASIDS.iter().flat_map(|asid| (0..PAGES).map(|page| ((*asid, page), 7))));
            }
            Processor { translations, caches, cr3: KERNEL_ROOT, in_user: false, runs: None }
        });
        Self {
            random: Random(seed * 2 + 1),
            mode,
            mistake,
            processors: processors.collect(),
            spaces: Vec::new(),
            roots: HashMap::new(),
            tables: Tables::new(),
            next: 8,
            counts: Counts::default(),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The table of a page, and the page's frame, as the tables say now.
    fn walk(&self, root: u64, page: u64) -> (Option<u64>, Option<u64>) {
        if page == KERNEL_PAGE {
            let has_kernel = root == KERNEL_ROOT || !self.mode.isolated;
            return (None, has_kernel.then_some(KERNEL_FRAME));
        }
        let table = self.roots.get(&(root, page / OF_TABLE)).copied();
        (table, table.and_then(|table| self.tables[&table].get(&page).copied()))
    }

    /// Every processor caches all that its CR3 leads to.
    fn cache(&mut self) {
        for n in 0..self.processors.len() {
            let cr3 = self.processors[n].cr3;
            let (root, tag) = (cr3 & !0xfff, cr3 as u16 % IDENTIFIERS);
            for page in (0..PAGES).chain([KERNEL_PAGE]) {
                let (table, frame) = self.walk(root, page);
                let caches = &mut self.processors[n].caches;
                if let Some(table) = table {
                    caches.tables.entry((tag, page / OF_TABLE)).or_insert(table);
                }
                if let Some(frame) = frame {
                    caches.pages.entry((tag, page)).or_insert(frame);
                }
            }
        }
    }

    fn load(&mut self, n: usize, cr3: u64) {
        assert!(cr3 & NO_FLUSH == 0 || self.mode.tagged, "a reserved bit");
        assert!(cr3 & 0xfff == 0 || self.mode.tagged, "cache attributes of the root");
        let p = &mut self.processors[n];
        self.counts.loads += 1;
        if cr3 & NO_FLUSH == 0 {
            self.counts.flushes += 1;
            p.caches.flush(cr3 as u16 % IDENTIFIERS);
        }
        p.cr3 = cr3 & !NO_FLUSH;
        self.cache();
    }

    fn apply(&mut self, n: usize, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Load(cr3) => self.load(n, cr3),
            Step::Page(page) => {
                let p = &mut self.processors[n];
                let tag = p.cr3 as u16 % IDENTIFIERS;
                self.counts.pages += 1;
                p.caches.pages.remove(&(tag, page));
                p.caches.tables.retain(|(of, _), _| *of != tag);
            }
            Step::PageOf(..) if self.has(Mistake::PageOf) => {}
            Step::PageOf(identifier, page) => {
                assert!(self.mode.tagged && self.mode.by_page, "there is no INVPCID");
                self.counts.pages += 1;
                self.processors[n].caches.pages.remove(&(identifier, page));
            }
        }
    }

    fn enter_kernel(&mut self, n: usize) {
        if self.processors[n].in_user && self.mode.isolated {
            let stays = if self.mode.tagged { NO_FLUSH } else { 0 };
            self.load(n, KERNEL_ROOT | stays);
        }
        self.processors[n].in_user = false;
    }

    /// To user level, in what the thread there runs in.
    fn go_to_user(&mut self, n: usize) -> Result<(), String> {
        let (mode, runs) = (self.mode, self.processors[n].runs);
        let none = if mode.isolated { EMPTY_ROOT } else { KERNEL_ROOT };
        let space = runs.map_or(mode.space(none, 0), |runs| mode.space(runs.root, runs.asid));
        let translations = &self.processors[n].translations;
        if mode.isolated && self.has(Mistake::Shared) && runs.is_none() {
            self.load(n, space.bits() | if mode.tagged { NO_FLUSH } else { 0 });
        } else if mode.isolated {
            let cr3 = translations.leave(mode, space);
            self.load(n, cr3);
        } else if let Some(cr3) = translations.enter(mode, space) {
            self.load(n, cr3);
        }
        self.processors[n].in_user = true;
        self.cache();
        self.look(n)
    }

    /// User level looks at every page.
    fn look(&mut self, n: usize) -> Result<(), String> {
        let p = &self.processors[n];
        let tag = p.cr3 as u16 % IDENTIFIERS;
        let root = p.runs.map_or(EMPTY_ROOT, |runs| runs.root);
        for page in 0..PAGES {
            let (table, frame) = self.walk(root, page);
            let found = p.caches.pages.get(&(tag, page)).copied();
            let found_table = p.caches.tables.get(&(tag, page / OF_TABLE)).copied();
            if found.is_some() && found != frame {
                return Err(format!("page {page} of {root:#x} is at {frame:?}, and was found at {found:?}"));
            }
            if found_table.is_some() && found_table != table {
                return Err(format!("page {page} of {root:#x} goes by a table that is gone"));
            }
            self.counts.found += u32::from(found.is_some());
        }
        if self.mode.isolated && p.caches.pages.contains_key(&(tag, KERNEL_PAGE)) {
            return Err(format!("the kernel's page can be found under identifier {tag}"));
        }
        Ok(())
    }

    /// The other processors, of which those that have the space loaded are asked to leave it.
    fn tell_others(&mut self, n: usize, space: Space) -> Result<(), String> {
        if self.has(Mistake::Elsewhere) {
            return Ok(());
        }
        for other in 0..self.processors.len() {
            if other == n || !self.processors[other].translations.changed_elsewhere(space) {
                continue;
            }
            if self.has(Mistake::NotAsked) {
                continue;
            }
            self.counts.asked += 1;
            let was_in_user = self.processors[other].in_user;
            self.enter_kernel(other);
            let step = self.processors[other].translations.retreat(self.mode);
            self.apply(other, step);
            // It looks afresh at what it runs, if that lives, once it has the kernel.
            let runs = self.processors[other].runs;
            self.processors[other].runs = runs.filter(|runs| self.spaces.contains(runs));
            if was_in_user {
                self.go_to_user(other)?;
            }
        }
        Ok(())
    }

    fn space(&self, of: Alive) -> Space {
        self.mode.space(of.root, of.asid)
    }

    fn map(&mut self, of: Alive, page: u64) -> bool {
        let table = match self.roots.get(&(of.root, page / OF_TABLE)) {
            Some(table) => *table,
            None => {
                let table = self.number();
                self.roots.insert((of.root, page / OF_TABLE), table);
                self.tables.insert(table, HashMap::new());
                table
            }
        };
        let frame = self.number();
        // What was absent isn't cached: only an entry that was there needs anything.
        let was_there = self.tables.get_mut(&table).is_some_and(|table| table.insert(page, frame).is_some());
        self.cache();
        was_there
    }

    fn unmap(&mut self, of: Alive, page: u64) -> bool {
        let table = self.roots.get(&(of.root, page / OF_TABLE)).copied();
        let was_there = table.is_some_and(|table| {
            self.tables.get_mut(&table).is_some_and(|table| table.remove(&page).is_some())
        });
        self.cache();
        was_there
    }

    fn page_changed(&mut self, n: usize, of: Alive, page: u64) -> Result<(), String> {
        if !self.has(Mistake::Unmapped) {
            let step = self.processors[n].translations.unmapped(self.mode, self.space(of), page);
            self.apply(n, step);
        }
        self.tell_others(n, self.space(of))
    }

    fn table_gone(&mut self, n: usize, of: Alive, page: u64) -> Result<(), String> {
        if self.roots.remove(&(of.root, page / OF_TABLE)).is_none() {
            return Ok(());
        }
        self.cache();
        if self.has(Mistake::Table) {
            return self.page_changed(n, of, page);
        }
        let step = self.processors[n].translations.changed(self.mode, self.space(of));
        self.apply(n, step);
        self.tell_others(n, self.space(of))
    }

    fn delete(&mut self, n: usize, of: Alive) -> Result<(), String> {
        self.spaces.retain(|space| *space != of);
        let (mode, space) = (self.mode, self.space(of));
        let translations = &self.processors[n].translations;
        let step = match self.mistake {
            Some(Mistake::Stays) => translations.changed(mode, space),
            Some(Mistake::Gone) if translations.loaded() == space => translations.retreat(mode),
            Some(Mistake::Gone) => Step::Nothing,
            _ => translations.gone(mode, space),
        };
        self.apply(n, step);
        self.tell_others(n, space)?;
        if self.processors[n].runs == Some(of) {
            self.processors[n].runs = None;
        }
        if self.processors.iter().any(|p| p.cr3 & !(NO_FLUSH | 0xfff) == of.root) {
            return Err(format!("{:#x} is loaded, and is gone", of.root));
        }
        // The memory is cleared and may become anything.
        self.roots.retain(|(root, _), _| *root != of.root);
        Ok(())
    }

    fn create(&mut self) {
        let (root, asid) = (self.random.of(&ROOTS), self.random.of(&ASIDS));
        if self.spaces.iter().all(|space| space.root != root && space.asid != asid) {
            self.spaces.push(Alive { root, asid });
        }
    }

    /// A processor enters the kernel, does something, and leaves. Fails with what user level found that it must not find.
    fn step(&mut self) -> Result<(), String> {
        let n = self.random.below(self.processors.len() as u64) as usize;
        let (action, page) = (self.random.below(16), self.random.below(PAGES));
        self.enter_kernel(n);
        let any = if self.spaces.is_empty() { None } else { Some(self.random.of(&self.spaces)) };
        match (action, any) {
            (_, None) | (0 | 1, _) => self.create(),
            (2, Some(of)) => self.delete(n, of)?,
            (3, Some(of)) => self.table_gone(n, of, page)?,
            (4..=6, Some(of)) => {
                if self.map(of, page) {
                    self.page_changed(n, of, page)?;
                }
            }
            (7 | 8, Some(of)) => {
                if self.unmap(of, page) {
                    self.page_changed(n, of, page)?;
                }
            }
            (9, _) => self.processors[n].runs = None,
            (10, _) => {}
            (_, Some(of)) => self.processors[n].runs = Some(of),
        }
        self.go_to_user(n)?;
        // The others compute on, and find what they find.
        (0..self.processors.len())
            .filter(|other| *other != n)
            .try_for_each(|other| if self.processors[other].in_user { self.look(other) } else { Ok(()) })
    }
}

fn seeds() -> u64 {
    std::env::var("POSTERN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

fn play(seed: u64, mode: Mode, count: usize, mistake: Option<Mistake>) -> Result<Counts, String> {
    let mut world = World::new(seed, mode, count, mistake);
    for step in 0..STEPS {
        world
            .step()
            .map_err(|what| format!("seed {seed}, {mode:?}, {count} processors, step {step}: {what}"))?;
    }
    Ok(world.counts)
}

#[test]
fn nobody_finds_what_the_tables_do_not_say() {
    for mode in MODES {
        let mut sum = Counts::default();
        for count in [1, 2, 4] {
            for seed in 0..seeds() {
                sum.add(play(seed, mode, count, None).unwrap());
            }
        }
        assert!(sum.found > sum.loads && sum.asked > 100, "{mode:?}: {sum:?}");
        assert_eq!(sum.loads > sum.flushes, mode.tagged, "{mode:?}: {sum:?}");
    }
}

/// The model finds what it is there for.
#[test]
fn every_mistake_shows() {
    use Mistake::*;
    for mistake in [Unmapped, PageOf, Table, Gone, Stays, Elsewhere, NotAsked, Keeps, Shared] {
        for mode in MODES {
            // Without identifiers, a switch forgives much; an isolated kernel's way in and out then forgives all.
            let shows = match mistake {
                Unmapped => mode.tagged || !mode.isolated,
                PageOf => mode.by_page,
                // A load of CR3 with a flush takes all pages with it, as it takes one.
                Table => mode.by_page || !mode.isolated,
                Gone | Keeps => mode.tagged,
                Stays => !mode.isolated,
                Elsewhere | NotAsked => true,
                Shared => mode.tagged && mode.isolated,
            };
            let found = (0..SEEDS).find_map(|seed| play(seed, mode, 2, Some(mistake)).err());
            assert_eq!(found.is_some(), shows, "{mistake:?} in {mode:?}: {found:?}");
        }
    }
}

/// Two that call each other, a thousand times: what it costs.
#[test]
fn what_is_switched_back_to_is_not_flushed() {
    for (mode, loads, flushes) in [
        (Mode::PLAIN, 2000, 2000),
        (Mode::TAGGED, 2000, 2),
        (Mode::ISOLATED, 3999, 3999),
        (Mode::ISOLATED_TAGGED, 3999, 2),
    ] {
        let mut world = World::new(0, mode, 1, None);
        world.spaces = vec![Alive { root: ROOTS[0], asid: 1 }, Alive { root: ROOTS[1], asid: 2 }];
        for n in 0..2000 {
            world.enter_kernel(0);
            world.processors[0].runs = Some(world.spaces[n % 2]);
            world.go_to_user(0).unwrap();
        }
        assert_eq!((world.counts.loads, world.counts.flushes), (loads, flushes), "{mode:?}");
    }
}

/// Unmapping pages of somebody else, each followed by a switch to that one and back.
#[test]
fn a_page_that_goes_takes_no_other_with_it() {
    for (by_page, flushes, pages) in [(true, 2, 100), (false, 102, 0)] {
        let mode = Mode { by_page, ..Mode::TAGGED };
        let mut world = World::new(0, mode, 1, None);
        world.spaces = vec![Alive { root: ROOTS[0], asid: 1 }, Alive { root: ROOTS[1], asid: 2 }];
        let [own, other] = [world.spaces[0], world.spaces[1]];
        let run = |world: &mut World, space| {
            world.enter_kernel(0);
            world.processors[0].runs = Some(space);
            world.go_to_user(0).unwrap();
        };
        world.map(other, 1);
        run(&mut world, other);
        run(&mut world, own);
        for _ in 0..100 {
            world.enter_kernel(0);
            world.map(other, 1);
            world.page_changed(0, other, 1).unwrap();
            world.go_to_user(0).unwrap();
            run(&mut world, other);
            run(&mut world, own);
        }
        assert_eq!((world.counts.flushes, world.counts.pages), (flushes, pages), "INVPCID: {by_page}");
    }
}
