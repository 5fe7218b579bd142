// SPDX-License-Identifier: MIT OR Apache-2.0
//! iommu-server: decides which device reaches which memory and which interrupts. The kernel writes the tables.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod invocations;
mod start;

use component::sel4::cap;
use component::{Answer, Message, Server, cpu};
use invocations::Invocations;
use iommu_server::domains::Domains;
use iommu_server::faults::{BATCH, Faults, Line};
use iommu_server::recover::State;
use pci::RequesterId;
use protocol::client;
use protocol::iommu::{self, Fault};
use protocol::kept::Kept;
use protocol::start::signal;
use protocol::timer::SetDeadline;
use protocol::{Protocol, Refusal, Request};

component::main!(main);

fn main(part: component::Part) -> ! {
    match start::start(part) {
        Ok(mut server) => {
            component::ready();
            if server.part.restarts() > 0 {
                server.begin_anew();
            }
            component::serve(&mut server)
        }
        Err(reason) => panic!("{reason}"),
    }
}

/// How long the kernel keeps a flood of faults to itself after a batch was read, milliseconds.
const FLOOD_PAUSE_MS: u64 = 10;

/// The server.
struct Iommu {
    domains: Domains<Invocations>,
    faults: Faults,
    fault_control: Option<cap::DmaFault>,
    timer: Option<cap::Endpoint>,
    tsc_khz: u64,
    part: component::Part,
    kept: Option<Kept<'static>>,
}

impl Iommu {
    /// In the life before this one signals may have been taken and nothing done: faults are looked for, and pci-server looks who was cut off.
    fn begin_anew(&mut self) {
        component::slot::NOTIFICATION.signal();
        if let Some(notification) = self.part.client_notification(client::PCI) {
            notification.signal();
        }
    }

    /// Does something to a device that a death in the middle of it leaves unfinished.
    fn change<R>(
        domains: &mut Domains<Invocations>,
        kept: &mut Option<Kept>,
        device: (u16, u8),
        change: impl FnOnce(&mut Domains<Invocations>) -> R,
    ) -> R {
        let mut keep = |state: State| {
            if !kept.as_mut().is_some_and(|kept| kept.save(&state)) {
                component::log!("what is held for devices can't be kept: after a death it is lost");
            }
        };
        keep(domains.state(Some(device)));
        let done = change(domains);
        keep(domains.state(None));
        done
    }

    /// Reads what faults there are. A device that causes them faster than they can be read must not keep others
    /// waiting: after a batch there is a pause, in which the unit drops what it has no room for.
    fn read_faults(&mut self) {
        let Some(control) = self.fault_control else { return };
        let mut told = 0u64;
        for _ in 0..BATCH {
            let Ok(record) = control.dma_fault_read() else { return };
            let Some(requester) = record.requester else { return };
            let fault = Fault {
                requester: RequesterId(requester),
                iova: record.iova,
                write: !record.read,
                reason: record.reason as u8,
                lost: record.lost,
            };
            let verdict = self.faults.count(fault);
            if let Some(number) = verdict.line {
                let firmwares = self.domains.is_firmwares(fault.requester);
                component::log!("{}", Line { fault, number, firmwares });
            }
            if verdict.quarantine {
                self.quarantine(fault.requester);
            }
            if let Some(vm) = self.domains.owner(fault.requester).filter(|vm| told & 1 << (vm % 64) == 0) {
                told |= 1 << (vm % 64);
                if let Some(notification) = self.part.client_notification(client::of_vm(vm)) {
                    notification.signal();
                }
            }
        }
        let tsc = cpu::tsc() + FLOOD_PAUSE_MS * self.tsc_khz;
        let waits = self.timer.is_some_and(|timer| component::call(timer, &SetDeadline { tsc }).is_ok());
        if !waits {
            component::slot::NOTIFICATION.signal();
        }
    }

    /// Cuts a device off, and has pci-server take its bus mastering away.
    fn quarantine(&mut self, requester: RequesterId) {
        let Some(device) = self.domains.attached(requester) else { return };
        let change = |domains: &mut Domains<_>| domains.quarantine(requester);
        match Self::change(&mut self.domains, &mut self.kept, device, change) {
            Ok(false) => return,
            Ok(true) => component::log!("device {requester}: too many DMA faults: cut off"),
            Err(error) => component::log!("device {requester}: too many DMA faults, but: {error}"),
        }
        if let Some(notification) = self.part.client_notification(client::PCI) {
            notification.signal();
        }
    }

    fn dispatch(&mut self, operation: u16, message: &Message) -> Answer {
        let (domains, kept) = (&mut self.domains, &mut self.kept);
        match operation {
            iommu::Attach::OPERATION => message.answer(|request: iommu::Attach| {
                let (start, device) = (cpu::tsc(), request.requester);
                let id = (request.vm, request.device);
                Self::change(domains, kept, id, |domains| domains.attach(request))?;
                self.faults.attached(device);
                component::log!(
                    "device {device}: its VM's RAM mapped for DMA in {} ticks",
                    cpu::tsc() - start
                );
                Ok(())
            }),
            iommu::Detach::OPERATION => message.answer(|request: iommu::Detach| {
                let id = (request.vm, request.device);
                Self::change(domains, kept, id, |domains| domains.detach(request))?;
                let (attached, entries, numbers) = domains.census();
                component::log!(
                    "a device of VM {} is detached: {attached} attached, {entries} remapping entries and {numbers} interrupt numbers free",
                    request.vm
                );
                Ok(())
            }),
            iommu::Vectors::OPERATION => message.answer(|request: iommu::Vectors| {
                let id = (request.vm, request.device);
                Self::change(domains, kept, id, |domains| domains.grant(request))
            }),
            iommu::Line::OPERATION => message.answer(|request: iommu::Line| {
                let id = (request.vm, request.device);
                Self::change(domains, kept, id, |domains| domains.grant_line(request))
            }),
            iommu::ProbeLine::OPERATION => {
                message.answer(|request: iommu::ProbeLine| domains.probe_line(request))
            }
            iommu::Block::OPERATION => message.answer(|request: iommu::Block| domains.block(request)),
            iommu::Probe::OPERATION => message.answer(|request: iommu::Probe| Ok(domains.probe(request))),
            iommu::Faults::OPERATION => message.answer(|request: iommu::Faults| {
                let requester = domains.requester(request.vm, request.device)?;
                let mut count = requester.map(|r| self.faults.of(r)).unwrap_or_default();
                count.quarantined |= domains.is_cut(request.vm, request.device);
                Ok(count)
            }),
            _ => Answer::refuse(Refusal::UnknownOperation),
        }
    }
}

impl Server for Iommu {
    fn request(&mut self, message: &Message) -> Answer {
        match message.operation(Protocol::IOMMU) {
            // Nobody else has the endpoint; if somebody came by it, it is of no use to him.
            Ok(_) if message.client != client::PCI => Answer::refuse(Refusal::UnknownOperation),
            Ok(operation) => self.dispatch(operation, message),
            Err(refusal) => Answer::refuse(refusal),
        }
    }

    fn signal(&mut self, bits: u64) {
        // Whoever signalled: reading once too often does no harm.
        if bits & (signal::DMA_FAULT | signal::TIMER) != 0 || bits == 0 {
            self.read_faults();
        }
    }
}
