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

#[derive(Debug)]
struct Vm {
    state: State,
    has_devices: bool,
}

impl Lifecycle {
    /// VMs that wait, each with or without devices.
    pub fn new(have_devices: impl Iterator<Item = bool>) -> Self {
        Self { vms: have_devices.map(|has_devices| Vm { state: State::Waiting, has_devices }).collect() }
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
        self.step(vm, State::Waiting, State::Running)
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
        let mut life = Lifecycle::new([true, false].into_iter());
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
        let mut life = Lifecycle::new([true].into_iter());
        assert!(life.refuse(0));
        assert!(!life.start(0) && !life.refuse(0) && life.all_over());
        assert_eq!(life.end(0), None);
        assert!(!life.refuse(7) && !life.start(7));
        assert_eq!(life.state(7), None);
    }

    #[test]
    fn a_running_vm_is_not_refused() {
        let mut life = Lifecycle::new([false].into_iter());
        life.start(0);
        assert!(!life.refuse(0));
        assert_eq!(life.state(0), Some(State::Running));
        assert!(!life.all_over());
    }
}
