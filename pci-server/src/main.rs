// SPDX-License-Identifier: MIT OR Apache-2.0
//! pci-server: finds the machine's PCI functions, and gives VMs those that the description promises them.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod ecam;
mod frames;
mod machine;
mod start;

use component::{Answer, Message, Server};
use machine::Real;
use pci::topology::Topology;
use pci_server::passthrough::Passthrough;
use protocol::look::ask::{Question, Show, View, WhatIsAsked};
use protocol::pci::{Attach, BarRead, BarWrite, ConfigRead, ConfigWrite, Describe, Detach, MaskVector};
use protocol::start::signal;
use protocol::{Protocol, Refusal, Request, client};

component::main!(main);

fn main(part: component::Part) -> ! {
    // It is large, and filled where it lies: the stack has room for one of it.
    let mut pci = Pci { passthrough: Passthrough::new(Real::new(part)), topology: Topology::default() };
    match start::start(&mut pci.passthrough, &mut pci.topology) {
        Ok(()) => {
            component::ready();
            component::serve(&mut pci)
        }
        Err(reason) => panic!("{reason}"),
    }
}

struct Pci {
    passthrough: Passthrough<Real>,
    /// As it was at the start.
    topology: Topology,
}

impl Pci {
    /// Shows what somebody wants to see.
    fn look(&mut self) {
        let asked = component::call(component::slot::SUPERVISOR, &WhatIsAsked);
        let Ok(Some(Question::Devices(from))) = asked else { return };
        let view = View::Devices(self.passthrough.show(&self.topology, from));
        // Whoever asked may have lost interest.
        let _ = component::call(component::slot::SUPERVISOR, &Show(view));
    }

    fn dispatch(&mut self, operation: u16, vm: u16, message: &Message) -> Answer {
        let devices = &mut self.passthrough;
        match operation {
            Describe::OPERATION => message.answer(|request: Describe| devices.describe(vm, request)),
            Attach::OPERATION => message.answer(|request: Attach| devices.attach(vm, request)),
            ConfigRead::OPERATION => message.answer(|request: ConfigRead| devices.config_read(vm, request)),
            ConfigWrite::OPERATION => {
                message.answer(|request: ConfigWrite| devices.config_write(vm, request))
            }
            BarRead::OPERATION => message.answer(|request: BarRead| devices.bar_read(vm, request)),
            BarWrite::OPERATION => message.answer(|request: BarWrite| devices.bar_write(vm, request)),
            MaskVector::OPERATION => message.answer(|request: MaskVector| devices.mask(vm, request)),
            Detach::OPERATION => message.answer(|request: Detach| devices.detach(vm, request)),
            _ => Answer::refuse(Refusal::UnknownOperation),
        }
    }
}

impl Server for Pci {
    fn request(&mut self, message: &Message) -> Answer {
        match (message.operation(Protocol::PCI), client::vm_of(message.client)) {
            (Ok(operation), Some(vm)) => self.dispatch(operation, vm, message),
            (Ok(_), None) => Answer::refuse(Refusal::UnknownOperation),
            (Err(refusal), _) => Answer::refuse(refusal),
        }
    }

    fn signal(&mut self, bits: u64) {
        if bits & signal::TIMER != 0 {
            self.passthrough.tick();
        }
        if bits & signal::DMA_FAULT != 0 {
            self.passthrough.quarantine();
        }
        if bits & signal::LOOK != 0 {
            self.look();
        }
        for vm in (0..client::MAX_DEVICE_VMS as u16).filter(|vm| bits & signal::vm_ended(*vm) != 0) {
            self.passthrough.vm_ended(vm);
        }
    }
}
