// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lives of virtual functions beside that of their physical one.

use pci::DevFn;
use pci::reset::Methods;
use pci::topology::Topology;
use protocol::pci::{GuestSlot, PciConfig, PciDevice};

use super::tests::Fake;
use super::*;
use crate::{promise, survey, virtuals};

/// Whose device 0 it is: the physical function's owner, and those of the two virtual ones.
pub(crate) const OWNER: u16 = 3;
pub(crate) const ONE: u16 = 4;
pub(crate) const TWO: u16 = 5;
const PLACES: [(u16, &str); 3] = [(OWNER, "01:00.0"), (ONE, "01:00.1"), (TWO, "01:00.2")];
const CONTROL: u16 = 0x108;

fn setup() -> Passthrough<Fake> {
    let mut fake = Fake::new();
    let machine = &fake.machine;
    let port = machine.bridge("00:04.0", 1, 1);
    machine.capabilities(port, &[(0x40, 0x10)]);
    machine.set16(port, 0x42, 0x42);
    let physical = machine.endpoint("01:00.0", 0x1b36, 0x0010);
    machine.bar(physical, 0, 4, 0xfe60_0000, 0x4000);
    machine.physical(physical, 2, (1, 1), (0, 0x4000));
    let mut topology = Topology::default();
    for (_, place) in PLACES {
        let at = place.parse().unwrap();
        machine.capabilities(at, &[(0x40, 0x10), (0x90, 0x11)]);
        machine.set32(at, 0x94, 0x2000);
        machine.set32(at, 0x98, 0x3000);
        machine.set32(at, 0x44, 1 << 28);
        machine.writable32(at, 0x48, 0x7fff);
        machine.resets(at, 0x48, 0x8000, at);
        machine.resets(physical, 0x48, 0x8000, at);
        machine.writable32(at, 4, 0xffff);
    }
    topology.enumerate(machine, 0, 0, 255);
    let index = topology.find(&"01:00.0".parse().unwrap()).unwrap();
    let claims = survey::Claims::read(machine, &topology, |_| false);
    let sriov = virtuals::plan(machine, &topology, index, &claims, 2).unwrap();
    sriov.enable(machine, physical);
    topology.add_virtual(machine, index, sriov).unwrap();
    let (mut devices, mut config) = (std::vec::Vec::new(), PciConfig::default());
    for (number, (vm, place)) in PLACES.into_iter().enumerate() {
        let location = pci::Location::Address(place.parse().unwrap());
        let function = topology.find(&location).unwrap();
        let survey = survey::survey(machine, &topology, function).unwrap();
        let wanted = PciDevice {
            vm,
            index: 0,
            owner: "web".try_into().unwrap(),
            location,
            slot: GuestSlot { bus: 0, devfn: DevFn(8) },
            vectors: None,
            reserved: Default::default(),
            rom: false,
            unsafe_interrupts: false,
            bars_first: 1,
            bars_count: 8,
            irqs_first: 1,
            irqs_count: 4,
            intx: None,
        };
        let mut device =
            promise::promise(machine, &topology, function, &survey, Vec::new(), &wanted).unwrap();
        for (part, frame) in device.parts.iter_mut().zip((1000 * (1 + number as u64)..).step_by(100)) {
            part.frame = frame;
        }
        devices.push(device);
        config.devices.push(wanted).unwrap();
    }
    fake.config = config;
    let mut p = Passthrough::new(fake);
    devices.into_iter().for_each(|device| assert!(p.add(device)));
    p.settled();
    p
}

pub(crate) fn command_of(p: &Passthrough<Fake>, vm: u16) -> u16 {
    let (_, place) = PLACES.into_iter().find(|(owner, _)| *owner == vm).unwrap();
    p.platform.machine.read16(place.parse().unwrap(), 4)
}

fn attach(p: &mut Passthrough<Fake>, vm: u16) -> Result<(), Error> {
    p.attach(vm, Attach { device: 0 }).map(drop)
}

/// Lets time pass until no reset is under way.
fn settle(p: &mut Passthrough<Fake>) {
    for _ in 0..20 {
        if let Some(deadline) = p.platform.deadline.take() {
            p.platform.now = deadline;
            p.tick();
        }
    }
    assert!(p.devices.iter().all(|device| device.resetting.is_none() && !device.waits));
}

/// All three attached, and masters of the bus.
pub(crate) fn attached() -> Passthrough<Fake> {
    let mut p = setup();
    for (vm, _) in PLACES {
        if attach(&mut p, vm).is_err() {
            settle(&mut p);
            attach(&mut p, vm).unwrap();
        }
        p.config_write(vm, ConfigWrite { device: 0, offset: 4, width: 2, value: 6 }).unwrap();
        assert_ne!(command_of(&p, vm) & command::BUS_MASTER, 0);
    }
    p.platform.signals.clear();
    p
}

#[test]
fn all_that_the_table_of_a_virtual_function_could_become_is_withheld() {
    let p = setup();
    let in_table =
        |device: usize| [0x2000, 0x2010, 0x2ff0, 0x3000].map(|at| p.devices[device].in_table(0, at, 4));
    assert_eq!(in_table(0), [true, false, false, false], "one entry");
    assert_eq!(in_table(1), [true, true, true, false], "one so far");
    assert!(p.devices.iter().all(|device| device.forwarded(0, 0x2010, 4).is_some()));
}

#[test]
fn attaching_the_physical_function_leaves_the_virtual_ones_alone() {
    let mut p = setup();
    attach(&mut p, ONE).unwrap_err();
    settle(&mut p);
    attach(&mut p, ONE).unwrap();
    assert_eq!(attach(&mut p, OWNER), Ok(()), "it was reset before its virtual functions were enabled");
    assert_eq!(attach(&mut p, ONE), Ok(()));
    assert_eq!(p.platform.domains[&(ONE, 0)], 0x101, "a requester of its own");
}

#[test]
fn a_reset_of_the_physical_function_cuts_the_virtual_ones_off_first() {
    let mut p = attached();
    p.platform.machine.set16("01:00.0".parse().unwrap(), CONTROL, 0);
    p.platform.machine.writes.borrow_mut().clear();
    p.detach(OWNER, Detach { device: 0 }).unwrap();
    // Off the bus before the reset begins.
    let (one, owner) = (PLACES[1].1.parse().unwrap(), PLACES[0].1.parse().unwrap());
    let writes = p.platform.machine.writes.borrow().clone();
    let off =
        writes.iter().position(|(at, offset, _, value)| (*at, *offset, value & 4) == (one, 4, 0)).unwrap();
    let reset =
        writes.iter().position(|(at, offset, _, value)| (*at, *offset, value >> 15) == (owner, 0x48, 1));
    assert!(off < reset.unwrap());
    for vm in [ONE, TWO] {
        assert_eq!(p.platform.shown.values().filter(|(owner, _)| *owner == vm).count(), 0, "no registers");
        assert_eq!(attach(&mut p, vm), Err(Error::Resetting));
        p.config_write(vm, ConfigWrite { device: 0, offset: 4, width: 2, value: 6 }).unwrap();
        assert_eq!(command_of(&p, vm) & command::BUS_MASTER, 0);
    }
    settle(&mut p);
    assert_eq!(p.platform.machine.read16(owner, CONTROL), 9, "they are enabled again");
    assert!(
        [OWNER, ONE, TWO].iter().all(|vm| p.platform.signals.contains(vm)),
        "everybody is told to ask again"
    );
    assert_eq!(attach(&mut p, ONE), Err(Error::Quarantined), "by a reset of its own only");
    p.detach(ONE, Detach { device: 0 }).unwrap();
    assert_eq!(attach(&mut p, ONE), Err(Error::Resetting));
    settle(&mut p);
    assert_eq!((attach(&mut p, ONE), attach(&mut p, OWNER)), (Ok(()), Ok(())));
}

#[test]
fn resets_of_virtual_functions_wait_for_that_of_the_physical_one() {
    let mut p = attached();
    // One is being reset, and the other asks while the physical one is.
    p.detach(ONE, Detach { device: 0 }).unwrap();
    p.detach(OWNER, Detach { device: 0 }).unwrap();
    p.detach(TWO, Detach { device: 0 }).unwrap();
    assert!(p.devices[1].waits && p.devices[2].waits && p.devices[1].resetting.is_none());
    assert_eq!([ONE, TWO].map(|vm| attach(&mut p, vm)), [Err(Error::Resetting); 2]);
    p.platform.now = p.platform.deadline.unwrap();
    p.tick();
    assert!(p.devices[1].waits, "the virtual functions aren't back");
    settle(&mut p);
    assert_eq!([ONE, TWO, OWNER].map(|vm| attach(&mut p, vm)), [Ok(()); 3]);
}

#[test]
fn the_ends_of_their_vms_come_in_any_order() {
    for order in [[OWNER, ONE, TWO], [ONE, OWNER, TWO], [TWO, ONE, OWNER]] {
        let mut p = attached();
        order.into_iter().for_each(|vm| p.vm_ended(vm));
        assert_eq!(p.platform.quieted, order);
        assert!(p.platform.domains.is_empty() && p.platform.shown.is_empty());
        assert!(PLACES.iter().all(|(vm, _)| command_of(&p, *vm) & command::BUS_MASTER == 0));
        settle(&mut p);
        assert_eq!([ONE, TWO, OWNER].map(|vm| attach(&mut p, vm)), [Ok(()); 3]);
    }
}

#[test]
fn without_its_physical_function_a_virtual_one_is_lost() {
    let mut p = attached();
    for (_, place) in PLACES {
        p.platform.machine.remove(place.parse().unwrap());
    }
    p.vm_ended(OWNER);
    p.detach(ONE, Detach { device: 0 }).unwrap();
    for _ in 0..50 {
        settle_some(&mut p);
    }
    assert_eq!(attach(&mut p, OWNER), Err(Error::ResetFailed));
    assert_eq!(attach(&mut p, ONE), Err(Error::ResetFailed));
}

fn settle_some(p: &mut Passthrough<Fake>) {
    if let Some(deadline) = p.platform.deadline.take() {
        p.platform.now = deadline;
        p.tick();
    }
}

#[test]
fn a_physical_function_without_a_reset_leaves_the_virtual_ones_alone() {
    let mut p = attached();
    p.devices[0].methods = Methods::default();
    p.detach(OWNER, Detach { device: 0 }).unwrap();
    assert_eq!(p.devices[1].life.state(), State::Attached);
    assert_eq!(attach(&mut p, OWNER), Err(Error::UsedUp));
}
