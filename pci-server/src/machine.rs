// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine and the other parts, for real.

use core::fmt;

use component::memory::slot_at;
use component::sel4::{self, CapRights, cap};
use component::{Part, cpu};
use heapless::Vec;
use pci_server::platform::Platform;
use pci_server::recover::{Found, Record, Spoilt};
use protocol::client;
use protocol::iommu;
use protocol::kept::{Kept, PCI_VALUE_BYTES, PCI_VALUES, longest};
use protocol::message::{CallError, Refusal, Request};
use protocol::pci::{Error, MAX_PROMISED};
use protocol::start::{RangeKind, cptr, mount};
use protocol::supervisor::{Ports, Quieted};
use protocol::timer::SetDeadline;

use crate::ecam::Ecam;
use crate::frames::Frames;

/// How often iommu-server is asked the same if it dies of it.
const ATTEMPTS: usize = 3;

/// Everything that pci-server holds.
pub struct Real {
    /// Configuration space.
    pub ecam: Ecam,
    /// BAR frames.
    pub frames: Frames,
    /// iommu-server, if there is one.
    pub iommu: Option<cap::Endpoint>,
    /// timer-server.
    pub timer: Option<cap::Endpoint>,
    /// Clients' notifications.
    pub part: Part,
    /// Frequency of the time-stamp counter.
    pub tsc_khz: u64,
    /// A place for each device, and behind them one for the frames. None if there are no pages for them.
    kept: Vec<Kept<'static>, PCI_VALUES>,
    /// Nothing is known of the frames that the life before this one had.
    spoilt: bool,
}

impl Real {
    /// With what the start page gives; configuration space and device memory come later.
    pub fn new(mut part: Part) -> Self {
        let pages = part.kept().unwrap_or_default().chunks_exact(PCI_VALUE_BYTES);
        Self {
            ecam: Ecam::default(),
            // Without empty slots nothing can be made, and each device is refused for that.
            frames: Frames::new(part.memory()),
            iommu: part.cap(RangeKind::IommuEndpoint),
            timer: part.cap(RangeKind::TimerEndpoint),
            tsc_khz: part.facts().tsc_khz,
            kept: pages.filter_map(Kept::new).take(PCI_VALUES).collect(),
            spoilt: false,
            part,
        }
    }

    /// All frames are made: keeps what has to be known of them.
    pub fn settled(&mut self) {
        let held = self.frames.settled();
        if !self.kept.get_mut(MAX_PROMISED).is_some_and(|kept| kept.save(held)) {
            component::log!("what is known of the frames can't be kept: after a death it is lost");
        }
    }

    /// After a death: takes over what the life before held. False if that isn't known.
    #[inline(never)]
    pub fn recover(&mut self) -> bool {
        let held = self.kept.get(MAX_PROMISED).and_then(|kept| kept.load(&mut [0; longest(PCI_VALUE_BYTES)]));
        self.spoilt = held.is_none_or(|held| self.frames.recover(held).is_err());
        !self.spoilt
    }

    /// A capability for ports, from the root task; `None` if there is none.
    pub fn ports(&mut self, first: u16, last: u16) -> Option<u64> {
        let address = self.frames.slot()?;
        let asked = Ports { first, last, slot: address as u16 };
        if component::call(component::slot::SUPERVISOR, &asked).is_err() {
            self.frames.give_back(address);
            return None;
        }
        Some(address)
    }

    /// Waits, before anybody is served.
    pub fn wait(&mut self, milliseconds: u64) -> Result<(), &'static str> {
        let until = self.now() + self.ticks(milliseconds);
        let timer = self.timer.ok_or("there is no timer-server")?;
        while self.now() < until {
            // A signal can come too early: if timer-server dies it forgets the deadline and signals everybody.
            match component::call(timer, &SetDeadline { tsc: until }) {
                Ok(()) | Err(CallError::Refused(Refusal::Restarted)) => _ = component::wait(),
                Err(_) => return Err("timer-server took no deadline"),
            }
        }
        Ok(())
    }

    /// Asks iommu-server for what can be done twice: if it dies with the request it is asked again.
    fn ask_again<R: Request<Error = iommu::Error>>(&self, request: &R) -> Result<R::Reply, Error> {
        let mut answer = self.ask(request);
        for _ in 1..ATTEMPTS {
            if !matches!(answer, Err(Error::NoAnswer)) {
                break;
            }
            answer = self.ask(request);
        }
        answer
    }

    /// Asks iommu-server.
    pub fn ask<R: Request<Error = iommu::Error>>(&self, request: &R) -> Result<R::Reply, Error> {
        let iommu = self.iommu.ok_or(Error::Iommu(iommu::Error::NoIommu))?;
        component::call(iommu, request).map_err(|error| match error {
            CallError::Failed(error) => Error::Iommu(error),
            _ => Error::NoAnswer,
        })
    }
}

fn kernel(error: sel4::Error) -> Error {
    Error::Kernel(error as u64 as u8)
}

impl Platform for Real {
    type Config = Ecam;

    fn config(&self) -> &Ecam {
        &self.ecam
    }

    fn now(&self) -> u64 {
        cpu::tsc()
    }

    fn ticks(&self, milliseconds: u64) -> u64 {
        milliseconds * self.tsc_khz
    }

    fn set_deadline(&mut self, tsc: u64) {
        // If it dies with the request it signals everybody when it is there again, and whoever waits asks anew.
        let told = self.timer.is_some_and(|timer| component::call(timer, &SetDeadline { tsc }).is_ok());
        if !told {
            component::log!("timer-server took no deadline");
        }
    }

    fn iommu_attach(&mut self, request: iommu::Attach) -> Result<(), Error> {
        self.ask(&request)
    }

    fn iommu_vectors(&mut self, request: iommu::Vectors) -> Result<iommu::Granted, Error> {
        self.ask(&request)
    }

    fn iommu_line(&mut self, request: iommu::Line) -> Result<(), Error> {
        self.ask(&request)
    }

    fn iommu_detach(&mut self, request: iommu::Detach) -> Result<(), Error> {
        self.ask_again(&request)
    }

    fn iommu_faults(&mut self, request: iommu::Faults) -> Result<iommu::FaultCount, Error> {
        self.ask_again(&request)
    }

    fn show_frame(&mut self, vm: u16, slot: u16, frame: u64) -> Result<(), Error> {
        let to = slot_at(cptr(mount::pci_bars(vm), slot.into()));
        to.copy(&slot_at(frame), CapRights::read_write()).map_err(kernel)
    }

    fn hide_frame(&mut self, frame: u64) -> Result<(), Error> {
        slot_at(frame).revoke().map_err(kernel)
    }

    fn read_page(&self, page: u16, offset: u16, width: u8) -> Option<u64> {
        let (region, at) = (self.frames.region(page)?, offset.into());
        match width {
            1 => region.read::<u8>(at).map(u64::from),
            2 => region.read::<u16>(at).map(u64::from),
            4 => region.read::<u32>(at).map(u64::from),
            8 => region.read::<u64>(at),
            _ => None,
        }
    }

    fn write_page(&self, page: u16, offset: u16, width: u8, value: u64) -> Option<()> {
        let (region, at) = (self.frames.region(page)?, offset.into());
        match width {
            1 => region.write(at, value as u8),
            2 => region.write(at, value as u16),
            4 => region.write(at, value as u32),
            8 => region.write(at, value),
            _ => None,
        }
    }

    fn read_port(&self, capability: u64, port: u16, width: u8) -> Option<u64> {
        let ports = cap::IOPort::from_bits(capability);
        match width {
            1 => ports.ioport_in8(port).map(u64::from).ok(),
            2 => ports.ioport_in16(port).map(u64::from).ok(),
            4 => ports.ioport_in32(port).map(u64::from).ok(),
            _ => None,
        }
    }

    fn write_port(&self, capability: u64, port: u16, width: u8, value: u64) -> Option<()> {
        let ports = cap::IOPort::from_bits(capability);
        match width {
            1 => ports.ioport_out8(port, value as u8).ok(),
            2 => ports.ioport_out16(port, value as u16).ok(),
            4 => ports.ioport_out32(port, value as u32).ok(),
            _ => None,
        }
    }

    fn keep(&mut self, place: usize, record: &Record) {
        if !self.kept.get_mut(place).is_some_and(|kept| kept.save(record)) {
            component::log!("what is known of device {place} can't be kept: after a death it is lost");
        }
    }

    #[inline(never)]
    fn kept(&self, place: usize) -> Result<Option<Found>, Spoilt> {
        let kept = self.kept.get(place).filter(|_| !self.spoilt).ok_or(Spoilt)?;
        if kept.is_untouched() {
            return Ok(None);
        }
        kept.load(&mut [0; longest(PCI_VALUE_BYTES)]).map(Some).ok_or(Spoilt)
    }

    fn holds(&self, capability: u64) -> bool {
        self.frames.holds(capability)
    }

    fn signal(&mut self, vm: u16) {
        if let Some(notification) = self.part.client_notification(client::of_vm(vm)) {
            notification.signal();
        }
    }

    fn quieted(&mut self, vm: u16) -> bool {
        let taken = component::call(component::slot::SUPERVISOR, &Quieted { vm }).is_ok();
        if !taken {
            component::log!("the root task did not take that the devices of VM {vm} are quiet");
        }
        taken
    }

    fn log(&mut self, line: fmt::Arguments) {
        component::log::line(line);
    }
}
