// SPDX-License-Identifier: MIT OR Apache-2.0
//! What parts tell the root task: that they are ready, that a VM can't run or has ended, and their faults.

use alloc::boxed::Box;

use protocol::client::{self, ENDPOINT_MARK};
use protocol::message::{self, Refusal};
use protocol::supervisor::{Exited, Ports, Quieted, Ready, Refused, SupervisorError};
use protocol::{Protocol, Request};
use root_task::lifecycle::{SHORT_LIFE_MS, SHORT_LIVES, State, Then};
use root_task::ports;
use sel4::{CapRights, Fault, MessageInfo, cap_type, init_thread};
use system_spec::compiled::Action;

use crate::end::End;
use crate::failure::{During, Failure};
use crate::log;
use crate::look::Look;
use crate::power;
use crate::resources::{at, in_slot};
use crate::system::System;

/// Exit code of a VM whose VMM failed.
pub(crate) const VMM_FAILED: u32 = 255;

/// What arrived.
enum Event {
    Ready,
    Refused(Refused),
    Exited(Exited),
    Quieted(Quieted),
    Ports(Ports),
    Look(Look),
    Fault(Fault),
    #[cfg(feature = "deaths")]
    Kill(protocol::supervisor::Kill),
    /// None of the supervisor's requests.
    Bad(Refusal),
}

/// What is answered.
pub(crate) enum Answer {
    Done,
    NotYours,
    NoSuchPorts,
    /// What this encodes.
    Encode(Box<dyn Fn() -> MessageInfo>),
    Refusal(Refusal),
    /// Nothing: the caller doesn't run on.
    None,
}

impl System<'_> {
    /// Serves parts until the server `client` says that it is ready.
    pub fn wait_until_ready(&mut self, client: u64) {
        while self.serve_one() != Some(client) {}
    }

    /// Starts VMs, and those that have ended again, and serves parts, until no VM is left; then turns the machine off.
    pub fn supervise(&mut self) -> ! {
        while !self.life.all_over() {
            match self.life.next() {
                Some(number) => self.start_or_refuse(number),
                None => {
                    self.serve_one();
                }
            }
        }
        log!("all virtual machines have ended");
        power::off(self)
    }

    /// Serves one message; the client that said it is ready.
    fn serve_one(&mut self) -> Option<u64> {
        let reply = in_slot::<cap_type::Reply>(self.reply);
        let (info, badge) = in_slot::<cap_type::Endpoint>(self.common.supervisor).recv(reply);
        let client = badge & !ENDPOINT_MARK;
        let event = decode(info);
        let ready = matches!(event, Event::Ready).then_some(client);
        match self.handle(client, event) {
            Answer::Done => reply.send(outcome::<Ready>(&Ok(()))),
            Answer::NotYours => reply.send(outcome::<Ready>(&Err(SupervisorError::NotYours))),
            Answer::Encode(encode) => reply.send(encode()),
            Answer::NoSuchPorts => reply.send(outcome::<Ready>(&Err(SupervisorError::NoSuchPorts))),
            Answer::Refusal(refusal) => reply.send(MessageInfo::new(refusal as u64, 0, 0, 0)),
            Answer::None => {}
        }
        ready
    }

    fn handle(&mut self, client: u64, event: Event) -> Answer {
        let vm = client::vm_of(client).map(usize::from);
        #[cfg(feature = "deaths")]
        if self.dies_in_call(client) {
            return Answer::None;
        }
        match event {
            Event::Ready => {
                match vm {
                    Some(vm) => self.life.ready(vm),
                    None => {
                        if let Some(server) = self.server_mut(client) {
                            server.ready = true;
                        }
                    }
                }
                Answer::Done
            }
            #[cfg(feature = "deaths")]
            Event::Kill(kill) => self.kill(kill),
            Event::Bad(refusal) => Answer::Refusal(refusal),
            Event::Refused(refused) => self.refused(client, vm, &refused),
            Event::Quieted(Quieted { vm }) if client == client::PCI => {
                if self.life.quieted(vm.into()) {
                    log!("vm {}: its devices are quiet", self.description.vms[usize::from(vm)].name);
                    self.take_back(vm.into());
                    Answer::Done
                } else {
                    Answer::NotYours
                }
            }
            Event::Quieted(_) => Answer::NotYours,
            Event::Ports(ports) if client == client::PCI => match self.give_ports(&ports) {
                Ok(()) => Answer::Done,
                Err(failure) => {
                    log!("ports {:#x} to {:#x} for a device: {failure}", ports.first, ports.last);
                    Answer::NoSuchPorts
                }
            },
            Event::Ports(_) => Answer::NotYours,
            Event::Look(look) => self.look(client, look),
            Event::Exited(exited) => {
                match vm {
                    Some(vm) => self.ended(vm, &End::Said(&exited), exited.code),
                    None => self.server_failed(client, &End::Said(&exited)),
                }
                Answer::None
            }
            Event::Fault(fault) => {
                match vm {
                    Some(vm) => self.ended(vm, &End::Fault(&fault), VMM_FAILED),
                    None => self.server_failed(client, &End::Fault(&fault)),
                }
                Answer::None
            }
        }
    }

    fn refused(&mut self, client: u64, vm: Option<usize>, refused: &Refused) -> Answer {
        let number = usize::from(refused.vm);
        let Some(described) = self.description.vms.get(number) else { return Answer::NotYours };
        if client == client::PCI && self.life.refuse(number) {
            log!("vm {}: refused: {}", described.name, refused.reason);
            Answer::Done
        } else if vm == Some(number) {
            log!("vm {}: refused: {}", described.name, refused.reason);
            self.end(number);
            Answer::None
        } else if client == client::PCI && self.life.state(number) == Some(State::Refused) {
            // It was refused before, for another reason.
            Answer::Done
        } else {
            Answer::NotYours
        }
    }

    /// VM `number` has ended: says so, and begins to take everything back.
    pub(crate) fn ended(&mut self, number: usize, end: &End, code: u32) {
        let Some(described) = self.description.vms.get(number) else { return };
        if self.life.state(number) != Some(State::Running) {
            return;
        }
        log!("vm {}: ended: {end}, code {code}", described.name);
        self.records[number].code = Some(code);
        let action = if end.is_failure() { described.on_fault } else { described.on_exit };
        if let Some(vm) = &mut self.vms[number] {
            let ticks = crate::raw::tsc().wrapping_sub(vm.started);
            vm.restart = (action == Action::Restart).then_some(ticks / self.common.tsc_khz.max(1));
        }
        self.end(number);
        if action == Action::Halt {
            log!("the description says that the machine halts with vm {}", described.name);
            self.stop_everything();
            power::off(self)
        }
    }

    fn end(&mut self, number: usize) {
        if let Some(vm) = &self.vms[number]
            && let Err(failure) = vm.process.suspend()
        {
            log!("vm {}: {failure}", self.description.vms[number].name);
        }
        self.gone(client::of_vm(number as u16));
        match self.life.end(number) {
            Some(Then::Quiet) => self.tell_pci(number as u16),
            Some(Then::Reclaim) => self.take_back(number),
            None => {}
        }
    }

    fn take_back(&mut self, number: usize) {
        let name = self.description.vms[number].name;
        let restart = self.vms[number].as_ref().and_then(|vm| vm.restart);
        if let Err(failure) = self.reclaim_vm(number) {
            log!("vm {name}: its memory could not be taken back: {failure}");
            return;
        }
        let (kib, slots) = (self.resources.ram.bytes() >> 10, self.resources.slots.left());
        log!("vm {name}: its memory is taken back: {kib} KiB and {slots} slots are free");
        if let Some(lived_ms) = restart
            && !self.life.again(number, lived_ms)
        {
            log!(
                "vm {name}: not started again: it has ended {SHORT_LIVES} times in a row within {SHORT_LIFE_MS} ms of its start"
            );
        }
    }

    /// Stops all parts but console-server.
    pub(crate) fn stop_everything(&mut self) {
        for vm in self.vms.iter().flatten() {
            let _ = vm.process.suspend();
        }
        for (number, server) in self.servers.iter().enumerate() {
            if let Some(server) = server
                && number as u64 != client::CONSOLE
            {
                let _ = server.process.suspend();
            }
        }
    }
}

fn decode(info: MessageInfo) -> Event {
    sel4::with_ipc_buffer(|buffer| {
        let label = info.label();
        if label >> 32 == 0 {
            return match Fault::new(buffer, &info) {
                Some(Fault::NullFault) | None => Event::Bad(Refusal::UnknownOperation),
                Some(fault) => Event::Fault(fault),
            };
        }
        let words = &buffer.msg_regs()[..info.length()];
        let event = match Protocol::SUPERVISOR.operation(label) {
            Ok(Ready::OPERATION) => message::decode(words).map(|Ready| Event::Ready),
            Ok(Refused::OPERATION) => message::decode(words).map(Event::Refused),
            Ok(Exited::OPERATION) => message::decode(words).map(Event::Exited),
            Ok(Quieted::OPERATION) => message::decode(words).map(Event::Quieted),
            #[cfg(feature = "deaths")]
            Ok(protocol::supervisor::Kill::OPERATION) => message::decode(words).map(Event::Kill),
            Ok(Ports::OPERATION) => message::decode(words).map(Event::Ports),
            Ok(operation) => match Look::decode(operation, words) {
                Ok(look) => look.map(Event::Look),
                Err(refusal) => Some(Event::Bad(refusal)),
            },
            Err(refusal) => Some(Event::Bad(refusal)),
        };
        event.unwrap_or(Event::Bad(Refusal::Malformed))
    })
}

/// Encodes an outcome into the message to be sent.
pub(crate) fn outcome<R: Request>(outcome: &Result<R::Reply, R::Error>) -> MessageInfo {
    let (label, length) =
        sel4::with_ipc_buffer_mut(|buffer| message::encode_outcome::<R>(outcome, buffer.msg_regs_mut()));
    MessageInfo::new(label, 0, 0, length)
}

impl System<'_> {
    /// A capability for the ports of a BAR, into a slot of pci-server's. Its parent stays here, so that a second pci-server can have it as well.
    fn give_ports(&mut self, wanted: &Ports) -> Result<(), Failure> {
        let Ports { first, last, slot } = *wanted;
        let power_off = self.firmware.power_off.map(|(port, _)| port);
        ports::can_be_a_bars(first, last, power_off).then_some(()).during("they are no BAR's")?;
        let known = self.ports.iter().find(|issued| (issued.0, issued.1) == (first, last));
        let parent = match known {
            Some(issued) => issued.2,
            None => {
                let parent = self.resources.slot()?;
                let control = init_thread::slot::IO_PORT_CONTROL.cap();
                let issued = control.ioport_control_issue(first.into(), last.into(), &at(parent));
                if issued.is_err() {
                    self.resources.slots.give_back(parent);
                }
                issued.during("they are somebody else's")?;
                self.ports.push((first, last, parent));
                parent
            }
        };
        self.server(client::PCI)?.process.copy_at(slot.into(), parent, CapRights::all())
    }

    pub(crate) fn tell_pci(&mut self, vm: u16) {
        match self.server(client::PCI) {
            Ok(server) => {
                let notification = server.process.notification;
                if let Err(failure) = self.signal(notification, protocol::start::signal::vm_ended(vm)) {
                    log!("pci-server can't be told: {failure}");
                }
            }
            // It runs before any VM does.
            Err(failure) => log!("{failure}"),
        }
    }

    /// Signals a notification with these bits.
    pub(crate) fn signal(&mut self, notification: usize, bits: u64) -> Result<(), Failure> {
        let badged = self.resources.slot()?;
        at(badged).mint(&at(notification), CapRights::write_only(), bits).during("badging a notification")?;
        in_slot::<cap_type::Notification>(badged).signal();
        at(badged).delete().during("deleting a badged notification")?;
        self.resources.slots.give_back(badged);
        Ok(())
    }
}
