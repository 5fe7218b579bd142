// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the BARs of virtual functions go, and what is said where there are none.

use pci::{Address, testing};
use protocol::pci::GuestSlot;

use super::*;

const PHYSICAL: &str = "01:00.0";
const SIZE: u64 = 0x4000;

/// A physical function behind a port whose windows are 0xfe60_0000 to 0xfe6f_ffff, and 0xfd00_0000 to 0xfd0f_ffff for prefetchable
/// memory. Its own BAR lies at the beginning of the first.
fn machine(base: u64) -> testing::Machine {
    let machine = testing::Machine::new();
    let port = machine.bridge("00:04.0", 1, 1);
    machine.capabilities(port, &[(0x40, 0x10)]);
    machine.set16(port, 0x42, 0x42);
    machine.set32(port, 0x20, 0xfe60_fe60);
    machine.set32(port, 0x24, 0xfd00_fd00);
    let physical = machine.endpoint(PHYSICAL, 0x1b36, 0x0010);
    machine.bar(physical, 0, 4, 0xfe60_0000, SIZE);
    machine.physical(physical, 4, (1, 1), (base, SIZE));
    machine
}

fn at() -> Address {
    PHYSICAL.parse().unwrap()
}

fn planned(machine: &testing::Machine, count: u16) -> Result<u64, Problem> {
    let mut topology = Topology::default();
    topology.enumerate(machine, 0, 0, 255);
    let claims = Claims::read(machine, &topology, |_| false);
    let index = topology.find(&PHYSICAL.parse().unwrap()).unwrap();
    let sriov = plan(machine, &topology, index, &claims, count)?;
    Ok(sriov.bars().get(0).unwrap().base)
}

#[test]
fn they_go_where_firmware_says_or_into_the_lowest_gap() {
    assert_eq!(planned(&machine(0xfe68_0000), 4), Ok(0xfe68_0000));
    assert_eq!(planned(&machine(0), 4), Ok(0xfe60_4000), "unassigned: behind its own BAR");
    assert_eq!(planned(&machine(0xfe60_0000), 4), Ok(0xfe60_4000), "its own BAR is there");
    assert_eq!(planned(&machine(0xfe6f_8000), 4), Ok(0xfe60_4000), "the last two aren't passed on");
    assert_eq!(planned(&machine(0xfe6f_8000), 2), Ok(0xfe6f_8000));
    let prefetchable = machine(8);
    assert_eq!(planned(&prefetchable, 4), Ok(0xfd00_0000));
    prefetchable.set32("00:04.0".parse().unwrap(), 0x24, 0x0000_fff0);
    assert_eq!(planned(&prefetchable, 4), Ok(0xfe60_4000), "the other window takes them too");
}

#[test]
fn without_a_gap_there_are_none() {
    let full = machine(0);
    full.bar(at(), 2, 4, 0xfe60_8000, SIZE);
    full.bar(at(), 4, 4, 0xfe68_0000, 0x8_0000);
    assert_eq!(planned(&full, 2), Ok(0xfe60_c000));
    full.set32("00:04.0".parse().unwrap(), 0x20, 0xfe60_fe60);
    full.bar(at(), 2, 4, 0xfe64_0000, 0x4_0000);
    full.writable32(at(), 0x124, !0xf_ffff & !0xf);
    assert_eq!(planned(&full, 1), Err(Problem::NoRoom(0)), "1 MiB each");
    // Bridges beside it have windows that nobody here knows.
    let beside = machine(0);
    beside.set8(at(), 0x0e, 0x80);
    beside.bridge("01:01.0", 2, 2);
    assert_eq!(planned(&beside, 2), Err(Problem::NoRoom(0)));
    let root = testing::Machine::new();
    root.physical(root.endpoint("01:00.0", 1, 1), 4, (1, 1), (0, SIZE));
    assert_eq!(planned(&root, 2), Err(Problem::NoRoom(0)), "a root bus has no window that is known");
    root.set32(at(), 0x124, 0xe000_0004);
    assert_eq!(planned(&root, 2), Ok(0xe000_0000));
}

#[test]
fn who_lacks_a_virtual_function_is_told_why() {
    let wanted = |location: &str| PciDevice {
        vm: 0,
        index: 0,
        owner: "one".try_into().unwrap(),
        location: location.parse().unwrap(),
        slot: GuestSlot { bus: 0, devfn: pci::DevFn(8) },
        vectors: None,
        reserved: Default::default(),
        rom: false,
        unsafe_interrupts: false,
        bars_first: 1,
        bars_count: 1,
        irqs_first: 1,
        irqs_count: 1,
        intx: None,
    };
    let reason = Refusal::Virtual(Problem::NoCapability);
    let mut missing = Missing::new();
    missing.push(("/00:04.0/00.0".parse().unwrap(), reason)).unwrap();
    missing.push(("03:00.0".parse().unwrap(), reason)).unwrap();
    missing.push(("/00:05.0/00.0".parse().unwrap(), Refusal::NotReserved)).unwrap();
    for (location, explained) in [
        ("/00:04.0/00.1", reason),
        ("03:00.3", reason),
        ("/00:04.0/00.0", Refusal::NoSuchDevice),
        ("/00:04.0/01.1", Refusal::NoSuchDevice),
        ("/00:06.0/00.1", Refusal::NoSuchDevice),
        ("/00:04.0/00.1/00.0", Refusal::NoSuchDevice),
        ("04:00.3", Refusal::NoSuchDevice),
        ("/00:05.0/00.1", Refusal::NoSuchDevice),
    ] {
        assert_eq!(explain(Refusal::NoSuchDevice, &wanted(location), &missing), explained, "{location}");
    }
    assert_eq!(explain(Refusal::NoRoom, &wanted("/00:04.0/00.1"), &missing), Refusal::NoRoom);
}
