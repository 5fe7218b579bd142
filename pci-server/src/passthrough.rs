// SPDX-License-Identifier: MIT OR Apache-2.0
//! The promised devices: requests of their VMMs, resets, and the ends of VMs.

use heapless::Vec;
use pci::config::{self, command};
use pci::life::{Event, Illegal, State};
use pci::reset::{Progress, Sequence};
use pci::view::{Effect, Interrupts};
use pci::{Address, ConfigSpace, Message, Msi, MsiX, Width};
use protocol::iommu::{self, Granted};
use protocol::pci::{
    Attach, Attached, BarRead, BarWrite, ConfigRead, ConfigWrite, Describe, Description, Detach, Error,
    MAX_PROMISED, MaskVector,
};

use crate::device::{Device, Resetting};
use crate::platform::Platform;
use crate::recover::Record;

/// How often in a row iommu-server may die while a device is being given to its VM.
const MAX_UNANSWERED: u8 = 3;
/// Word of an MSI-X table entry that masks it, and its mask bit.
const ENTRY_CONTROL: u64 = 12;

/// Status register: the device wants to interrupt by its line (PCI Local Bus 3.0, section 6.2.3).
const STATUS_INTERRUPT: u16 = 1 << 3;

/// All promised devices.
pub struct Passthrough<P> {
    /// The machine and the others.
    pub platform: P,
    pub(crate) devices: Vec<Device, MAX_PROMISED>,
    /// VMs that have ended, a bit each.
    ended: u32,
    /// Devices, by VM and index, of which nothing is known since this server died.
    pub(crate) lost: Vec<(u16, u8), MAX_PROMISED>,
}

impl<P: Platform> Passthrough<P> {
    /// Without devices.
    pub fn new(platform: P) -> Self {
        Self { platform, devices: Vec::new(), ended: 0, lost: Vec::new() }
    }

    /// Adds a device; false if there are too many.
    pub fn add(&mut self, device: Device) -> bool {
        self.devices.push(device).is_ok()
    }

    /// The platform and the devices, to make the devices' frames.
    pub fn parts(&mut self) -> (&mut P, &mut [Device]) {
        (&mut self.platform, &mut self.devices)
    }

    /// All devices have been added: from now on they are kept for the life after this one.
    pub fn settled(&mut self) {
        for found in 0..self.devices.len() {
            // There are few.
            self.devices[found].place = found as u8;
            self.keep(found, false);
        }
    }

    /// Takes a VM's devices out, before it was started.
    pub fn refuse(&mut self, vm: u16) {
        self.devices.retain(|device| device.vm != vm);
    }

    /// The device at this address, if it was promised to a VM, and the DMA faults that it has caused.
    pub fn promised(&mut self, address: Address) -> Option<(&Device, Option<u32>)> {
        let device = self.devices.iter().find(|device| device.address == address)?;
        let asked = iommu::Faults { vm: device.vm, device: device.index };
        let faults = self.platform.iommu_faults(asked).ok().map(|faults| faults.count);
        Some((device, faults))
    }

    fn find(&self, vm: u16, index: u8) -> Result<usize, Error> {
        if 1u32.checked_shl(vm.into()).is_some_and(|bit| self.ended & bit != 0) {
            return Err(Error::Ended);
        }
        if self.lost.contains(&(vm, index)) {
            return Err(Error::Lost);
        }
        if !self.devices.iter().any(|device| device.vm == vm) {
            return Err(Error::UnknownClient);
        }
        self.devices.iter().position(|d| (d.vm, d.index) == (vm, index)).ok_or(Error::NoSuchDevice)
    }

    fn find_attached(&self, vm: u16, index: u8) -> Result<usize, Error> {
        let found = self.find(vm, index)?;
        match self.devices[found].life.state() {
            State::Attached => Ok(found),
            State::Faulted | State::Quarantined => Err(Error::Quarantined),
            _ => Err(Error::NotAttached),
        }
    }

    /// What a device is.
    pub fn describe(&self, vm: u16, request: Describe) -> Result<Description, Error> {
        Ok(self.devices[self.find(vm, request.device)?].description())
    }

    /// Resets a device, or gives it to its VM if that has been done.
    pub fn attach(&mut self, vm: u16, request: Attach) -> Result<Attached, Error> {
        let found = self.find(vm, request.device)?;
        let waits = self.physical_is_resetting(found);
        let device = &self.devices[found];
        if device.resetting.is_some() || device.waits || waits {
            return Err(Error::Resetting);
        }
        match device.life.state() {
            State::Attached => return Ok(device.attached()),
            State::Faulted | State::Quarantined => return Err(Error::Quarantined),
            State::ResetFailed => return Err(Error::ResetFailed),
            State::Found | State::Detached if device.methods.is_empty() => return Err(Error::UsedUp),
            State::Found | State::Reserved | State::Quiet | State::Detached => {}
        }
        self.keep(found, true);
        let outcome = self.reset_or_give(found);
        self.keep(found, false);
        outcome
    }

    fn reset_or_give(&mut self, found: usize) -> Result<Attached, Error> {
        let device = &mut self.devices[found];
        match device.life.state() {
            State::Quiet => {}
            // Nobody has used it since boot.
            State::Reserved if device.methods.is_empty() => {
                Self::step(&mut self.platform, device, Event::Calm)?;
            }
            _ => {
                // What couldn't be taken back from its last owner has to be first.
                self.take_back(found)?;
                self.start_reset(found);
                return Err(Error::Resetting);
            }
        }
        let outcome = self.give(found);
        if outcome.is_err() {
            // Half of it is nothing. What can't be undone shows when the device is detached again.
            let _ = self.take_back(found);
        }
        let device = &mut self.devices[found];
        match outcome {
            // iommu-server has died of it, and is there again: all of it once more.
            Err(Error::NoAnswer) if !device.methods.is_empty() && device.unanswered < MAX_UNANSWERED => {
                device.unanswered += 1;
                self.start_reset(found);
                return Err(Error::Resetting);
            }
            _ => device.unanswered = 0,
        }
        outcome
    }

    /// Keeps what is known of a device for the life after this one. `busy`: if that begins now, what is being done has to be undone.
    pub(crate) fn keep(&mut self, found: usize, busy: bool) {
        let device = &self.devices[found];
        self.platform.keep(device.place.into(), &Record { device, busy });
    }

    /// A step that the machine of states allows. One that it doesn't is a mistake of this server, and nothing is done.
    pub(crate) fn step(platform: &mut P, device: &mut Device, event: Event) -> Result<(), Error> {
        device.life.step(event).map(drop).map_err(|illegal: Illegal| {
            platform.log(format_args!("{}: {illegal}", device.address));
            Error::NotAttached
        })
    }

    /// Whether a device is a virtual function whose physical one is being reset.
    pub(crate) fn physical_is_resetting(&self, found: usize) -> bool {
        let physical = self.devices[found].physical;
        self.devices.iter().any(|device| Some(device.function) == physical && device.resetting.is_some())
    }

    /// The reset of a physical function ends its virtual ones, which come back as new. Whoever has one loses bus and messages first, and
    /// gets them back by a reset of its own.
    pub(crate) fn cut_off_virtuals(&mut self, found: usize) {
        let physical = Some(self.devices[found].function);
        for device in self.devices.iter_mut().filter(|device| device.physical == physical) {
            if device.resetting.take().is_some() {
                device.waits = true;
                self.platform.keep(device.place.into(), &Record { device, busy: false });
            }
            if device.life.state() != State::Attached
                || Self::step(&mut self.platform, device, Event::Fault).is_err()
            {
                continue;
            }
            config::update_command(self.platform.config(), device.address, 0, command::BUS_MASTER);
            Self::silence(self.platform.config(), device);
            // What comes back in its place is reset before anybody gets it. A frame that stays shows when it is detached.
            for part in device.parts.iter().filter(|part| part.run.open) {
                for number in 0..part.run.count {
                    let _ = self.platform.hide_frame(part.frame + number);
                }
            }
            let _ = Self::step(&mut self.platform, device, Event::Quarantine);
            self.platform.keep(device.place.into(), &Record { device, busy: false });
            let Device { address, owner, .. } = &*device;
            self.platform.log(format_args!(
                "{address} of vm {owner}: cut off, since its physical function is reset; a reset of its own gives it back"
            ));
        }
    }

    /// The reset of a physical function is over: those of its virtual ones that waited begin, and who asked for one asks again.
    fn go_on_with_virtuals(&mut self, found: usize) {
        let physical = Some(self.devices[found].function);
        for number in 0..self.devices.len() {
            let device = &mut self.devices[number];
            if device.physical != physical {
                continue;
            }
            if core::mem::take(&mut device.waits) {
                self.start_reset(number);
            } else {
                self.tell(number);
            }
        }
    }

    /// Tells a device's VMM to ask again.
    pub(crate) fn tell(&mut self, found: usize) {
        let vm = self.devices[found].vm;
        if self.ended & 1 << (vm & 31) == 0 {
            self.platform.signal(vm);
        }
    }

    /// Starts the reset of a device that isn't given, if it has one.
    fn start_reset(&mut self, found: usize) {
        if self.devices[found].methods.is_empty() {
            return;
        }
        if self.physical_is_resetting(found) {
            self.devices[found].waits = true;
            self.keep(found, false);
            return;
        }
        self.cut_off_virtuals(found);
        let device = &mut self.devices[found];
        let space = self.platform.config();
        let begun = Sequence::begin(space, device.address, &device.methods, &device.saved);
        let Some((sequence, progress)) = begun else { return };
        self.advance(found, sequence, progress);
        self.arm();
    }

    /// DMA, interrupts and registers, in this order; bus mastering is the guest's to ask for.
    fn give(&mut self, found: usize) -> Result<Attached, Error> {
        let device = &mut self.devices[found];
        let (vm, index) = (device.vm, device.index);
        // From here on there is something to take back.
        Self::step(&mut self.platform, device, Event::Attach)?;
        device.holds = true;
        self.platform.iommu_attach(iommu::Attach { vm, device: index, requester: device.requester })?;
        let (set, clear) = match device.ports.is_empty() {
            true => (0, command::IO),
            false => (command::IO, 0),
        };
        config::update_command(
            self.platform.config(),
            device.address,
            set | command::MEMORY | command::INTX_DISABLE,
            clear | command::BUS_MASTER,
        );
        Self::set_rom(self.platform.config(), device, true);
        if device.vectors > 0 {
            let granted =
                self.platform.iommu_vectors(iommu::Vectors { vm, device: index, count: device.vectors })?;
            self.program(found, granted)?;
        }
        if self.devices[found].line.is_some() {
            self.platform.iommu_line(iommu::Line { vm, device: index })?;
        }
        let device = &mut self.devices[found];
        let mut slot = device.bars_first;
        for part in device.parts.iter().filter(|part| part.run.open) {
            for number in 0..part.run.count {
                self.platform.show_frame(vm, slot, part.frame + number)?;
                slot += 1;
            }
        }
        for ports in &device.ports {
            self.platform.show_frame(vm, slot, ports.capability)?;
            slot += 1;
        }
        Self::pass_command(&self.platform, device);
        let Device { address, vectors, owner, .. } = &*device;
        match device.line {
            Some(line) => self.platform.log(format_args!(
                "{address}: attached to vm {owner}, interrupts by its line, global interrupt {line}"
            )),
            None => self
                .platform
                .log(format_args!("{address}: attached to vm {owner}, {vectors} interrupt vector(s)")),
        }
        Ok(device.attached())
    }

    /// Writes the messages into the device, once and for all, each vector masked if the device can do that.
    fn program(&self, found: usize, granted: Granted) -> Result<(), Error> {
        let device = &self.devices[found];
        let (space, at) = (self.platform.config(), device.address);
        match device.view.interrupts() {
            Interrupts::None => Ok(()),
            Interrupts::Msi(msi) => {
                let message = match granted {
                    Granted::Remapped { first } if device.vectors == 1 => Message::remappable(first),
                    Granted::Remapped { first } => Message::remappable_block(first),
                    Granted::Plain { first } => Message::compatible(first),
                };
                if let Some(mask) = msi.mask() {
                    space.write32(at, mask, u32::MAX);
                }
                space.write32(at, msi.address(), message.address);
                if msi.wide {
                    space.write32(at, msi.address() + 4, 0);
                }
                space.write16(at, msi.data(), message.data);
                let control = space.read16(at, msi.control());
                let log2 = device.vectors.ilog2() as u8;
                space.write16(at, msi.control(), msi.control_word(control, true, log2));
                Ok(())
            }
            Interrupts::MsiX(msix) => {
                for entry in 0..msix.entries {
                    self.write_entry(found, &msix, entry, ENTRY_CONTROL, 1).ok_or(Error::BadAccess)?;
                }
                for vector in 0..device.vectors {
                    let message = match granted {
                        Granted::Remapped { first } => Message::remappable(first + vector),
                        Granted::Plain { first } => Message::compatible(first + vector as u8),
                    };
                    let words = [(0, message.address), (4, 0), (8, message.data.into())];
                    for (word, value) in words {
                        self.write_entry(found, &msix, vector, word, value).ok_or(Error::BadAccess)?;
                    }
                }
                let control = space.read16(at, msix.control());
                space.write16(at, msix.control(), control & !MsiX::MASK_ALL | MsiX::ENABLE);
                Ok(())
            }
        }
    }

    fn write_entry(&self, found: usize, msix: &MsiX, entry: u16, word: u64, value: u32) -> Option<()> {
        let offset = u64::from(msix.table_offset) + u64::from(entry) * MsiX::ENTRY + word;
        let (page, at) = self.devices[found].forwarded(msix.table_bar, offset, 4)?;
        self.platform.write_page(page, at, 4, value.into())
    }

    /// The expansion ROM is where firmware put it, and answers if its guest wants it to.
    fn set_rom(space: &impl ConfigSpace, device: &Device, is_given: bool) {
        if let Some(word) = device.rom_register(is_given) {
            space.write32(device.address, config::register::ROM, word);
        }
    }

    /// Messages off. They come as requests of the bus master, but not in every device's hardware.
    fn silence(space: &impl ConfigSpace, device: &Device) {
        let at = device.address;
        match device.view.interrupts() {
            Interrupts::None => {}
            Interrupts::Msi(msi) => {
                let control = space.read16(at, msi.control());
                space.write16(at, msi.control(), control & !Msi::ENABLE);
            }
            Interrupts::MsiX(msix) => {
                let control = space.read16(at, msix.control());
                space.write16(at, msix.control(), control & !MsiX::ENABLE | MsiX::MASK_ALL);
            }
        }
    }

    /// iommu-server has cut devices off for their DMA faults: takes them off the bus. Their guests keep the registers
    /// that they have mapped; only a reset gives more back.
    pub fn quarantine(&mut self) {
        for device in &mut self.devices {
            if device.life.state() != State::Attached {
                continue;
            }
            let asked = iommu::Faults { vm: device.vm, device: device.index };
            let Ok(faults) = self.platform.iommu_faults(asked) else { continue };
            if !faults.quarantined {
                continue;
            }
            if Self::step(&mut self.platform, device, Event::Fault).is_err() {
                continue;
            }
            let (set, clear) = (command::INTX_DISABLE, command::BUS_MASTER);
            config::update_command(self.platform.config(), device.address, set, clear);
            Self::silence(self.platform.config(), device);
            let _ = Self::step(&mut self.platform, device, Event::Quarantine);
            self.platform.keep(device.place.into(), &Record { device, busy: false });
            let Device { address, owner, .. } = &*device;
            self.platform.log(format_args!(
                "{address} of vm {owner}: quarantined after {} DMA faults: bus mastering and messages are off",
                faults.count
            ));
        }
    }

    /// Bus mastering off, interrupts off, domain and handlers gone, frames gone. All of it is tried, whatever fails; the
    /// first error is told.
    pub(crate) fn take_back(&mut self, found: usize) -> Result<(), Error> {
        let device = &mut self.devices[found];
        if device.life.state().is_given() {
            Self::step(&mut self.platform, device, Event::Detach)?;
        }
        if !device.holds {
            return Ok(());
        }
        let space = self.platform.config();
        space.write16(device.address, config::register::COMMAND, command::INTX_DISABLE);
        Self::set_rom(space, device, false);
        Self::silence(space, device);
        let mut outcome = self.platform.iommu_detach(iommu::Detach { vm: device.vm, device: device.index });
        for part in device.parts.iter().filter(|part| part.run.open) {
            for number in 0..part.run.count {
                outcome = outcome.and(self.platform.hide_frame(part.frame + number));
            }
        }
        for ports in &device.ports {
            outcome = outcome.and(self.platform.hide_frame(ports.capability));
        }
        device.view.restart();
        // With something left the device isn't anybody's to have, nor its VM's memory.
        device.holds = outcome.is_err();
        outcome
    }

    /// Takes a device back for its VMM.
    pub fn detach(&mut self, vm: u16, request: Detach) -> Result<(), Error> {
        let found = self.find(vm, request.device)?;
        self.retire(found)
    }

    /// Takes a device back, and rids it of what its owner has left in it.
    fn retire(&mut self, found: usize) -> Result<(), Error> {
        self.keep(found, true);
        let outcome = self.take_back(found);
        let device = &self.devices[found];
        if outcome.is_ok() && device.life.state() == State::Detached && device.resetting.is_none() {
            self.start_reset(found);
        }
        self.keep(found, false);
        outcome
    }

    /// Reads what the guest sees.
    pub fn config_read(&self, vm: u16, request: ConfigRead) -> Result<u32, Error> {
        let device = &self.devices[self.find(vm, request.device)?];
        let width = Width::from_bytes(request.width).ok_or(Error::BadAccess)?;
        let shown = device.view.read(request.offset, width).ok_or(Error::BadAccess)?;
        Ok(shown | self.pulls(device, request.offset, width))
    }

    /// The bits of an access to configuration space that say that the device wants to pull its line.
    fn pulls(&self, device: &Device, offset: u16, width: Width) -> u32 {
        let shift = config::register::STATUS.wrapping_sub(offset);
        if shift >= width.bytes() || device.line.is_none() || device.life.state() != State::Attached {
            return 0;
        }
        let status = self.platform.config().read16(device.address, config::register::STATUS);
        u32::from(status & STATUS_INTERRUPT) << (8 * shift)
    }

    /// Writes what the guest may change. Of all that only bus mastering reaches the device, and whether its ROM answers, and only
    /// while attached.
    pub fn config_write(&mut self, vm: u16, request: ConfigWrite) -> Result<Effect, Error> {
        let found = self.find(vm, request.device)?;
        let device = &mut self.devices[found];
        let width = Width::from_bytes(request.width).ok_or(Error::BadAccess)?;
        let effect = device.view.write(request.offset, width, request.value).ok_or(Error::BadAccess)?;
        match effect {
            Effect::Command { .. } => Self::pass_command(&self.platform, device),
            Effect::Reset if device.life.state().may_master_the_bus() => {
                let (set, clear) = (command::INTX_DISABLE, command::BUS_MASTER);
                config::update_command(self.platform.config(), device.address, set, clear);
            }
            _ => {}
        }
        if let Effect::Rom { .. } = effect
            && device.life.state() == State::Attached
        {
            Self::set_rom(self.platform.config(), device, true);
        }
        self.keep(found, false);
        Ok(effect)
    }

    /// The two bits of the command register that are the guest's as long as the device is attached: bus mastering, and of a
    /// device with a line whether it may pull that.
    fn pass_command(platform: &P, device: &Device) {
        if !device.life.state().may_master_the_bus() {
            return;
        }
        let master = if device.view.bus_master() { command::BUS_MASTER } else { 0 };
        let silent = device.line.is_none() || device.view.line_off();
        let silent = if silent { command::INTX_DISABLE } else { 0 };
        let all = command::BUS_MASTER | command::INTX_DISABLE;
        config::update_command(platform.config(), device.address, master | silent, all & !(master | silent));
    }

    /// Reads a forwarded register.
    pub fn bar_read(&self, vm: u16, request: BarRead) -> Result<u64, Error> {
        let BarRead { device, bar, offset, width } = request;
        let found = self.find_attached(vm, device)?;
        if let Some((capability, port)) = self.devices[found].port(bar, offset, width) {
            return self.platform.read_port(capability, port, width).ok_or(Error::BadAccess);
        }
        let (page, at) = self.forwarded(found, bar, offset, width)?;
        self.platform.read_page(page, at, width).ok_or(Error::BadAccess)
    }

    /// Writes a forwarded register.
    pub fn bar_write(&mut self, vm: u16, request: BarWrite) -> Result<(), Error> {
        let BarWrite { device, bar, offset, width, value } = request;
        let found = self.find_attached(vm, device)?;
        if let Some((capability, port)) = self.devices[found].port(bar, offset, width) {
            return self.platform.write_port(capability, port, width, value).ok_or(Error::BadAccess);
        }
        let (page, at) = self.forwarded(found, bar, offset, width)?;
        self.platform.write_page(page, at, width, value).ok_or(Error::BadAccess)
    }

    fn forwarded(&self, found: usize, bar: u8, offset: u64, width: u8) -> Result<(u16, u16), Error> {
        let device = &self.devices[found];
        let place = device.forwarded(bar, offset, width).ok_or(Error::BadAccess)?;
        if device.in_table(bar, offset, width) { Err(Error::BadAccess) } else { Ok(place) }
    }

    /// Masks or unmasks a vector.
    pub fn mask(&mut self, vm: u16, request: MaskVector) -> Result<(), Error> {
        let MaskVector { device, vector, masked } = request;
        let found = self.find_attached(vm, device)?;
        let device = &self.devices[found];
        if vector >= device.vectors {
            return Err(Error::NoSuchVector);
        }
        match device.view.interrupts() {
            Interrupts::None => {}
            Interrupts::Msi(msi) => {
                if let Some(mask) = msi.mask() {
                    let (space, at) = (self.platform.config(), device.address);
                    let bit = 1u32 << (vector & 31);
                    let old = space.read32(at, mask);
                    space.write32(at, mask, if masked { old | bit } else { old & !bit });
                }
            }
            Interrupts::MsiX(msix) => {
                let written = self.write_entry(found, &msix, vector, ENTRY_CONTROL, masked.into());
                written.ok_or(Error::BadAccess)?;
            }
        }
        Ok(())
    }

    /// The deadline has come: goes on with resets.
    pub fn tick(&mut self) {
        for found in 0..self.devices.len() {
            let device = &self.devices[found];
            let Some(Resetting { mut sequence, until }) = device.resetting else { continue };
            if self.platform.now() >= until {
                self.keep(found, true);
                let device = &self.devices[found];
                let space = self.platform.config();
                let progress = sequence.go_on(space, device.address, &device.methods, &device.saved);
                self.advance(found, sequence, progress);
            }
        }
        self.arm();
    }

    /// What a step of a reset means for its device.
    fn advance(&mut self, found: usize, sequence: Sequence, progress: Progress) {
        let device = &mut self.devices[found];
        let event = match progress {
            Progress::Wait(milliseconds) => {
                let until = self.platform.now() + self.platform.ticks(milliseconds);
                device.resetting = Some(Resetting { sequence, until });
                self.keep(found, false);
                return;
            }
            Progress::Done => Event::Calm,
            Progress::Failed => Event::Lose,
        };
        device.resetting = None;
        let before = device.life.state();
        let _ = Self::step(&mut self.platform, device, event);
        self.platform.keep(device.place.into(), &Record { device, busy: false });
        let Device { address, owner, .. } = &*device;
        if event == Event::Lose {
            self.platform.log(format_args!(
                "{address} of vm {owner} did not come back after its reset: nobody gets it any more"
            ));
        } else if before == State::Detached {
            self.platform.log(format_args!("{address}: reset, quiet"));
        }
        self.tell(found);
        self.go_on_with_virtuals(found);
    }

    /// Asks for the earliest deadline.
    fn arm(&mut self) {
        let waiting = self.devices.iter().filter_map(|device| Some(device.resetting?.until));
        if let Some(until) = waiting.min() {
            self.platform.set_deadline(until);
        }
    }

    /// A VM has ended: quiets its devices, and tells the root task once they are. If one can't be quieted it is never
    /// told, and the VM's memory is nobody's until the next boot.
    pub fn vm_ended(&mut self, vm: u16) {
        let Some(bit) = 1u32.checked_shl(vm.into()) else { return };
        self.ended |= bit;
        let mut quiet = true;
        for (_, index) in self.lost.iter().filter(|lost| lost.0 == vm) {
            quiet = false;
            self.platform.log(format_args!("device {index} of VM {vm} can't be quieted: {}", Error::Lost));
        }
        for found in 0..self.devices.len() {
            if self.devices[found].vm != vm {
                continue;
            }
            if let Err(error) = self.retire(found) {
                quiet = false;
                let Device { address, owner, .. } = &self.devices[found];
                self.platform.log(format_args!("{address} of vm {owner} can't be quieted: {error}"));
            }
        }
        if quiet && self.platform.quieted(vm) {
            // The old VMM is gone with its endpoint; whoever asks next is its successor.
            self.ended &= !bit;
        }
    }
}

#[cfg(test)]
#[path = "passthrough_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "show_tests.rs"]
mod show_tests;

#[cfg(test)]
#[path = "virtual_life_tests.rs"]
pub(crate) mod virtual_tests;
