// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices' lives against a machine made of arrays.

use core::fmt;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use pci::testing::{Machine, Random};
use pci::topology::Topology;
use pci::{Address, DevFn};
use protocol::message::Request;
use protocol::pci::{GuestSlot, PciConfig, PciDevice, PortRange};

use super::*;
use crate::device::{PortBars, Ports};
use crate::recover::{Found, Spoilt};
use crate::{promise, survey};

#[derive(Default)]
pub(crate) struct Fake {
    pub machine: Machine,
    pub now: u64,
    pub deadline: Option<u64>,
    pub domains: BTreeMap<(u16, u8), u16>,
    pub handlers: BTreeMap<(u16, u8), u16>,
    pub shown: BTreeMap<u64, (u16, u16)>,
    pages: RefCell<BTreeMap<(u16, u16), u64>>,
    ports: RefCell<BTreeMap<u16, u64>>,
    pub signals: std::vec::Vec<u16>,
    pub quieted: std::vec::Vec<u16>,
    pub fail: BTreeSet<&'static str>,
    /// Cut off by iommu-server.
    pub cut_off: BTreeSet<(u16, u8)>,
    remapping: bool,
    /// What is kept, by place.
    pub kept: BTreeMap<usize, std::vec::Vec<u8>>,
    /// The description's devices.
    pub config: PciConfig,
    /// Capabilities that aren't there any more.
    pub missing: BTreeSet<u64>,
}

impl Fake {
    pub fn new() -> Self {
        Self { remapping: true, now: 5, ..Self::default() }
    }

    fn check(&self, what: &'static str) -> Result<(), Error> {
        self.machine.burn();
        self.fails(what)
    }

    fn fails(&self, what: &'static str) -> Result<(), Error> {
        if self.fail.contains(what) { Err(Error::Kernel(10)) } else { Ok(()) }
    }

    /// A step for a few of many frames.
    fn few(&self, frame: u64) {
        if frame % 100 < 2 {
            self.machine.burn();
        }
    }
}

impl Platform for Fake {
    type Config = Machine;
    fn config(&self) -> &Machine {
        &self.machine
    }
    fn now(&self) -> u64 {
        self.now
    }
    fn ticks(&self, milliseconds: u64) -> u64 {
        milliseconds * 1000
    }
    fn set_deadline(&mut self, tsc: u64) {
        self.machine.burn();
        self.deadline = Some(tsc);
    }
    fn iommu_attach(&mut self, request: iommu::Attach) -> Result<(), Error> {
        self.check("attach")?;
        self.domains.insert((request.vm, request.device), request.requester.0);
        Ok(())
    }
    fn iommu_vectors(&mut self, request: iommu::Vectors) -> Result<Granted, Error> {
        self.check("vectors")?;
        self.handlers.insert((request.vm, request.device), request.count);
        Ok(if self.remapping { Granted::Remapped { first: 32 } } else { Granted::Plain { first: 0x50 } })
    }
    fn iommu_line(&mut self, request: iommu::Line) -> Result<(), Error> {
        self.check("line")?;
        assert!(self.domains.contains_key(&(request.vm, request.device)));
        assert_eq!(self.handlers.insert((request.vm, request.device), 1), None);
        Ok(())
    }
    fn iommu_detach(&mut self, request: iommu::Detach) -> Result<(), Error> {
        self.check("detach")?;
        self.domains.remove(&(request.vm, request.device));
        self.handlers.remove(&(request.vm, request.device));
        Ok(())
    }
    fn iommu_faults(&mut self, request: iommu::Faults) -> Result<iommu::FaultCount, Error> {
        self.check("faults")?;
        let quarantined = self.cut_off.contains(&(request.vm, request.device));
        Ok(iommu::FaultCount { count: 16, last: None, quarantined })
    }
    fn show_frame(&mut self, vm: u16, slot: u16, frame: u64) -> Result<(), Error> {
        self.few(frame);
        self.fails("show")?;
        assert!(self.shown.insert(frame, (vm, slot)).is_none());
        Ok(())
    }
    fn hide_frame(&mut self, frame: u64) -> Result<(), Error> {
        self.few(frame);
        self.fails("hide")?;
        self.shown.remove(&frame);
        Ok(())
    }
    fn read_page(&self, page: u16, offset: u16, _: u8) -> Option<u64> {
        Some(self.pages.borrow().get(&(page, offset)).copied().unwrap_or(0))
    }
    fn write_page(&self, page: u16, offset: u16, _: u8, value: u64) -> Option<()> {
        self.pages.borrow_mut().insert((page, offset), value);
        Some(())
    }
    fn read_port(&self, capability: u64, port: u16, _: u8) -> Option<u64> {
        assert_eq!(capability, PORTS);
        assert!((0xc040..0xc060).contains(&port));
        Some(self.ports.borrow().get(&port).copied().unwrap_or(0))
    }
    fn write_port(&self, capability: u64, port: u16, width: u8, value: u64) -> Option<()> {
        assert_eq!(capability, PORTS);
        assert!((0xc040..0xc060).contains(&port) && port + u16::from(width) <= 0xc060);
        self.ports.borrow_mut().insert(port, value);
        Some(())
    }
    fn keep(&mut self, place: usize, record: &Record) {
        self.machine.burn();
        let mut bytes = [0; protocol::kept::longest(protocol::kept::PCI_VALUE_BYTES)];
        self.kept.insert(place, postcard::to_slice(record, &mut bytes).unwrap().to_vec());
        self.machine.burn();
    }
    fn kept(&self, place: usize) -> Result<Option<Found>, Spoilt> {
        self.kept.get(&place).map(|bytes| postcard::from_bytes(bytes)).transpose().map_err(|_| Spoilt)
    }
    fn holds(&self, capability: u64) -> bool {
        !self.missing.contains(&capability)
    }
    fn signal(&mut self, vm: u16) {
        self.machine.burn();
        self.signals.push(vm);
    }
    fn quieted(&mut self, vm: u16) -> bool {
        self.machine.burn();
        self.quieted.push(vm);
        // Whoever was waited for has been told.
        self.machine.burn();
        !self.fail.contains("quieted")
    }
    fn log(&mut self, _: fmt::Arguments) {}
}

pub(crate) const NIC: &str = "01:00.0";
pub(crate) const EDU: &str = "00:02.0";
/// The capability for the NIC's ports.
pub(crate) const PORTS: u64 = 77;

/// VM 3 has a NIC with MSI-X, ports, an expansion ROM and function-level reset, and `edu`, with plain MSI and without any reset.
pub(crate) fn setup() -> Passthrough<Fake> {
    setup_with(None)
}

/// As [`setup`], `edu` interrupting by a line.
fn setup_with(line: Option<u8>) -> Passthrough<Fake> {
    let fake = Fake::new();
    let machine = &fake.machine;
    let port = machine.bridge("00:04.0", 1, 1);
    machine.capabilities(port, &[(0x40, 0x10)]);
    machine.set16(port, 0x42, 0x42);
    let nic = machine.endpoint(NIC, 0x1af4, 0x1041);
    machine.bar(nic, 0, 1, 0xc040, 32);
    machine.set32(nic, 0x30, 0xfea1_0001);
    machine.writable32(nic, 0x30, 0xffff_f001);
    machine.bar(nic, 1, 0, 0xfea0_0000, 0x1000);
    machine.bar(nic, 4, 0xc, 0xfe00_0000, 0x4000);
    machine.capabilities(nic, &[(0x98, 0x11), (0x40, 0x10)]);
    machine.set16(nic, 0x9a, 3);
    machine.set32(nic, 0x9c, 1);
    machine.set32(nic, 0xa0, 0x801);
    machine.set32(nic, 0x44, 1 << 28);
    machine.writable32(nic, 0x48, 0x7fff);
    machine.resets(nic, 0x48, 0x8000, nic);
    machine.writable32(nic, 0x98, 0xc000_0000);
    let edu = machine.endpoint(EDU, 0x1234, 0x11e8);
    machine.bar(edu, 0, 0, 0xfeb0_0000, 0x10_0000);
    machine.capabilities(edu, &[(0x40, 0x05)]);
    machine.set16(edu, 0x42, 1 << 7);
    for offset in [0x40, 0x44, 0x4c] {
        machine.writable32(edu, offset, if offset == 0x40 { 0x71_0000 } else { u32::MAX });
    }
    for address in [nic, edu] {
        machine.set16(address, 4, 0x107);
    }
    let mut topology = Topology::default();
    topology.enumerate(machine, 0, 0, 255);
    let (mut devices, mut config) = (std::vec::Vec::new(), PciConfig::default());
    for (index, (text, bars_count)) in [(NIC, 8), (EDU, 256)].into_iter().enumerate() {
        let location = pci::Location::Address(text.parse().unwrap());
        let function = topology.find(&location).unwrap();
        let mut survey = survey::survey(machine, &topology, function).unwrap();
        assert_eq!(survey::add_rom(machine, &topology, function, &mut survey), text == NIC);
        let wanted = PciDevice {
            vm: 3,
            index: index as u8,
            owner: "web".try_into().unwrap(),
            location,
            slot: GuestSlot { bus: 0, devfn: DevFn(8 + 8 * index as u8) },
            vectors: Some(3),
            reserved: Default::default(),
            rom: false,
            unsafe_interrupts: false,
            bars_first: 100 * index as u16,
            bars_count,
            irqs_first: 4 * index as u16,
            irqs_count: 4,
            intx: line.filter(|_| text == EDU),
        };
        let mut ports = PortBars::new();
        for bar in survey.bars.iter().filter(|bar| !bar.is_memory()) {
            ports.push(Ports { bar: bar.index, first: bar.base as u16, capability: PORTS }).unwrap();
        }
        let mut device = promise::promise(machine, &topology, function, &survey, ports, &wanted).unwrap();
        for (number, part) in device.parts.iter_mut().enumerate() {
            part.frame = 1000 * (1 + index as u64) + 300 * number as u64;
            part.page = 7;
        }
        devices.push(device);
        config.devices.push(wanted).unwrap();
    }
    let mut passthrough = Passthrough::new(Fake { config, ..fake });
    for device in devices {
        assert!(passthrough.add(device));
    }
    passthrough.settled();
    passthrough
}

pub(crate) fn at(text: &str) -> Address {
    text.parse().unwrap()
}

pub(crate) fn command_of(p: &Passthrough<Fake>, text: &str) -> u16 {
    p.platform.machine.read16(at(text), 4)
}

/// Attaches, waiting for the reset if there is one.
pub(crate) fn attach(p: &mut Passthrough<Fake>, device: u8) -> Result<Attached, Error> {
    match p.attach(3, Attach { device }) {
        Err(Error::Resetting) => {
            p.platform.now = p.platform.deadline.unwrap();
            p.tick();
            p.attach(3, Attach { device })
        }
        other => other,
    }
}

pub(crate) fn write(
    p: &mut Passthrough<Fake>,
    device: u8,
    offset: u16,
    width: u8,
    value: u32,
) -> Result<Effect, Error> {
    p.config_write(3, ConfigWrite { device, offset, width, value })
}

#[test]
fn promised_devices_are_silent() {
    let p = setup();
    assert_eq!((command_of(&p, NIC), command_of(&p, EDU)), (0x500, 0x500));
}

#[test]
fn a_reset_comes_first_and_is_told() {
    let mut p = setup();
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Resetting));
    assert_eq!(p.platform.deadline, Some(100_005));
    assert!(p.platform.machine.writes.borrow().contains(&(at(NIC), 0x48, Width::Word, 0x8000)));
    p.platform.now = 100_004;
    p.tick();
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Resetting));
    assert!(p.platform.signals.is_empty() && p.platform.domains.is_empty());
    p.platform.now = 100_005;
    p.tick();
    assert_eq!(p.platform.signals, [3]);
    assert!(p.attach(3, Attach { device: 0 }).is_ok());
}

#[test]
fn attach_gives_memory_interrupts_and_registers_but_not_the_bus() {
    let mut p = setup();
    let attached = attach(&mut p, 0).unwrap();
    assert_eq!(p.platform.domains[&(3, 0)], 0x100);
    assert_eq!((p.platform.handlers[&(3, 0)], attached.first_vector, attached.vectors), (3, 0, 3));
    let runs: std::vec::Vec<_> =
        attached.frames.iter().map(|r| (r.bar, r.offset, r.first, r.count)).collect();
    assert_eq!(runs, [(4, 0, 0, 4), (6, 0, 4, 1)], "the table's page is not among them");
    assert_eq!(attached.ports, [PortRange { bar: 0, slot: 5 }], "behind the frames");
    assert_eq!(p.platform.shown[&PORTS], (3, 5));
    assert_eq!(p.platform.shown.len(), 6);
    assert_eq!(command_of(&p, NIC) & 7, command::IO | command::MEMORY);
    // Entry 3 exists, isn't the guest's, and is masked.
    let pages = p.platform.pages.borrow().clone();
    let entry = |n: u16| [0, 4, 8, 12].map(|word| pages.get(&(7, 16 * n + word)).copied());
    assert_eq!(entry(1), [Some(0xfee0_0430), Some(0), Some(0), Some(1)]);
    assert_eq!(entry(3), [None, None, None, Some(1)]);
    assert_eq!(p.platform.machine.read16(at(NIC), 0x9a), 0x8003);
    let again = p.attach(3, Attach { device: 0 }).unwrap();
    assert_eq!((again, p.platform.shown.len()), (attached, 6), "once more changes nothing");
}

#[test]
fn bus_mastering_follows_the_guest_only_while_attached() {
    let mut p = setup();
    assert_eq!(write(&mut p, 0, 4, 2, 6), Ok(Effect::Command { memory: true, io: false, bus_master: true }));
    assert_eq!(command_of(&p, NIC) & command::BUS_MASTER, 0);
    attach(&mut p, 0).unwrap();
    assert_ne!(command_of(&p, NIC) & command::BUS_MASTER, 0, "the guest had asked before");
    write(&mut p, 0, 4, 2, 2).unwrap();
    assert_eq!(command_of(&p, NIC) & 7, command::IO | command::MEMORY);
    write(&mut p, 0, 4, 2, 0xffff).unwrap();
    assert_eq!(command_of(&p, NIC) & 7, command::IO | command::MEMORY | command::BUS_MASTER);
    p.detach(3, Detach { device: 0 }).unwrap();
    assert_eq!(command_of(&p, NIC) & 7, 0);
    write(&mut p, 0, 4, 2, 6).unwrap();
    assert_eq!(command_of(&p, NIC) & 7, 0);
}

#[test]
fn the_rom_answers_only_while_its_guest_wants_it_and_has_the_device() {
    let mut p = setup();
    let rom = |p: &Passthrough<Fake>| p.platform.machine.read32(at(NIC), 0x30);
    assert_eq!(rom(&p), 0xfea1_0000);
    let on = |p: &mut Passthrough<Fake>| write(p, 0, 0x30, 4, 0xc123_4001);
    assert_eq!(on(&mut p), Ok(Effect::Rom { enabled: true, base: 0xc123_4000 }));
    assert_eq!(rom(&p), 0xfea1_0000, "not before it is given");
    attach(&mut p, 0).unwrap();
    assert_eq!(rom(&p), 0xfea1_0001, "the guest had asked before");
    write(&mut p, 0, 0x30, 4, 0).unwrap();
    assert_eq!(rom(&p), 0xfea1_0000);
    on(&mut p).unwrap();
    assert_eq!(rom(&p), 0xfea1_0001, "where firmware put it");
    p.detach(3, Detach { device: 0 }).unwrap();
    assert_eq!(rom(&p), 0xfea1_0000);
    on(&mut p).unwrap();
    assert_eq!(rom(&p), 0xfea1_0000, "nor after it was taken back");
}

#[test]
fn a_device_that_was_cut_off_leaves_the_bus_until_it_is_reset() {
    let mut p = setup();
    attach(&mut p, 0).unwrap();
    attach(&mut p, 1).unwrap();
    write(&mut p, 0, 4, 2, 6).unwrap();
    write(&mut p, 1, 4, 2, 6).unwrap();
    p.platform.cut_off.insert((3, 0));
    p.platform.fail.insert("faults");
    p.quarantine();
    assert_ne!(command_of(&p, NIC) & command::BUS_MASTER, 0, "who doesn't answer condemns nobody");
    p.platform.fail.clear();
    p.quarantine();
    assert_eq!(command_of(&p, NIC) & command::BUS_MASTER, 0);
    assert_eq!(p.platform.machine.read16(at(NIC), 0x9a) >> 14, 1, "messages masked, and off");
    assert_ne!(command_of(&p, EDU) & command::BUS_MASTER, 0, "the other one goes on");
    write(&mut p, 0, 4, 2, 6).unwrap();
    assert_eq!(command_of(&p, NIC) & command::BUS_MASTER, 0, "the guest can't change that");
    let read = BarRead { device: 0, bar: 1, offset: 0x800, width: 4 };
    assert_eq!(p.bar_read(3, read), Err(Error::Quarantined));
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Quarantined));
    p.quarantine();
    p.platform.cut_off.clear();
    p.detach(3, Detach { device: 0 }).unwrap();
    assert!(!p.platform.domains.contains_key(&(3, 0)) && p.platform.shown.values().all(|(_, s)| *s >= 100));
    attach(&mut p, 0).unwrap();
    write(&mut p, 0, 4, 2, 6).unwrap();
    assert_ne!(command_of(&p, NIC) & command::BUS_MASTER, 0);
    p.platform.cut_off.insert((3, 0));
    p.quarantine();
    p.vm_ended(3);
    assert_eq!((p.platform.quieted.as_slice(), p.platform.domains.len()), ([3].as_slice(), 0));
}

#[test]
fn a_guest_s_reset_stops_the_bus_at_once() {
    let mut p = setup();
    attach(&mut p, 0).unwrap();
    write(&mut p, 0, 4, 2, 6).unwrap();
    assert_eq!(write(&mut p, 0, 0x48, 2, 0x8000), Ok(Effect::Reset));
    assert_eq!(command_of(&p, NIC) & command::BUS_MASTER, 0);
}

#[test]
fn plain_msi_is_programmed_with_the_remappable_message() {
    let mut p = setup();
    let attached = attach(&mut p, 1).unwrap();
    assert_eq!((attached.first_vector, attached.vectors), (4, 1));
    assert_eq!(attached.frames[0].first, 100);
    let space = &p.platform.machine;
    assert_eq!(space.read32(at(EDU), 0x44), 0xfee0_0410);
    assert_eq!((space.read16(at(EDU), 0x4c), space.read16(at(EDU), 0x42)), (0, 0x81));
    let mut p = setup();
    p.platform.remapping = false;
    attach(&mut p, 1).unwrap();
    let space = &p.platform.machine;
    assert_eq!((space.read32(at(EDU), 0x44), space.read16(at(EDU), 0x4c)), (0xfee0_0000, 0x50));
}

#[test]
fn without_a_reset_it_is_handed_out_once() {
    let mut p = setup();
    attach(&mut p, 1).unwrap();
    p.detach(3, Detach { device: 1 }).unwrap();
    assert_eq!(attach(&mut p, 1), Err(Error::UsedUp));
    for _ in 0..3 {
        attach(&mut p, 0).unwrap();
        p.detach(3, Detach { device: 0 }).unwrap();
    }
}

#[test]
fn a_device_that_doesn_t_come_back_is_lost() {
    let mut p = setup();
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Resetting));
    p.platform.machine.remove(at(NIC));
    // Function-level reset, then that of the bus, each with the time that a function has to come back.
    let mut ticks = 0;
    while p.devices[0].resetting.is_some() {
        assert!(p.platform.signals.is_empty() && ticks < 30);
        p.platform.now = p.platform.deadline.unwrap();
        p.tick();
        ticks += 1;
    }
    assert!(ticks > 20, "{ticks}");
    assert_eq!(p.platform.signals, [3]);
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::ResetFailed));
}

#[test]
fn forwarded_registers_are_those_beside_the_table() {
    let mut p = setup();
    let read = |bar, offset, width| BarRead { device: 0, bar, offset, width };
    assert_eq!(p.bar_read(3, read(1, 0x800, 8)), Err(Error::NotAttached));
    attach(&mut p, 0).unwrap();
    assert_eq!(p.bar_read(3, read(1, 0x800, 8)), Ok(0));
    for (bar, offset, width) in [
        (1, 0, 4),
        (1, 0x3c, 4),
        (1, 0x38, 8),
        (4, 0, 4),
        (2, 0, 4),
        (5, 0, 4),
        (6, 0, 4),
        (255, 0, 4),
        (1, 0x1000, 4),
        (1, u64::MAX, 1),
        (1, u64::MAX - 7, 8),
        (1, 0x802, 4),
        (1, 0x800, 3),
        (1, 0x800, 0),
    ] {
        assert_eq!(
            p.bar_read(3, read(bar, offset, width)),
            Err(Error::BadAccess),
            "{bar} {offset:#x} {width}"
        );
        let request = BarWrite { device: 0, bar, offset, width, value: 0 };
        assert_eq!(p.bar_write(3, request), Err(Error::BadAccess));
    }
    assert_eq!(p.bar_write(3, BarWrite { device: 0, bar: 1, offset: 0x40, width: 4, value: 9 }), Ok(()));
    assert_eq!(p.platform.pages.borrow()[&(7, 0x40)], 9);
}

#[test]
fn ports_are_forwarded_within_their_bar_and_while_attached() {
    let mut p = setup();
    let read = |offset, width| BarRead { device: 0, bar: 0, offset, width };
    let write = |offset, width| BarWrite { device: 0, bar: 0, offset, width, value: 9 };
    assert_eq!(p.bar_read(3, read(0, 4)), Err(Error::NotAttached));
    attach(&mut p, 0).unwrap();
    for (offset, width) in [(0, 1), (1, 2), (3, 4), (28, 4), (31, 1)] {
        assert_eq!(p.bar_write(3, write(offset, width)), Ok(()));
        assert_eq!(p.bar_read(3, read(offset, width)), Ok(9));
        assert_eq!(p.platform.ports.borrow()[&(0xc040 + offset as u16)], 9);
    }
    for (offset, width) in
        [(29, 4), (31, 2), (32, 1), (0, 8), (0, 3), (0, 0), (u64::MAX, 1), (0x1_0000, 1), (u64::MAX - 3, 4)]
    {
        assert_eq!(p.bar_read(3, read(offset, width)), Err(Error::BadAccess), "{offset:#x} {width}");
        assert_eq!(p.bar_write(3, write(offset, width)), Err(Error::BadAccess));
    }
    p.detach(3, Detach { device: 0 }).unwrap();
    assert!(!p.platform.shown.contains_key(&PORTS), "nor does the guest have them");
    assert_eq!(p.bar_write(3, write(0, 1)), Err(Error::NotAttached));
    assert_eq!(command_of(&p, NIC) & command::IO, 0);
}

#[test]
fn masks_reach_the_table() {
    let mut p = setup();
    let mask = |vector, masked| MaskVector { device: 0, vector, masked };
    assert_eq!(p.mask(3, mask(0, false)), Err(Error::NotAttached));
    attach(&mut p, 0).unwrap();
    assert_eq!(p.mask(3, mask(2, false)), Ok(()));
    assert_eq!(p.platform.pages.borrow()[&(7, 2 * 16 + 12)], 0);
    assert_eq!(p.mask(3, mask(2, true)), Ok(()));
    assert_eq!(p.platform.pages.borrow()[&(7, 2 * 16 + 12)], 1);
    assert_eq!(p.mask(3, mask(3, false)), Err(Error::NoSuchVector), "exists, but isn't the guest's");
}

#[test]
fn the_end_of_a_vm_leaves_nothing() {
    let mut p = setup();
    attach(&mut p, 0).unwrap();
    attach(&mut p, 1).unwrap();
    write(&mut p, 1, 4, 2, 6).unwrap();
    p.vm_ended(3);
    assert!(p.platform.domains.is_empty() && p.platform.handlers.is_empty() && p.platform.shown.is_empty());
    assert_eq!((command_of(&p, NIC) & 7, command_of(&p, EDU) & 7), (0, 0));
    assert_eq!(p.platform.machine.read16(at(NIC), 0x9a), 0x4003);
    assert_eq!(p.platform.machine.read16(at(EDU), 0x42) & 1, 0);
    assert_eq!(p.platform.quieted, [3]);
    assert!(attach(&mut p, 0).is_ok(), "its successor has the device");
    p.vm_ended(30);
    p.vm_ended(500);
    assert_eq!(p.platform.quieted, [3, 30], "without devices it is quiet at once");
}

#[test]
fn what_can_t_be_quieted_is_never_told_to_be() {
    let mut p = setup();
    attach(&mut p, 0).unwrap();
    write(&mut p, 0, 4, 2, 6).unwrap();
    p.platform.fail.insert("detach");
    p.vm_ended(3);
    assert!(p.platform.quieted.is_empty());
    assert_eq!(command_of(&p, NIC), 0x400, "the bus is off all the same");
    assert!(p.platform.shown.is_empty());
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Ended));
    p.platform.fail.clear();
    p.platform.fail.insert("quieted");
    p.vm_ended(3);
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Ended), "nobody took note of it");
    p.platform.fail.clear();
    p.vm_ended(3);
    assert_eq!(p.platform.quieted, [3, 3]);
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Resetting));
}

#[test]
fn a_reset_outlives_its_vm_and_serves_its_successor() {
    let mut p = setup();
    assert_eq!(p.attach(3, Attach { device: 0 }), Err(Error::Resetting));
    p.vm_ended(3);
    assert_eq!(p.platform.quieted, [3]);
    p.platform.now = p.platform.deadline.unwrap();
    p.tick();
    assert_eq!(p.platform.signals, [3]);
    assert!(p.attach(3, Attach { device: 0 }).is_ok());
}

/// Attach, use, detach: a hundred times, and each time the device comes to the next one quiet.
#[test]
fn a_hundred_rounds_leave_nothing() {
    let mut p = setup();
    for round in 0..100 {
        attach(&mut p, 0).unwrap();
        write(&mut p, 0, 4, 2, 6).unwrap();
        assert_ne!(command_of(&p, NIC) & command::BUS_MASTER, 0, "{round}");
        p.platform.machine.writes.borrow_mut().clear();
        p.detach(3, Detach { device: 0 }).unwrap();
        assert_eq!(p.devices[0].life.state(), State::Detached);
        // What its owner left in it goes at once, not when somebody wants it.
        let resets =
            p.platform.machine.writes.borrow().iter().filter(|w| (w.1, w.3) == (0x48, 0x8000)).count();
        assert_eq!(resets, 1, "{round}");
        p.platform.now = p.platform.deadline.unwrap();
        p.tick();
        assert_eq!(p.devices[0].life.state(), State::Quiet);
        assert!(
            p.platform.domains.is_empty() && p.platform.handlers.is_empty() && p.platform.shown.is_empty()
        );
    }
    assert_eq!(p.platform.signals.len(), 101, "the first reset, and one for each round");
}

#[test]
fn half_an_attachment_is_none() {
    for step in ["attach", "vectors", "show"] {
        let mut p = setup();
        p.platform.fail.insert(step);
        assert_eq!(attach(&mut p, 0), Err(Error::Kernel(10)));
        assert!(p.platform.domains.is_empty() && p.platform.handlers.is_empty(), "{step}");
        assert_eq!(command_of(&p, NIC), 0x400, "{step}");
        p.platform.fail.clear();
        assert!(attach(&mut p, 0).is_ok(), "{step}");
    }
}

#[test]
fn strangers_get_nothing() {
    let mut p = setup();
    for vm in [0, 4, 31, 32, u16::MAX] {
        assert_eq!(p.attach(vm, Attach { device: 0 }), Err(Error::UnknownClient));
        assert_eq!(p.describe(vm, Describe { device: 0 }), Err(Error::UnknownClient));
        assert_eq!(
            p.config_read(vm, ConfigRead { device: 0, offset: 0, width: 4 }),
            Err(Error::UnknownClient)
        );
    }
    for device in [2, 255] {
        assert_eq!(p.attach(3, Attach { device }), Err(Error::NoSuchDevice));
    }
}

#[test]
fn accesses_that_can_t_be() {
    let mut p = setup();
    for (offset, width) in [(0, 0), (0, 3), (0, 8), (1, 2), (2, 4), (4096, 1), (u16::MAX, 1)] {
        assert_eq!(p.config_read(3, ConfigRead { device: 0, offset, width }), Err(Error::BadAccess));
        assert_eq!(write(&mut p, 0, offset, width, 0), Err(Error::BadAccess));
    }
    assert_eq!(p.config_read(3, ConfigRead { device: 0, offset: 0, width: 4 }), Ok(0x1041_1af4));
}

fn random_request<R: Request>(random: &mut Random) -> Option<R> {
    let bytes = random.next() as usize % 16;
    let mut message = [0; 16];
    // Small numbers often: they are the ones that are somebody's.
    message[..bytes].fill_with(|| random.next() as u8 & if random.next() & 1 == 0 { 0xff } else { 3 });
    let words = message.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap()));
    let words: std::vec::Vec<u64> = core::iter::once(bytes as u64).chain(words).collect();
    protocol::message::decode(&words[..1 + bytes.div_ceil(8)])
}

/// Whatever a VMM says, nothing panics, and bus mastering is on only while the device is attached.
#[test]
fn hostile_vmms() {
    let mut random = Random(77);
    for _ in 0..200 {
        let mut p = setup();
        for _ in 0..300 {
            let (vm, r) = (if random.next() & 7 == 0 { 1 } else { 3 }, &mut random);
            match r.next() % 12 {
                0 => drop(random_request(r).map(|request| p.describe(vm, request))),
                1..4 => drop(random_request(r).map(|request| p.attach(vm, request))),
                4 => drop(random_request(r).map(|request| p.config_read(vm, request))),
                5 => drop(random_request(r).map(|request| p.config_write(vm, request))),
                6 => drop(random_request(r).map(|request| p.bar_read(vm, request))),
                7 => drop(random_request(r).map(|request| p.bar_write(vm, request))),
                8 => drop(random_request(r).map(|request| p.mask(vm, request))),
                9 => drop(random_request(r).map(|request| p.detach(vm, request))),
                10 if random.next() & 3 == 0 => {
                    // Sometimes one is cut off, sometimes one stops answering for a while.
                    let key = (3, random.next() as u8 & 1);
                    if !p.platform.cut_off.remove(&key) {
                        p.platform.cut_off.insert(key);
                    }
                    p.quarantine();
                }
                10 => drop(p.config_write(3, ConfigWrite { device: 0, offset: 4, width: 1, value: 6 })),
                _ => {
                    p.platform.now += 60_000;
                    p.tick();
                }
            }
            for device in &p.devices {
                let space = &p.platform.machine;
                let masters = space.read16(device.address, 4) & command::BUS_MASTER != 0;
                assert!(!masters || p.platform.domains.contains_key(&(device.vm, device.index)));
                assert!(!masters || device.life.state().may_master_the_bus());
                assert!(device.resetting.is_none() || !masters && !device.life.state().is_given());
            }
        }
        p.vm_ended(3);
        assert_eq!(p.platform.quieted, [3]);
        assert!(p.platform.shown.is_empty() && p.platform.domains.is_empty());
    }
}

#[test]
fn a_line_is_the_guest_s_to_turn_off_while_attached() {
    const SILENT: u16 = 0x400;
    let mut p = setup_with(Some(22));
    let description = p.describe(3, Describe { device: 1 }).unwrap();
    let pin = description.slot.devfn.function() % 4 + 1;
    assert_eq!((description.interrupts, description.vectors), (protocol::pci::Interrupts::Line { pin }, 0));
    let read = |p: &Passthrough<Fake>, offset, width| {
        p.config_read(3, ConfigRead { device: 1, offset, width }).unwrap()
    };
    assert_eq!(read(&p, 0x3d, 1), pin.into());
    assert_eq!((read(&p, 0x34, 1), read(&p, 0x40, 4)), (0, 0), "no messages beside the line");
    assert_eq!(command_of(&p, EDU) & SILENT, SILENT);
    write(&mut p, 1, 4, 2, 2).unwrap();
    assert_eq!(command_of(&p, EDU) & SILENT, SILENT, "not attached");
    let attached = attach(&mut p, 1).unwrap();
    assert_eq!((attached.first_vector, attached.vectors), (4, 0));
    assert_eq!(p.platform.handlers[&(3, 1)], 1);
    assert_eq!(command_of(&p, EDU) & (SILENT | 4), 0);
    write(&mut p, 1, 4, 2, 0x402).unwrap();
    assert_eq!(command_of(&p, EDU) & (SILENT | 4), SILENT);
    write(&mut p, 1, 4, 2, 6).unwrap();
    assert_eq!(command_of(&p, EDU) & (SILENT | 4), 4);
    // What the device says of its line is shown, wherever the access begins.
    p.platform.machine.set16(at(EDU), 6, 0xffff);
    assert_eq!((read(&p, 6, 1), read(&p, 6, 2), read(&p, 7, 1)), (8, 8, 0));
    assert_eq!((read(&p, 4, 4), read(&p, 4, 2), read(&p, 4, 1), read(&p, 8, 1)), (8 << 16 | 6, 6, 6, 0));
    p.platform.cut_off.insert((3, 1));
    p.quarantine();
    assert_eq!(command_of(&p, EDU) & (SILENT | 4), SILENT);
    write(&mut p, 1, 4, 2, 6).unwrap();
    assert_eq!(command_of(&p, EDU) & (SILENT | 4), SILENT);
    p.detach(3, Detach { device: 1 }).unwrap();
    assert_eq!((command_of(&p, EDU), read(&p, 6, 2)), (SILENT, 0));
    assert!(p.platform.handlers.is_empty());
}

#[test]
fn devices_with_messages_never_pull_their_lines() {
    let mut p = setup();
    for device in [0, 1] {
        attach(&mut p, device).unwrap();
        for value in [0, 2, 6, 0x402] {
            write(&mut p, device, 4, 2, value).unwrap();
            assert_eq!(command_of(&p, [NIC, EDU][usize::from(device)]) & 0x400, 0x400);
        }
        p.platform.machine.set16(at([NIC, EDU][usize::from(device)]), 6, 8);
        let status = p.config_read(3, ConfigRead { device, offset: 6, width: 2 }).unwrap();
        assert_eq!(status & 8, 0);
    }
}

#[test]
fn without_its_line_a_device_isn_t_given() {
    let mut p = setup_with(Some(22));
    p.platform.fail.insert("line");
    assert!(attach(&mut p, 1).is_err());
    assert!(p.platform.domains.is_empty() && p.platform.handlers.is_empty());
    assert_eq!(command_of(&p, EDU), 0x400);
}
