// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deaths at every write to configuration space and every word to others, and records that can't be.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pci::config::command;
use protocol::pci::{Attach, Attached, Detach, Error};

use super::*;
use crate::passthrough::tests::{EDU, Fake, NIC, PORTS, at, attach, command_of, setup, write};
use crate::passthrough::virtual_tests::{self, ONE, OWNER, TWO};

/// VM of the NIC (device 0) and of `edu` (device 1).
const VM: u16 = 3;

/// The server after its death: the same machine, and only what was kept.
fn reborn(p: Passthrough<Fake>) -> (Passthrough<Fake>, Recovered) {
    let fake = p.platform;
    fake.machine.fuse.set(None);
    let config = fake.config.clone();
    let mut next = Passthrough::new(fake);
    let recovered = next.recover(&config);
    (next, recovered)
}

/// Both attached, and masters of the bus.
fn attached() -> Passthrough<Fake> {
    let mut p = setup();
    for device in [0, 1] {
        attach(&mut p, device).unwrap();
        write(&mut p, device, 4, 2, 6).unwrap();
    }
    p
}

/// What the others have of a VM's device, and the command register.
fn held(p: &Passthrough<Fake>, found: usize) -> String {
    let device = &p.devices[found];
    let id = (device.vm, device.index);
    let frames = device.parts.iter().filter(|part| part.run.open);
    let frames = frames.flat_map(|part| (0..part.run.count).map(|number| part.frame + number));
    let shown = frames.chain(device.ports.iter().map(|ports| ports.capability));
    let shown = shown.filter(|capability| p.platform.shown.contains_key(capability)).count();
    let fake = &p.platform;
    let command = p.platform.config().read16(device.address, 4);
    format!(
        "{:?} {:?} {shown} {:#x} {:?}",
        fake.domains.get(&id),
        fake.handlers.get(&id),
        command & 7,
        device.life.state()
    )
}

/// A device that isn't given has nothing and isn't on the bus.
fn check(p: &Passthrough<Fake>) {
    for (found, device) in p.devices.iter().enumerate() {
        if !device.life.state().is_given() {
            assert!(!device.holds, "{}", held(p, found));
            assert!(held(p, found).starts_with("None None 0 0x0 "), "{}", held(p, found));
        }
        if device.life.state() == State::Quarantined {
            assert_eq!(p.platform.config().read16(device.address, 4) & command::BUS_MASTER, 0);
        }
    }
}

/// Asks for a device until there is an answer.
fn insist(p: &mut Passthrough<Fake>, vm: u16, device: u8) -> Result<Attached, Error> {
    for _ in 0..60 {
        match p.attach(vm, Attach { device }) {
            Err(Error::Resetting) => {
                p.platform.now = p.platform.deadline.expect("whoever waits has a deadline");
                p.tick();
            }
            answer => return answer,
        }
    }
    panic!("it waits for ever");
}

/// Dies at each step of `change`, and at each step of the life after that as well; `then` sees what that leads to.
fn dies_everywhere(
    prepare: fn() -> Passthrough<Fake>,
    change: fn(&mut Passthrough<Fake>),
    then: fn(&mut Passthrough<Fake>, &str),
) {
    for step in 0.. {
        let mut p = prepare();
        p.platform.machine.fuse.set(Some(step));
        if catch_unwind(AssertUnwindSafe(|| change(&mut p))).is_ok() {
            assert!(step > 1, "it does nothing");
            return;
        }
        for next in 0.. {
            let mut p = prepare();
            p.platform.machine.fuse.set(Some(step));
            assert!(catch_unwind(AssertUnwindSafe(|| change(&mut p))).is_err());
            // A life that dies while it recovers.
            let fake = core::mem::take(&mut p.platform);
            fake.machine.fuse.set(Some(next));
            let config = fake.config.clone();
            let mut second = Passthrough::new(fake);
            let over = catch_unwind(AssertUnwindSafe(|| second.recover(&config))).is_ok();
            let (mut third, recovered) = reborn(second);
            assert_eq!((recovered.lost, third.devices.len()), (0, p.devices.len()), "{step} {next}");
            check(&third);
            then(&mut third, &format!("step {step}, then {next}"));
            check(&third);
            if over {
                break;
            }
        }
    }
}

/// The other device of the VM never noticed.
fn edu_is_as_it_was(p: &Passthrough<Fake>) {
    assert_eq!(held(p, 1), "Some(16) Some(1) 256 0x6 Attached");
    assert_eq!(command_of(p, EDU) & command::BUS_MASTER, command::BUS_MASTER);
}

#[test]
fn a_death_at_rest_changes_nothing() {
    let p = attached();
    let before = [0, 1].map(|found| held(&p, found));
    assert_eq!(before[0], "Some(256) Some(3) 6 0x7 Attached");
    p.platform.machine.writes.borrow_mut().clear();
    let (mut p, recovered) = reborn(p);
    assert_eq!(recovered, Recovered { kept: 2, again: 0, lost: 0 });
    assert_eq!([0, 1].map(|found| held(&p, found)), before);
    assert!(p.platform.machine.writes.borrow().is_empty(), "no device is touched");
    assert_eq!(p.platform.signals.last(), Some(&VM), "whoever waits asks again");
    // All of it goes on.
    assert!(p.attach(VM, Attach { device: 0 }).is_ok());
    write(&mut p, 0, 4, 2, 2).unwrap();
    assert_eq!(command_of(&p, NIC) & command::BUS_MASTER, 0);
    p.vm_ended(VM);
    check(&p);
    assert_eq!(p.platform.quieted, [VM]);
    assert!(insist(&mut p, VM, 0).is_ok());
}

#[test]
fn a_reset_that_was_under_way_goes_on() {
    let mut p = setup();
    assert_eq!(p.attach(VM, Attach { device: 0 }), Err(Error::Resetting));
    let until = p.platform.deadline.take();
    p.platform.machine.writes.borrow_mut().clear();
    let (mut p, recovered) = reborn(p);
    assert_eq!(recovered, Recovered { kept: 2, again: 0, lost: 0 });
    assert_eq!(p.platform.deadline, until);
    p.platform.now = until.unwrap();
    p.tick();
    assert!(p.attach(VM, Attach { device: 0 }).is_ok());
    assert!(p.platform.machine.writes.borrow().iter().all(|write| write.1 != 0x48 || write.3 >> 15 == 0));
}

fn only_edu() -> Passthrough<Fake> {
    let mut p = setup();
    attach(&mut p, 1).unwrap();
    write(&mut p, 1, 4, 2, 6).unwrap();
    p
}

fn the_nic_can_be_had(p: &mut Passthrough<Fake>, when: &str) {
    edu_is_as_it_was(p);
    assert!(insist(p, VM, 0).is_ok(), "{when}");
    assert!(held(p, 0).starts_with("Some(256) Some(3) 6 "), "{when}: {}", held(p, 0));
    edu_is_as_it_was(p);
}

#[test]
fn a_death_while_a_reset_begins() {
    dies_everywhere(only_edu, |p| _ = p.attach(VM, Attach { device: 0 }), the_nic_can_be_had);
}

#[test]
fn a_death_while_a_reset_ends() {
    let prepare = || {
        let mut p = only_edu();
        _ = p.attach(VM, Attach { device: 0 });
        p.platform.now = p.platform.deadline.unwrap();
        p
    };
    dies_everywhere(prepare, |p| p.tick(), the_nic_can_be_had);
}

#[test]
fn a_death_while_giving() {
    let prepare = || {
        let mut p = only_edu();
        _ = p.attach(VM, Attach { device: 0 });
        p.platform.now = p.platform.deadline.unwrap();
        p.tick();
        p
    };
    dies_everywhere(prepare, |p| _ = p.attach(VM, Attach { device: 0 }), the_nic_can_be_had);
}

#[test]
fn a_death_while_taking_back() {
    dies_everywhere(attached, |p| _ = p.detach(VM, Detach { device: 0 }), the_nic_can_be_had);
}

#[test]
fn a_device_without_reset_is_handed_out_once_all_the_same() {
    let used_up_or_given = |p: &mut Passthrough<Fake>, when: &str| match insist(p, VM, 1) {
        Ok(_) => edu_is_as_it_was_but_silent(p),
        Err(error) => assert_eq!(error, Error::UsedUp, "{when}"),
    };
    dies_everywhere(setup, |p| _ = p.attach(VM, Attach { device: 1 }), used_up_or_given);
    // Its use is never forgotten.
    let used_up = |p: &mut Passthrough<Fake>, when: &str| match p.devices[1].life.state() {
        State::Attached => edu_is_as_it_was(p),
        _ => assert_eq!(insist(p, VM, 1), Err(Error::UsedUp), "{when}"),
    };
    dies_everywhere(attached, |p| _ = p.detach(VM, Detach { device: 1 }), used_up);
}

fn edu_is_as_it_was_but_silent(p: &Passthrough<Fake>) {
    assert_eq!(held(p, 1), "Some(16) Some(1) 256 0x2 Attached");
}

#[test]
fn a_death_at_the_end_of_a_vm() {
    let then = |p: &mut Passthrough<Fake>, when: &str| {
        // The root task says it again as long as it doesn't know that the devices are quiet.
        if p.platform.quieted.is_empty() {
            p.vm_ended(VM);
        }
        assert_eq!(p.platform.quieted.last(), Some(&VM), "{when}");
        check(p);
        assert!(p.devices.iter().all(|device| !device.life.state().is_given()), "{when}");
        // The next life of the VM.
        assert!(insist(p, VM, 0).is_ok(), "{when}");
        assert_eq!(insist(p, VM, 1), Err(Error::UsedUp), "{when}");
    };
    dies_everywhere(attached, |p| p.vm_ended(VM), then);
}

#[test]
fn a_death_while_a_device_is_taken_off_the_bus() {
    let prepare = || {
        let mut p = attached();
        p.platform.cut_off.insert((VM, 0));
        p
    };
    let then = |p: &mut Passthrough<Fake>, when: &str| {
        edu_is_as_it_was(p);
        assert_eq!(p.devices[0].life.state(), State::Quarantined, "{when}");
        p.platform.cut_off.clear();
        p.detach(VM, Detach { device: 0 }).unwrap();
        assert!(insist(p, VM, 0).is_ok(), "{when}");
    };
    dies_everywhere(prepare, |p| p.quarantine(), then);
}

#[test]
fn a_death_at_a_write_of_the_guest() {
    let then = |p: &mut Passthrough<Fake>, when: &str| {
        edu_is_as_it_was(p);
        assert_eq!(p.devices[0].life.state(), State::Attached, "{when}");
        // It is written again.
        write(p, 0, 4, 2, 2).unwrap();
        assert_eq!(command_of(p, NIC) & 7, command::IO | command::MEMORY);
    };
    dies_everywhere(attached, |p| _ = write(p, 0, 4, 2, 2), then);
}

#[test]
fn a_death_while_a_physical_function_is_reset() {
    let then = |p: &mut Passthrough<Fake>, when: &str| {
        for vm in [ONE, TWO] {
            if p.devices.iter().any(|device| device.vm == vm && device.life.state() == State::Attached) {
                assert_eq!(
                    p.devices[0].life.state(),
                    State::Attached,
                    "{when}: or the virtual ones are cut off"
                );
            }
        }
        assert!(insist(p, OWNER, 0).is_ok(), "{when}");
        for vm in [ONE, TWO] {
            if insist(p, vm, 0) == Err(Error::Quarantined) {
                assert_eq!(virtual_tests::command_of(p, vm) & command::BUS_MASTER, 0);
                p.detach(vm, Detach { device: 0 }).unwrap();
            }
            let answer = insist(p, vm, 0).map(drop);
            assert_eq!(answer, Ok(()), "{when}: VM {vm}");
        }
    };
    dies_everywhere(virtual_tests::attached, |p| _ = p.detach(OWNER, Detach { device: 0 }), then);
    // And at each of the steps that it takes, a virtual one waiting for it.
    fn waiting(ticks: usize) -> Passthrough<Fake> {
        let mut p = virtual_tests::attached();
        _ = p.detach(ONE, Detach { device: 0 });
        _ = p.detach(OWNER, Detach { device: 0 });
        assert!(p.devices[1].waits);
        for n in 0..=ticks {
            p.platform.now = p.platform.deadline.unwrap();
            if n < ticks {
                p.tick();
            }
        }
        p
    }
    dies_everywhere(|| waiting(0), |p| p.tick(), then);
    let prepare = || {
        let p = waiting(1);
        assert!(p.devices[1].waits && p.devices[0].resetting.is_some());
        p
    };
    dies_everywhere(prepare, |p| p.tick(), then);
    assert!(!waiting(2).devices[1].waits, "that was the last step");
}

#[test]
fn what_can_not_be_is_not_believed_and_harms_nobody_else() {
    let spoilt: [fn(&mut Fake); 7] = [
        |fake| fake.kept.get_mut(&0).unwrap().truncate(20),
        |fake| fake.kept.get_mut(&0).unwrap()[0] = 4,
        |fake| _ = fake.kept.insert(0, fake.kept[&1].clone()),
        |fake| _ = fake.missing.insert(PORTS),
        |fake| {
            _ = fake
                .missing
                .insert(fake.shown.keys().copied().find(|frame| *frame < 2000 && *frame != PORTS).unwrap())
        },
        |fake| fake.machine.set32(at(NIC), 0, 0x10d3_8086),
        |fake| fake.config.devices[0].bars_first += 1,
    ];
    for (n, spoil) in spoilt.into_iter().enumerate() {
        let mut p = attached();
        let before = held(&p, 0);
        spoil(&mut p.platform);
        let nic = p.devices[0].address;
        let (mut p, recovered) = reborn(p);
        assert_eq!(recovered, Recovered { kept: 1, again: 0, lost: 1 }, "{n}");
        assert_eq!(held(&p, 0), "Some(16) Some(1) 256 0x6 Attached", "{n}: edu");
        assert_eq!(p.platform.config().read16(nic, 4) & 7, 7, "{n}: {before}");
        assert_eq!(p.attach(VM, Attach { device: 0 }), Err(Error::Lost));
        assert_eq!(p.detach(VM, Detach { device: 0 }), Err(Error::Lost));
        assert_eq!(write(&mut p, 0, 4, 2, 0), Err(Error::Lost));
        // What can't be quieted keeps its VM's memory.
        p.vm_ended(VM);
        assert!(p.platform.quieted.is_empty());
        assert!(!p.platform.domains.contains_key(&(VM, 1)), "but edu is taken back");
    }
}

#[test]
fn what_was_never_kept_is_not_missed() {
    let mut p = setup();
    p.platform.kept.remove(&1);
    let (_, recovered) = reborn(p);
    assert_eq!(recovered, Recovered { kept: 1, again: 0, lost: 0 });
}

#[test]
fn the_largest_record_fits() {
    let mut device = attached().devices.remove(0);
    let wide = |part: &mut crate::device::Part| part.frame = u64::MAX;
    while device.parts.push(device.parts[0]).is_ok() {}
    device.parts.iter_mut().for_each(wide);
    while device.ports.push(device.ports[0]).is_ok() {}
    device.owner = core::iter::repeat_n('n', device.owner.capacity()).collect();
    for _ in 0..pci::reserved::MAX_RANGES {
        let range = pci::reserved::Range { first: u64::MAX, last: u64::MAX, ..pci::reserved::MESSAGES };
        device.reserved.add(range);
    }
    let mut bytes = [0; 8192];
    let bytes = postcard::to_slice(&Record { device: &device, busy: true }, &mut bytes).unwrap();
    // Numbers that are longer elsewhere take less than the rest.
    assert!(bytes.len() + 600 < protocol::kept::longest(protocol::kept::PCI_VALUE_BYTES), "{}", bytes.len());
}
