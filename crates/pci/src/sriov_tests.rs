// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capability's arithmetic, and virtual functions in the tree.

use super::*;
use crate::capability::id;
use crate::config::{command, register as header};
use crate::reset::{Methods, Progress, Saved, Sequence};
use crate::testing::{Machine, Random, at};
use crate::topology::Topology;

const PHYSICAL: &str = "01:00.0";
const SIZE: u64 = 0x4000;

/// A physical function with `total` virtual ones behind a root port.
fn machine(total: u16, first: u16, stride: u16) -> Machine {
    let machine = Machine::new();
    let port = machine.bridge("00:04.0", 1, 1);
    machine.capabilities(port, &[(0x40, id::EXPRESS)]);
    machine.set16(port, 0x42, 0x42);
    machine.set32(port, 0x100, 0x0001_000d);
    machine.set16(port, 0x104, 0x5d);
    machine.writable32(port, 0x104, 0xffff_0000);
    let physical = machine.endpoint(PHYSICAL, 0x1b36, 0x0010);
    machine.physical(physical, total, (first, stride), (0xfe60_0000, SIZE));
    machine
}

fn read(machine: &Machine, count: u16) -> Result<Sriov, Problem> {
    Sriov::read(machine, at(PHYSICAL), count, true)
}

#[test]
fn addresses_and_bars_follow_each_other() {
    let machine = machine(4, 1, 2);
    let sriov = read(&machine, 3).unwrap();
    assert_eq!((sriov.count(), sriov.device()), (3, 0x1234));
    let addresses = [1, 2, 3].map(|number| sriov.address(at(PHYSICAL), number).unwrap().to_string());
    assert_eq!(addresses, ["0000:01:00.1", "0000:01:00.3", "0000:01:00.5"]);
    let bases = [1, 2, 3].map(|number| sriov.bars_of(number).get(0).unwrap().base);
    assert_eq!(bases, [0xfe60_0000, 0xfe60_4000, 0xfe60_8000]);
    assert_eq!(sriov.span(sriov.bars().get(0).unwrap()), Some((0xfe60_0000, 0xfe60_bfff)));
    assert_eq!(machine.read16(at(PHYSICAL), 0x110), 3, "offset and stride are read for this number");
    assert_eq!(machine.read16(at(PHYSICAL), 0x108), 0, "nothing is enabled yet");
}

#[test]
fn routing_ids_that_cannot_be_asked_for_are_refused() {
    // Seven fit beside function 0.
    assert!(read(&machine(8, 1, 1), 7).is_ok());
    assert_eq!(read(&machine(8, 1, 1), 8), Err(Problem::Routing { first: 1, stride: 1 }));
    for (first, stride) in [(0x80, 1), (8, 1), (0, 1), (1, 0), (0x100, 1), (0xffff, 0xffff)] {
        assert_eq!(read(&machine(2, first, stride), 2), Err(Problem::Routing { first, stride }));
    }
    // Without a port all devices of the bus can be, and no other bus.
    let machine = machine(255, 1, 1);
    let on_root = |count| Sriov::read(&machine, at(PHYSICAL), count, false).err();
    assert_eq!(on_root(255), None);
    machine.set16(at(PHYSICAL), 0x114, 2);
    assert_eq!(on_root(254), None);
    assert_eq!(on_root(255), Some(Problem::Routing { first: 2, stride: 1 }));
    // One alone needs no stride.
    machine.set16(at(PHYSICAL), 0x116, 0);
    assert_eq!((on_root(1), on_root(2)), (None, Some(Problem::Routing { first: 2, stride: 0 })));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let plain = Machine::new();
    plain.endpoint(PHYSICAL, 1, 1);
    assert_eq!(read(&plain, 1), Err(Problem::NoCapability));
    assert_eq!(read(&machine(2, 1, 1), 3), Err(Problem::TooMany { wanted: 3, total: 2 }));
    assert_eq!(read(&machine(2, 1, 1), 0), Err(Problem::TooMany { wanted: 0, total: 2 }));
    let spoilt = |spoil: &dyn Fn(&Machine, Address)| {
        let machine = machine(2, 1, 1);
        spoil(&machine, at(PHYSICAL));
        read(&machine, 2).unwrap_err()
    };
    assert_eq!(spoilt(&|machine, at| machine.set8(at, 0x112, 1)), Problem::Dependent);
    assert_eq!(spoilt(&|machine, at| machine.set32(at, 0x11c, 0x552)), Problem::PageSize);
    let no_memory = |machine: &Machine, at| {
        machine.set32(at, 0x130, 1);
        machine.writable32(at, 0x130, 0xffe0);
    };
    assert_eq!(spoilt(&no_memory), Problem::BadBar(3));
    assert_eq!(spoilt(&|machine, at| machine.writable32(at, 0x130, !0xff)), Problem::BadBar(3), "256 bytes");
    // The capability sticks out of the space.
    plain.set32(at(PHYSICAL), 0x100, 0xfc81_0001);
    plain.set32(at(PHYSICAL), 0xfc8, 0x0001_0010);
    assert_eq!(read(&plain, 1), Err(Problem::NoCapability));
}

#[test]
fn places_are_checked() {
    let machine = machine(4, 1, 1);
    let mut sriov = read(&machine, 4).unwrap();
    assert_eq!(sriov.place(|_, _| None), Err(Problem::NoRoom(0)));
    for bad in [0, 0x1000, 0u64.wrapping_sub(SIZE), 0u64.wrapping_sub(3 * SIZE)] {
        assert_eq!(sriov.place(|_, _| Some(bad)), Err(Problem::NoRoom(0)), "{bad:#x}");
    }
    assert_eq!(sriov.place(|_, _| Some(0u64.wrapping_sub(4 * SIZE))), Ok(()));
    machine.set32(at(PHYSICAL), 0x124, 0);
    machine.writable32(at(PHYSICAL), 0x128, 0);
    machine.set32(at(PHYSICAL), 0x128, 0);
    let mut sriov = read(&machine, 4).unwrap();
    assert_eq!(sriov.place(|_, _| Some(0xffff_4000)), Err(Problem::NoRoom(0)), "32 bits only");
    assert_eq!(sriov.place(|_, _| Some(0xffff_0000)), Ok(()));
}

#[test]
fn enabling_writes_all_of_it_in_order() {
    let machine = machine(4, 1, 1);
    let mut sriov = read(&machine, 2).unwrap();
    sriov.place(|_, _| Some(0x12_3450_0000)).unwrap();
    machine.set16(at(PHYSICAL), 0x108, 1);
    machine.writes.borrow_mut().clear();
    sriov.enable(&machine, at(PHYSICAL));
    let writes: Vec<_> =
        machine.writes.borrow().iter().map(|(_, offset, _, value)| (*offset, *value)).collect();
    let expected = [(0x108, 0), (0x120, 1), (0x110, 2), (0x124, 0x3450_0000), (0x128, 0x12), (0x108, 9)];
    assert_eq!(writes, expected);
    assert!(turn_off(&machine, at(PHYSICAL)) && !turn_off(&machine, at(PHYSICAL)));
    assert_eq!(machine.read16(at(PHYSICAL), 0x108), 0);
}

#[test]
fn virtual_functions_are_devices_of_their_own() {
    let machine = machine(2, 1, 1);
    let mut topology = Topology::default();
    topology.enumerate(&machine, 0, 0, 255);
    topology.harden(&machine);
    let find = |topology: &Topology, text: &str| topology.find(&text.parse().unwrap()).unwrap();
    let physical = find(&topology, PHYSICAL);
    let port = topology.get(find(&topology, "00:04.0")).unwrap().address;
    assert_eq!(topology.functions().len(), 2, "nobody finds them by looking for a vendor");
    let sriov = read(&machine, 2).unwrap();
    topology.add_virtual(&machine, physical, sriov).unwrap();
    let (one, two) = (find(&topology, "/00:04.0/00.1"), find(&topology, "/00:04.0/00.2"));
    let function = topology.get(two).unwrap();
    assert_eq!((function.identity.vendor, function.identity.device), (0x1b36, 0x1234));
    assert_eq!((function.identity.class, function.physical), (0x01_0802, Some((physical, 2))));
    assert_eq!(topology.requester(two).unwrap().to_string(), "01:00.2");
    assert_eq!(topology.virtual_bars(two).unwrap().get(0).unwrap().base, 0xfe60_4000);
    assert_eq!(topology.virtual_bars(physical), None);
    let groups = |topology: &Topology| [physical, one, two].map(|index| topology.group(index));
    assert_eq!(groups(&topology), [physical, one, two], "each by itself");
    assert_eq!(topology.bus_reset(physical), Some(port), "its own virtual functions don't count");
    assert_eq!((topology.bus_reset(one), topology.bus_reset(two)), (None, None));
    // One that has access control, and not all of it, can reach the others.
    for count in [1, 2] {
        machine.set32(at("01:00.1"), 0x100, 0x0001_000d);
        machine.set16(at("01:00.1"), 0x104, 0xc);
        machine.writable32(at("01:00.1"), 0x104, if count == 1 { 0 } else { 0xffff_0000 });
        let mut topology = Topology::default();
        topology.enumerate(&machine, 0, 0, 255);
        topology.harden(&machine);
        topology.add_virtual(&machine, physical, sriov).unwrap();
        let expected = if count == 1 { [physical; 3] } else { [physical, one, two] };
        assert_eq!(groups(&topology), expected);
    }
}

#[test]
fn a_function_that_shares_its_device_shares_its_virtual_ones_group() {
    let machine = machine(1, 2, 1);
    machine.set8(at(PHYSICAL), header::HEADER_TYPE, 0x80);
    machine.endpoint("01:00.1", 0x1b36, 0x0010);
    let mut topology = Topology::default();
    topology.enumerate(&machine, 0, 0, 255);
    topology.harden(&machine);
    let physical = topology.find(&PHYSICAL.parse().unwrap()).unwrap();
    topology.add_virtual(&machine, physical, read(&machine, 1).unwrap()).unwrap();
    let virtual_one = topology.find(&"/00:04.0/00.2".parse().unwrap()).unwrap();
    assert_eq!((topology.group(virtual_one), topology.opened_by(virtual_one)), (physical, Some(physical)));
}

#[test]
fn those_that_do_not_appear_are_no_devices() {
    let machine = machine(3, 1, 1);
    let mut topology = Topology::default();
    topology.enumerate(&machine, 0, 0, 255);
    let physical = topology.find(&PHYSICAL.parse().unwrap()).unwrap();
    let sriov = read(&machine, 3).unwrap();
    machine.remove(at("01:00.2"));
    assert_eq!(topology.add_virtual(&machine, physical, sriov), Err(Problem::Absent(2)));
    assert_eq!((topology.functions().len(), topology.virtuals(physical)), (2, None));
}

#[test]
fn a_reset_brings_them_back_and_theirs_needs_no_vendor() {
    let machine = machine(1, 1, 1);
    let physical = at(PHYSICAL);
    machine.capabilities(physical, &[(0x40, id::EXPRESS)]);
    machine.set32(physical, 0x44, 1 << 28);
    machine.resets(physical, 0x48, 1 << 15, physical);
    let methods = Methods::read(&machine, physical);
    let saved = Saved::read(&machine, physical).with_virtuals(Some(read(&machine, 1).unwrap()));
    let (mut sequence, progress) = Sequence::begin(&machine, physical, &methods, &saved).unwrap();
    assert_eq!(progress, Progress::Wait(100));
    assert_eq!(sequence.go_on(&machine, physical, &methods, &saved), Progress::Wait(ENABLE_MS));
    assert_eq!(machine.read16(physical, 0x108), 9);
    assert_eq!(sequence.go_on(&machine, physical, &methods, &saved), Progress::Done);

    let one = at("01:00.1");
    machine.capabilities(one, &[(0x40, id::EXPRESS)]);
    machine.set32(one, 0x44, 1 << 28);
    machine.resets(one, 0x48, 1 << 15, one);
    let methods = Methods::read(&machine, one);
    let saved = Saved::read(&machine, one).of_virtual();
    let reset = || {
        let (mut sequence, mut progress) = Sequence::begin(&machine, one, &methods, &saved).unwrap();
        let mut waits = 0;
        while let Progress::Wait(_) = progress {
            progress = sequence.go_on(&machine, one, &methods, &saved);
            waits += 1;
        }
        (progress, waits)
    };
    assert_eq!(reset(), (Progress::Done, 1));
    assert_eq!(machine.read16(one, header::COMMAND), command::INTX_DISABLE);
    machine.remove(one);
    let (progress, waits) = reset();
    assert!(progress == Progress::Failed && waits > 5, "{progress:?} after {waits} waits");
}

#[test]
fn gaps_are_free_aligned_and_lowest() {
    let taken = [(0x1000, 0x1fff), (0x4000, 0x7fff), (0x8000, 0x80ff)];
    let gap = |window, bytes, align| lowest_gap(window, taken.into_iter(), bytes, align);
    assert_eq!(gap((0x1000, 0xffff), 0x1000, 0x1000), Some(0x2000));
    assert_eq!(gap((0x1000, 0xffff), 0x2000, 0x1000), Some(0x2000));
    assert_eq!(gap((0x1000, 0xffff), 0x2000, 0x4000), Some(0xc000));
    assert_eq!(gap((0x1000, 0xffff), 0x5000, 0x4000), None);
    assert_eq!(gap((0x1000, 0xdfff), 0x2000, 0x4000), Some(0xc000));
    assert_eq!(gap((0x1000, 0xdffe), 0x2000, 0x4000), None);
    assert_eq!(gap((u64::MAX - 0x10, u64::MAX), 0x1000, 0x1000), None);
    assert_eq!(gap((0x1000, 0xffff), 0, 0x1000), None);
    let mut random = Random(21);
    for _ in 0..5000 {
        let mut number = |most: u64| random.next() % most;
        let taken: Vec<_> = (0..number(12)).map(|n| number(200 - n)).map(|at| (at, at + at % 7)).collect();
        let (first, last, bytes, align) = (number(100), number(200), 1 + number(20), 1 << number(5));
        let free = |base: &u64| {
            base + bytes - 1 <= last && taken.iter().all(|(from, to)| base + bytes <= *from || to < base)
        };
        let expected = (first..=last).filter(|base| base % align == 0).find(free);
        assert_eq!(lowest_gap((first, last), taken.iter().copied(), bytes, align), expected);
    }
}

#[test]
fn hostile_capabilities_never_panic() {
    let mut random = Random(17);
    for _ in 0..2000 {
        let machine = machine(4, 1, 1);
        for offset in (0x104..0x140).step_by(4) {
            if random.next() & 1 == 0 {
                machine.set32(at(PHYSICAL), offset, random.next() as u32);
                machine.writable32(at(PHYSICAL), offset, random.next() as u32);
            }
        }
        let Ok(mut sriov) = read(&machine, 1 + (random.next() % 8) as u16) else { continue };
        let _ = sriov.place(|_, bar| Some(random.next() & !(bar.size - 1)));
        for number in 0..10 {
            let _ = (sriov.address(at(PHYSICAL), number), sriov.bars_of(number));
        }
        sriov.enable(&machine, at(PHYSICAL));
        let _ = sriov.absent(&machine, at(PHYSICAL));
    }
}

#[test]
fn texts_are_sentences() {
    let text = Problem::Routing { first: 0x80, stride: 2 }.to_string();
    assert!(text.contains("offset 0x80, stride 0x2"));
    assert_eq!(Problem::Absent(2).to_string(), "number 2 did not appear");
}
