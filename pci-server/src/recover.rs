// SPDX-License-Identifier: MIT OR Apache-2.0
//! What pci-server has to know of its devices after its own death, and how it goes on with them.
//!
//! Each device is kept by itself, before and after everything that is done to it. One to which something was being done (it was being given,
//! taken back, or taken a step further in its reset) is taken back and reset from the beginning; the others go on where they were. Enumeration isn't repeated: BARs can't be sized while their
//! devices are used.

use heapless::Vec;
use pci::ConfigSpace;
use pci::carve::SMALL;
use pci::life::{Event, State};
use pci::reset::Sequence;
use protocol::pci::{MAX_PROMISED, PciConfig, PciDevice};
use serde::{Deserialize, Serialize};

use crate::device::{Device, Resetting};
use crate::passthrough::Passthrough;
use crate::platform::Platform;

/// Milliseconds before the new reset of a device that may be in one: what all methods ask for.
const SETTLE_MS: u64 = pci::reset::FUNCTION_LEVEL_MS;
/// What a function reads as that isn't ready after a reset (Configuration Request Retry Status, PCI Express Base 4.0, section 2.3.2).
const NOT_READY: u16 = 1;

/// What is kept of a device.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// All of it.
    pub device: &'a Device,
    /// It is being given or taken back.
    pub busy: bool,
}

/// The same, found again.
#[derive(Debug, Deserialize)]
pub struct Found {
    device: Device,
    busy: bool,
}

/// What was kept can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoilt;

/// What became of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// They are where they were in their lives.
    pub kept: usize,
    /// They are taken from whoever had them, or nobody's, and reset.
    pub again: usize,
    /// Nothing is known of them: they stay with whoever has them, and nobody gets them any more.
    pub lost: usize,
}

impl<P: Platform> Passthrough<P> {
    /// After this server's death: takes over what was kept, as far as it makes sense.
    pub fn recover(&mut self, config: &PciConfig) -> Recovered {
        let (mut busy, mut spoilt) = (Vec::<bool, MAX_PROMISED>::new(), false);
        for place in 0..MAX_PROMISED {
            match self.platform.kept(place) {
                Ok(None) => {}
                Ok(Some(found)) if self.is_sound(place, &found.device, config) => {
                    // There are as many places as fit.
                    let _ = busy.push(found.busy);
                    let _ = self.devices.push(found.device);
                }
                Ok(Some(_)) | Err(Spoilt) => spoilt = true,
            }
        }
        if spoilt {
            self.lose(config);
        }
        let mut again = 0;
        // Physical functions before virtual ones, which wait for them.
        for is_virtual in [false, true] {
            for (found, busy) in busy.iter().enumerate() {
                if self.devices[found].physical.is_some() == is_virtual {
                    again += usize::from(self.go_on(found, *busy));
                }
            }
        }
        // Signals may have been taken and nothing done.
        self.quarantine();
        self.tick();
        (0..self.devices.len()).for_each(|found| self.tell(found));
        Recovered { kept: self.devices.len() - again, again, lost: self.lost.len() }
    }

    /// Something of what was kept is spoilt: the description's devices that weren't found may be those.
    fn lose(&mut self, config: &PciConfig) {
        for wanted in &config.devices {
            let id = (wanted.vm, wanted.index);
            if !self.devices.iter().any(|device| (device.vm, device.index) == id) {
                let _ = self.lost.push(id);
                self.platform.log(format_args!(
                    "device {} of vm {}: nothing is known of it any more: it stays as it is, and nobody gets it",
                    wanted.index, wanted.owner
                ));
            }
        }
    }

    /// Goes on with a device; true if that means a reset.
    fn go_on(&mut self, found: usize, busy: bool) -> bool {
        let waits = self.physical_is_resetting(found);
        let device = &mut self.devices[found];
        // Whom it waited for has been reset.
        let mut again = device.waits && !waits;
        if busy {
            let in_reset = device.resetting.take().is_some();
            if !in_reset {
                // It may have been given, and nobody been told.
                if device.life.state() == State::Reserved && device.methods.is_empty() {
                    let _ = Self::step(&mut self.platform, device, Event::Calm);
                }
                if device.life.state() == State::Quiet {
                    let _ = Self::step(&mut self.platform, device, Event::Attach);
                }
                device.holds |= device.life.state().is_given();
            }
            if let Err(error) = self.take_back(found) {
                let Device { address, owner, .. } = &self.devices[found];
                self.platform.log(format_args!("{address} of vm {owner} can't be taken back: {error}"));
            }
            again |=
                in_reset || matches!(self.devices[found].life.state(), State::Reserved | State::Detached);
        }
        let device = &mut self.devices[found];
        if again {
            let Device { address, owner, .. } = &*device;
            self.platform.log(format_args!("{address} of vm {owner}: what was done to it wasn't finished"));
        }
        match Sequence::later(&device.methods).filter(|_| again) {
            Some(_) if waits => device.waits = true,
            Some(sequence) => {
                device.waits = false;
                self.cut_off_virtuals(found);
                let until = self.platform.now() + self.platform.ticks(SETTLE_MS);
                self.devices[found].resetting = Some(Resetting { sequence, until });
            }
            None => {}
        }
        self.keep(found, false);
        again
    }

    /// Whether this can be what was kept at a place: a device of the description, where it was, once.
    fn is_sound(&self, place: usize, device: &Device, config: &PciConfig) -> bool {
        let id = (device.vm, device.index);
        usize::from(device.place) == place
            && !self.devices.iter().any(|other| (other.vm, other.index) == id)
            && config.devices.iter().any(|wanted| is_described(device, wanted))
            && self.is_there(device)
            && device.is_sound(|capability| self.platform.holds(capability))
    }

    /// Whether the function at a device's address is the device. One that is gone, not ready, or virtual says nothing.
    fn is_there(&self, device: &Device) -> bool {
        let says = self.platform.config().read32(device.address, 0);
        let (vendor, id) = (says as u16, (says >> 16) as u16);
        matches!(vendor, u16::MAX | NOT_READY)
            || (vendor, id) == (device.identity.vendor, device.identity.device)
    }
}

fn is_described(device: &Device, wanted: &PciDevice) -> bool {
    (device.vm, device.index) == (wanted.vm, wanted.index)
        && device.owner == wanted.owner
        && device.slot == wanted.slot
        && (device.irqs_first, device.bars_first, device.bars_count)
            == (wanted.irqs_first, wanted.bars_first, wanted.bars_count)
        && device.vectors <= wanted.irqs_count
        && (device.line.is_none() || device.line == wanted.intx)
}

impl Device {
    /// Whether its frames and ports are held, and lie where its BARs are.
    fn is_sound(&self, holds: impl Fn(u64) -> bool) -> bool {
        let is_held = |part: &crate::device::Part| {
            let run = part.run;
            let bytes = 1u64.checked_shl(run.size_bits.into()).and_then(|bytes| bytes.checked_mul(run.count));
            let end = bytes.and_then(|bytes| bytes.checked_add(run.offset));
            let bar = self.view.bars().get(part.bar).filter(|bar| bar.is_memory());
            // A BAR smaller than a page takes a page.
            let inside = bar.is_some_and(|bar| end.is_some_and(|end| end <= bar.size.max(1 << SMALL)));
            inside && (!run.open || (0..run.count).all(|number| holds(part.frame.saturating_add(number))))
        };
        let open = self.parts.iter().filter(|part| part.run.open);
        let frames = open.fold(0, |sum: u64, part| sum.saturating_add(part.run.count));
        frames.saturating_add(self.ports.len() as u64) <= self.bars_count.into()
            && self.parts.iter().all(is_held)
            && self.ports.iter().all(|ports| holds(ports.capability))
    }
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
