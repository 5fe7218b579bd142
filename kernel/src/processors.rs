// SPDX-License-Identifier: MIT OR Apache-2.0
//! The schedulers: one for each domain of each processor. A processor runs threads of one domain at a time; the schedulers of its other
//! domains only keep theirs.

use core::ptr::NonNull;

use crate::sched::Scheduler;
use crate::sync::KernelCell;

/// Most processors.
pub const MAX_CPUS: usize = 16;

/// Where a thread runs: on which processor, and in which domain's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Place(u16);

impl Place {
    /// The place of a domain on a processor.
    pub const fn new(cpu: u8, domain: u8) -> Self {
        Self(cpu as u16 | (domain as u16) << 8)
    }
    /// Number of the processor.
    #[inline(always)]
    pub const fn cpu(self) -> u8 {
        self.0 as u8
    }
    /// Number of the domain.
    #[inline(always)]
    pub const fn domain(self) -> u8 {
        (self.0 >> 8) as u8
    }
}

/// The schedulers of the first domain.
static FIRST: KernelCell<[Scheduler; MAX_CPUS]> = KernelCell::new({
    let mut all = [const { Scheduler::new(Place::new(0, 0)) }; MAX_CPUS];
    let mut i = 0;
    while i < MAX_CPUS {
        all[i] = Scheduler::new(Place::new(i as u8, 0));
        i += 1;
    }
    all
});

/// All schedulers. What is done with it as if it were a scheduler is done with the one that is active on the processor that has the kernel.
pub struct Processors {
    own: NonNull<Scheduler>,
    /// The one that is active, for each processor.
    active: [NonNull<Scheduler>; MAX_CPUS],
    first: NonNull<[Scheduler; MAX_CPUS]>,
    /// Those of the other domains: the second one's for each processor that is used, and so on.
    others: NonNull<[Scheduler]>,
    /// Processors that are used.
    cpus: usize,
}

impl Processors {
    /// Nothing to run anywhere. There is one such thing, but in tests one for each thread.
    pub const fn new() -> Self {
        // SAFETY: a static's address isn't null.
        Self::of(unsafe { NonNull::new_unchecked(FIRST.as_ptr()) })
    }

    const fn of(first: NonNull<[Scheduler; MAX_CPUS]>) -> Self {
        let own: NonNull<Scheduler> = first.cast();
        let mut active = [own; MAX_CPUS];
        let mut i = 0;
        while i < MAX_CPUS {
            // SAFETY: inside the array.
            active[i] = unsafe { own.add(i) };
            i += 1;
        }
        Self { own, active, first, others: NonNull::slice_from_raw_parts(NonNull::dangling(), 0), cpus: 1 }
    }

    /// Bytes of the schedulers of all domains but the first one.
    pub const fn bytes_for(cpus: usize, domains: u16) -> usize {
        cpus * (domains as usize - 1) * size_of::<Scheduler>()
    }

    /// Makes the schedulers of all domains but the first one.
    ///
    /// # Safety
    /// `memory` has `bytes_for(cpus, domains)` bytes that nobody else uses any more, aligned for a scheduler.
    pub unsafe fn add_domains(&mut self, memory: NonNull<u8>, cpus: usize, domains: u16) {
        let (base, count) = (memory.cast::<Scheduler>(), cpus * (usize::from(domains) - 1));
        for i in 0..count {
            let place = Place::new((i % cpus) as u8, (i / cpus + 1) as u8);
            // SAFETY: by the caller's promise.
            unsafe { base.add(i).write(Scheduler::new(place)) };
        }
        self.others = NonNull::slice_from_raw_parts(base, count);
        self.cpus = cpus;
    }

    /// Processor `cpu` has the kernel now.
    pub fn select(&mut self, cpu: u8) {
        self.own = self.active[usize::from(cpu)];
    }

    /// The scheduler where there is one processor, and one domain.
    #[inline(always)]
    pub fn only(&mut self) -> &mut Scheduler {
        #[cfg(not(test))]
        // SAFETY: as for `at`; this one's address is a constant.
        return unsafe { &mut FIRST.get()[0] };
        #[cfg(test)]
        self
    }

    /// The scheduler of a place.
    pub fn at(&mut self, place: Place) -> Option<&mut Scheduler> {
        let cpu = usize::from(place.cpu());
        let Some(domain) = usize::from(place.domain()).checked_sub(1) else {
            // SAFETY: whoever has the kernel has them all.
            return unsafe { self.first.as_mut() }.get_mut(cpu);
        };
        if cpu >= self.cpus {
            return None;
        }
        // SAFETY: as above.
        unsafe { self.others.as_mut() }.get_mut(domain * self.cpus + cpu)
    }

    /// The scheduler that is active on a processor.
    pub fn active(&mut self, cpu: u8) -> Option<&mut Scheduler> {
        let active = self.active.get_mut(usize::from(cpu))?;
        // SAFETY: as for `at`.
        Some(unsafe { active.as_mut() })
    }

    /// The processor that has the kernel goes over to the turn of `domain`, which ends at `ends`. The thread that ran stays the next one of
    /// its own domain.
    pub fn enter(&mut self, domain: u8, ends: u64) {
        let cpu = self.place.cpu();
        let state = self.leave();
        if let Some(next) = self.at(Place::new(cpu, domain)) {
            self.own = NonNull::from(next);
            self.active[usize::from(cpu)] = self.own;
        }
        self.arrive(state, ends);
    }
}

#[cfg(test)]
impl Processors {
    /// The schedulers of all domains of the first processor.
    pub fn all(&self) -> std::vec::Vec<&Scheduler> {
        // SAFETY: as for `at`.
        let (first, others) = unsafe { (self.first.as_ref(), self.others.as_ref()) };
        core::iter::once(&first[0]).chain(others).collect()
    }

    /// Those of a test: one processor's, with so many domains.
    pub fn of_test(domains: u16) -> Self {
        use std::{boxed::Box, vec};
        let first = Box::leak(Box::new(core::array::from_fn(|cpu| Scheduler::new(Place::new(cpu as u8, 0)))));
        let mut all = Self::of(NonNull::from(first));
        let memory = vec![0u64; Self::bytes_for(1, domains) / 8].leak();
        // SAFETY: fresh memory of this length, for ever.
        unsafe { all.add_domains(NonNull::from(memory).cast(), 1, domains) };
        all
    }
}

impl Default for Processors {
    fn default() -> Self {
        Self::new()
    }
}

impl core::ops::Deref for Processors {
    type Target = Scheduler;
    #[inline(always)]
    fn deref(&self) -> &Scheduler {
        // SAFETY: as for `at`.
        unsafe { self.own.as_ref() }
    }
}

impl core::ops::DerefMut for Processors {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Scheduler {
        // SAFETY: as for `at`.
        unsafe { self.own.as_mut() }
    }
}
