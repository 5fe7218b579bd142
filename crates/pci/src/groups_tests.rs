// SPDX-License-Identifier: MIT OR Apache-2.0
//! Groups of whole machines.

use super::*;
use crate::address::Address;
use crate::capability::id;
use crate::config::register;
use crate::testing::{Machine, Random};

const ROOT: u16 = 4;
const UPSTREAM: u16 = 5;
const DOWNSTREAM: u16 = 6;
const TO_PCI: u16 = 7;

fn port(machine: &Machine, place: &str, kind: u16, bus: u8, acs: bool) -> Address {
    let address = machine.bridge(place, bus, 0xff);
    express(machine, address, kind, acs);
    address
}

fn express(machine: &Machine, address: Address, kind: u16, acs: bool) {
    machine.capabilities(address, &[(0x40, id::EXPRESS)]);
    machine.set16(address, 0x42, kind << 4 | 2);
    if acs {
        machine.set32(address, 0x100, 0x0001_000d);
        machine.set16(address, 0x104, 0x5d);
        machine.writable32(address, 0x104, 0xffff_0000);
    }
}

fn several(machine: &Machine, address: Address) {
    let header = crate::ConfigSpace::read8(machine, address, register::HEADER_TYPE);
    machine.set8(address, register::HEADER_TYPE, header | 0x80);
}

fn tree(machine: &Machine) -> Topology {
    let mut topology = Topology::default();
    topology.enumerate(machine, 0, 0, 255);
    topology.harden(machine);
    topology
}

fn index(topology: &Topology, place: &str) -> u16 {
    topology.find(&place.parse().unwrap()).unwrap()
}

/// The members of a function's group, itself included, as addresses.
fn members(topology: &Topology, place: &str) -> Vec<String> {
    let index = index(topology, place);
    let mut members: Vec<u16> = topology.group_members(index).chain([index]).collect();
    members.sort_by_key(|member| topology.get(*member).unwrap().address);
    let name = |member: &u16| topology.get(*member).unwrap().address.to_string()[5..].to_owned();
    members.iter().map(name).collect()
}

#[test]
fn a_port_with_access_control_isolates_and_one_without_does_not() {
    let machine = Machine::new();
    port(&machine, "00:04.0", ROOT, 1, true);
    machine.endpoint("01:00.0", 1, 1);
    port(&machine, "00:05.0", ROOT, 2, false);
    machine.endpoint("02:00.0", 1, 1);
    let topology = tree(&machine);
    assert_eq!(members(&topology, "01:00.0"), ["01:00.0"]);
    assert_eq!(members(&topology, "02:00.0"), ["00:05.0", "02:00.0"]);
    assert_eq!(topology.opened_by(index(&topology, "01:00.0")), None);
    assert_eq!(topology.opened_by(index(&topology, "02:00.0")), Some(index(&topology, "00:05.0")));
}

/// A switch with two ports, and a device behind each.
fn switch(root: bool, first: bool, second: bool) -> Topology {
    let machine = Machine::new();
    port(&machine, "00:04.0", ROOT, 1, root);
    port(&machine, "01:00.0", UPSTREAM, 2, false);
    port(&machine, "02:00.0", DOWNSTREAM, 3, first);
    port(&machine, "02:01.0", DOWNSTREAM, 4, second);
    machine.endpoint("03:00.0", 1, 1);
    machine.endpoint("04:00.0", 1, 1);
    tree(&machine)
}

#[test]
fn every_port_of_a_switch_must_isolate() {
    let apart = switch(true, true, true);
    assert_eq!(members(&apart, "03:00.0"), ["03:00.0"]);
    assert_eq!(members(&apart, "04:00.0"), ["04:00.0"]);
    let together = ["02:00.0", "02:01.0", "03:00.0", "04:00.0"];
    for (first, second) in [(false, true), (true, false), (false, false)] {
        let topology = switch(true, first, second);
        assert_eq!(members(&topology, "03:00.0"), together, "one port turns requests round to the others");
        assert_eq!(members(&topology, "04:00.0"), together);
    }
}

#[test]
fn every_bridge_up_to_the_root_counts() {
    let topology = switch(false, true, true);
    let all = ["00:04.0", "01:00.0", "02:00.0", "02:01.0", "03:00.0", "04:00.0"];
    assert_eq!(members(&topology, "03:00.0"), all);
}

#[test]
fn functions_of_one_device() {
    for (first, second) in [(false, false), (true, false), (false, true), (true, true)] {
        let machine = Machine::new();
        port(&machine, "00:04.0", ROOT, 1, true);
        for (place, acs) in [("01:00.0", first), ("01:00.1", second)] {
            let address = machine.endpoint(place, 1, 1);
            several(&machine, address);
            express(&machine, address, 0, acs);
        }
        let topology = tree(&machine);
        let alone = first && second;
        assert_eq!(members(&topology, "01:00.0").len(), if alone { 1 } else { 2 }, "{first} {second}");
    }
}

#[test]
fn root_ports_of_one_device() {
    for (second, size) in [(true, 1), (false, 4)] {
        let machine = Machine::new();
        let first = port(&machine, "00:04.0", ROOT, 1, true);
        several(&machine, first);
        port(&machine, "00:04.1", ROOT, 2, second);
        machine.endpoint("01:00.0", 1, 1);
        machine.endpoint("02:00.0", 1, 1);
        let topology = tree(&machine);
        assert_eq!(members(&topology, "01:00.0").len(), size);
        assert_eq!(members(&topology, "02:00.0").len(), size);
    }
}

#[test]
fn behind_a_bridge_to_pci_all_are_one() {
    let machine = Machine::new();
    port(&machine, "00:04.0", ROOT, 1, true);
    port(&machine, "01:00.0", TO_PCI, 2, false);
    machine.endpoint("02:01.0", 1, 1);
    machine.endpoint("02:02.0", 1, 1);
    let topology = tree(&machine);
    assert_eq!(members(&topology, "02:01.0"), ["01:00.0", "02:01.0", "02:02.0"]);
    for place in ["02:01.0", "02:02.0"] {
        assert_eq!(topology.requester(index(&topology, place)).unwrap().to_string(), "02:00.0");
    }
}

#[test]
fn the_reset_domain_is_another_thing() {
    let topology = switch(true, false, false);
    let resets = |place: &str| topology.reset_domain(index(&topology, place)).count();
    assert_eq!(resets("03:00.0"), 0, "alone behind its port, though not in its group");
    assert_eq!(resets("01:00.0"), 4, "the switch and all behind it");
    assert_eq!(resets("00:04.0"), 0);
}

/// Groups divide the functions, and who is behind a member that opens is in its group.
#[test]
fn random_machines() {
    let mut random = Random(23);
    for _ in 0..200 {
        let machine = Machine::new();
        let mut next = 1;
        for bus in 0..6 {
            for _ in 0..random.next() % 4 {
                let place = format!("{bus:02x}:{:02x}.{}", random.next() % 4, random.next() % 3);
                if random.next() & 1 == 0 {
                    let kind = random.next() as u16 % 8;
                    let address = port(&machine, &place, kind, next, random.next() & 1 == 0);
                    several(&machine, address);
                    next += 1;
                } else {
                    let address = machine.endpoint(&place, 1, 1);
                    several(&machine, address);
                }
            }
        }
        let topology = tree(&machine);
        for one in 0..topology.functions().len() as u16 {
            let group = topology.group(one);
            assert_eq!(topology.group(group), group, "a group is named by a member");
            assert!(topology.group_members(one).chain([one]).all(|member| member >= group));
            let function = topology.get(one).unwrap();
            let above = function.parent.filter(|parent| !topology.get(*parent).unwrap().isolates);
            assert!(above.is_none_or(|parent| topology.group(parent) == group));
            for (other, beside) in topology.siblings(one) {
                let same = beside.address.devfn.device() == function.address.devfn.device();
                assert!(!same || beside.isolates || topology.group(other) == group);
            }
        }
    }
}
