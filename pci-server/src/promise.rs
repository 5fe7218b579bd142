// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a function that nothing speaks against to a device that a VM is promised.

use heapless::Vec;
use pci::config::{self, command};
use pci::life::{Event, Life};
use pci::reserved::Ranges;
use pci::reset::Saved;
use pci::topology::Topology;
use pci::{ConfigSpace, View};
use protocol::pci::{DEFAULT_VECTORS, PciConfig, PciDevice, Refusal};

use crate::device::{Device, PortBars};
use crate::survey::Survey;

/// Makes the device, quiet and with decoding off; its frames are laid out, not made.
pub fn promise<C: ConfigSpace + ?Sized>(
    space: &C,
    topology: &Topology,
    function: u16,
    survey: &Survey,
    ports: PortBars,
    wanted: &PciDevice,
) -> Result<Device, Refusal> {
    let place = topology.get(function).ok_or(Refusal::NoSuchDevice)?;
    let address = place.address;
    let limit = wanted.vectors.unwrap_or(DEFAULT_VECTORS).min(wanted.irqs_count);
    let vectors = if wanted.intx.is_some() { 0 } else { survey.interrupts.shown(limit) };
    let clear = command::IO | command::MEMORY | command::BUS_MASTER;
    config::update_command(space, address, command::INTX_DISABLE, clear);
    let mut life = Life::new();
    life.step(Event::Reserve).map_err(|_| Refusal::NoSuchDevice)?;
    let virtuals = topology.virtuals(function).copied();
    if virtuals.is_some() && !survey.methods.is_empty() {
        // The reset that came before its virtual functions is its first: another one would end them.
        life.step(Event::Calm).map_err(|_| Refusal::NoSuchDevice)?;
    }
    let saved = Saved::read(space, address).with_virtuals(virtuals);
    let mut device = Device {
        vm: wanted.vm,
        index: wanted.index,
        owner: wanted.owner.clone(),
        function,
        physical: place.physical.map(|(physical, _)| physical),
        address,
        requester: topology.requester(function).ok_or(Refusal::NoSuchDevice)?,
        identity: place.identity,
        slot: wanted.slot,
        vectors,
        irqs_first: wanted.irqs_first,
        bars_first: wanted.bars_first,
        bars_count: wanted.bars_count,
        parts: Vec::new(),
        ports,
        methods: survey.methods,
        reserved: Ranges::default(),
        saved: if place.physical.is_some() { saved.of_virtual() } else { saved },
        view: View::new(space, address, &place.identity, &survey.bars, survey.interrupts, vectors),
        line: wanted.intx,
        life,
        resetting: None,
        waits: false,
        holds: false,
        place: 0,
        unanswered: 0,
    };
    if wanted.intx.is_some() {
        device.view.has_pin(device.pin());
    }
    if device.lay_out() { Ok(device) } else { Err(Refusal::NoRoom) }
}

/// Whether a VM has another device in the same slot, as another function.
pub fn has_company(config: &PciConfig, wanted: &PciDevice) -> bool {
    let place = |device: &PciDevice| (device.vm, device.slot.bus, device.slot.devfn.device());
    config.devices.iter().any(|other| other.index != wanted.index && place(other) == place(wanted))
}

/// The BAR with the lowest address after `done`: address, number of the device, index of the BAR.
pub fn next_bar(devices: &[Device], done: Option<(u64, usize, u8)>) -> Option<(u64, usize, u8)> {
    let bars = devices.iter().enumerate().flat_map(|(number, device)| {
        let memory = device.view.bars().iter().filter(|bar| bar.is_memory());
        memory.map(move |bar| (bar.base, number, bar.index))
    });
    bars.filter(|bar| done.is_none_or(|done| *bar > done)).min()
}
