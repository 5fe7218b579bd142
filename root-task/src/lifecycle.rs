// SPDX-License-Identifier: MIT OR Apache-2.0
//! The life of each VM, and when the machine has nothing left to do.

use alloc::vec::Vec;

/// Where a VM is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started yet.
    Waiting,
    /// It can't be run.
    Refused,
    /// Its VMM was started.
    Running,
    /// It has ended; pci-server is quieting its devices.
    Quieting,
    /// It has ended and its memory is taken back.
    Ended,
}

/// What the end of a VM demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Its devices have to be quieted; its memory stays until that is said.
    Quiet,
    /// Its memory can be taken back at once.
    Reclaim,
}

/// All VMs.
#[derive(Debug)]
pub struct Lifecycle {
    vms: Vec<Vm>,
}

/// A life shorter than this, in milliseconds, is short.
pub const SHORT_LIFE_MS: u64 = 100;
/// Short lives in a row after which a VM isn't started again.
pub const SHORT_LIVES: u8 = 10;

/// How often something has lived only shortly, in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShortLives(u8);

impl ShortLives {
    /// A life has ended after so many milliseconds. False if there is to be no other.
    pub fn again(&mut self, lived_ms: u64) -> bool {
        self.0 = if lived_ms < SHORT_LIFE_MS { self.0.saturating_add(1) } else { 0 };
        self.0 < SHORT_LIVES
    }
}

#[derive(Debug)]
struct Vm {
    state: State,
    /// Its VMM has said so.
    ready: bool,
    has_devices: bool,
    priority: u8,
    short_lives: ShortLives,
}

impl Lifecycle {
    /// VMs that wait, each with or without devices, and with its priority.
    pub fn new(vms: impl Iterator<Item = (bool, u8)>) -> Self {
        Self {
            vms: vms
                .map(|(has_devices, priority)| Vm {
                    state: State::Waiting,
                    ready: false,
                    has_devices,
                    priority,
                    short_lives: ShortLives::default(),
                })
                .collect(),
        }
    }

    /// Where VM `vm` is, `None` if there is no such VM.
    pub fn state(&self, vm: usize) -> Option<State> {
        self.vms.get(vm).map(|vm| vm.state)
    }

    /// VM `vm` can't be run. False if it was started already or there is no such VM.
    pub fn refuse(&mut self, vm: usize) -> bool {
        self.step(vm, State::Waiting, State::Refused)
    }

    /// VM `vm` was started. False if it doesn't wait.
    pub fn start(&mut self, vm: usize) -> bool {
        if let Some(vm) = self.vms.get_mut(vm) {
            vm.ready = false;
        }
        self.step(vm, State::Waiting, State::Running)
    }

    /// The VMM of VM `vm` has come up.
    pub fn ready(&mut self, vm: usize) {
        if let Some(vm) = self.vms.get_mut(vm) {
            vm.ready = true;
        }
    }

    /// VM `vm` has ended. `None` if it wasn't running.
    pub fn end(&mut self, vm: usize) -> Option<Then> {
        let entry = self.vms.get_mut(vm).filter(|vm| vm.state == State::Running)?;
        if entry.has_devices {
            entry.state = State::Quieting;
            Some(Then::Quiet)
        } else {
            entry.state = State::Ended;
            Some(Then::Reclaim)
        }
    }

    /// pci-server says that the devices of VM `vm` are quiet. False if nobody waits for that.
    pub fn quieted(&mut self, vm: usize) -> bool {
        self.step(vm, State::Quieting, State::Ended)
    }

    /// VM `vm`, which has ended and lived for so long, is to start again. False if that must not be: starting costs everybody's
    /// time, and this one has ended [`SHORT_LIVES`] times in a row within [`SHORT_LIFE_MS`].
    pub fn again(&mut self, vm: usize, lived_ms: u64) -> bool {
        let Some(entry) = self.vms.get_mut(vm).filter(|vm| vm.state == State::Ended) else { return false };
        if !entry.short_lives.again(lived_ms) {
            return false;
        }
        entry.state = State::Waiting;
        true
    }

    /// The VM that is to start now: the first that waits, and not for others to be ready. They start one after the other; but one of
    /// lower priority may never get the time for it, so nobody of higher priority waits for it.
    pub fn next(&self) -> Option<usize> {
        let starting = self.vms.iter().filter(|vm| vm.state == State::Running && !vm.ready);
        let most = starting.map(|vm| vm.priority).max();
        self.vms
            .iter()
            .position(|vm| vm.state == State::Waiting && most.is_none_or(|most| vm.priority > most))
    }

    /// No VM runs or will run.
    pub fn all_over(&self) -> bool {
        self.vms.iter().all(|vm| matches!(vm.state, State::Refused | State::Ended))
    }

    fn step(&mut self, vm: usize, from: State, to: State) -> bool {
        match self.vms.get_mut(vm) {
            Some(entry) if entry.state == from => {
                entry.state = to;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_waits_for_quiet_devices() {
        let mut life = Lifecycle::new([(true, 100), (false, 100)].into_iter());
        assert!(life.start(0) && life.start(1));
        assert_eq!(life.end(0), Some(Then::Quiet));
        assert_eq!(life.end(0), None, "it ends once");
        assert!(!life.quieted(1), "it runs");
        assert_eq!(life.end(1), Some(Then::Reclaim));
        assert!(!life.all_over());
        assert!(life.quieted(0));
        assert!(!life.quieted(0));
        assert!(life.all_over());
    }

    #[test]
    fn a_refused_vm_never_starts() {
        let mut life = Lifecycle::new([(true, 100)].into_iter());
        assert!(life.refuse(0));
        assert!(!life.start(0) && !life.refuse(0) && life.all_over());
        assert_eq!(life.end(0), None);
        assert!(!life.refuse(7) && !life.start(7));
        assert_eq!(life.state(7), None);
    }

    #[test]
    fn who_ends_at_once_is_not_started_for_ever() {
        let mut life = Lifecycle::new([(false, 100), (true, 100)].into_iter());
        let once = |life: &mut Lifecycle, lived| {
            assert!(life.start(0) && !life.again(0, lived));
            life.end(0);
            life.again(0, lived)
        };
        assert!((0..1000).all(|_| once(&mut life, SHORT_LIFE_MS)));
        assert!((1..SHORT_LIVES).all(|_| once(&mut life, 0)));
        assert!(once(&mut life, SHORT_LIFE_MS), "one long life, and the count begins anew");
        assert!((1..SHORT_LIVES).all(|_| once(&mut life, SHORT_LIFE_MS - 1)));
        assert_eq!(life.next(), Some(0));
        assert!(!once(&mut life, 0));
        assert_eq!((life.state(0), life.next()), (Some(State::Ended), Some(1)));
        assert!(life.start(1) && life.end(1) == Some(Then::Quiet) && !life.again(1, 500), "not yet");
        assert!(life.quieted(1) && life.again(1, 500) && !life.all_over());
    }

    #[test]
    fn nobody_waits_for_those_of_lower_priority() {
        let mut life = Lifecycle::new([100, 50, 50, 150, 75].map(|priority| (false, priority)).into_iter());
        let start = |life: &mut Lifecycle| {
            let next = life.next();
            next.inspect(|vm| assert!(life.start(*vm)))
        };
        assert_eq!(start(&mut life), Some(0));
        assert_eq!(start(&mut life), Some(3), "it doesn't wait for the first");
        assert_eq!(life.next(), None, "the others do");
        life.ready(3);
        assert_eq!(life.next(), None);
        life.ready(0);
        assert_eq!(start(&mut life), Some(1));
        // It never gets there.
        assert_eq!(start(&mut life), Some(4));
        assert_eq!(life.next(), None);
        life.ready(4);
        assert_eq!(life.next(), None, "those of its priority wait for it");
        // The others end and start again meanwhile.
        life.end(3);
        assert!(life.again(3, 500));
        assert_eq!(start(&mut life), Some(3));
        life.end(4);
        assert!(life.again(4, 500));
        assert_eq!(life.next(), None, "it isn't ready yet");
        life.ready(3);
        assert_eq!(start(&mut life), Some(4));
        // Or it ends before it is ready.
        life.end(1);
        life.ready(1);
        assert_eq!(life.next(), None);
        life.end(4);
        assert_eq!(start(&mut life), Some(2));
        life.ready(9);
    }

    #[test]
    fn a_running_vm_is_not_refused() {
        let mut life = Lifecycle::new([(false, 100)].into_iter());
        life.start(0);
        assert!(!life.refuse(0));
        assert_eq!(life.state(0), Some(State::Running));
        assert!(!life.all_over());
    }
}
