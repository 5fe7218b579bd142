// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is shown of the functions, in the states that they are in.

use pci::life::State;
use pci::topology::Topology;
use protocol::look::device::{MAX_SHOWN, Owner, Resets};

use super::tests::{Fake, attach, setup};
use super::*;

fn topology(p: &Passthrough<Fake>) -> Topology {
    let mut topology = Topology::default();
    topology.enumerate(&p.platform.machine, 0, 0, 255);
    topology
}

fn owner(p: &mut Passthrough<Fake>, path: &str) -> Option<Owner> {
    let topology = topology(p);
    let devices = p.show(&topology, 0).devices;
    devices.iter().find(|device| device.path.to_string() == path).expect("is there").owner
}

#[test]
fn a_function_is_shown_as_it_is() {
    let mut p = setup();
    let topology = topology(&p);
    let shown = p.show(&topology, 0);
    assert_eq!((shown.devices.len(), shown.next), (topology.functions().len(), None));
    let port = shown.devices.iter().find(|device| device.path.to_string() == "/00:04.0").unwrap();
    assert_eq!((port.owner, port.resets), (None, Resets::default()));
    let nic = shown.devices.iter().find(|device| device.path.to_string() == "/00:04.0/00.0").unwrap();
    // The port has no access control.
    assert_eq!((nic.group.as_slice(), nic.grouped), ([port.address].as_slice(), 1));
    assert_eq!((nic.identity.vendor, nic.identity.device), (0x1af4, 0x1041));
    assert!(nic.resets.function && nic.resets.bus && !nic.resets.advanced);
    let owner = nic.owner.unwrap();
    assert_eq!((owner.vm, owner.index, owner.state, owner.faults), (3, 0, State::Reserved, Some(16)));
}

#[test]
fn states_are_those_of_the_moment() {
    let mut p = setup();
    let nic = |p: &mut _| owner(p, "/00:04.0/00.0").unwrap();
    assert!(p.attach(3, Attach { device: 0 }).is_err());
    assert!(nic(&mut p).resetting);
    attach(&mut p, 0).unwrap();
    assert_eq!((nic(&mut p).state, nic(&mut p).resetting), (State::Attached, false));
    p.platform.fail.insert("faults");
    assert_eq!(nic(&mut p).faults, None);
    p.vm_ended(3);
    assert!(nic(&mut p).resetting);
    p.refuse(3);
    assert_eq!(owner(&mut p, "/00:04.0/00.0"), None);
}

#[test]
fn many_functions_come_in_pieces() {
    let mut p = setup();
    for device in 8..31 {
        p.platform.machine.endpoint(&format!("00:{device:02x}.0"), 0x1234, device);
    }
    let topology = topology(&p);
    let (mut from, mut all) = (0, std::vec::Vec::new());
    loop {
        let shown = p.show(&topology, from);
        all.extend(shown.devices.into_iter().map(|device| device.address));
        match shown.next {
            Some(next) => from = next,
            None => break,
        }
        assert!(all.len().is_multiple_of(MAX_SHOWN));
    }
    assert!(all.iter().eq(topology.functions().iter().map(|function| &function.address)));
    assert!(p.show(&topology, u16::MAX).devices.is_empty());
}
