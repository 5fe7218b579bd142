// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deaths at every call to the kernel, and states that can't be.

use super::*;
use crate::domains::tests::{Fake, NIC, attach, domains, lines};
use protocol::iommu::{Detach, Line, Vectors};
use std::panic::{AssertUnwindSafe, catch_unwind};

const OTHER: RequesterId = RequesterId(0x200);

/// What the kernel has of the devices: slots, context entries, remapping entries, pins.
fn held(kernel: &Fake) -> String {
    format!("{:?} {:?} {:?} {:?}", kernel.slots, kernel.context, kernel.entries, kernel.pins)
}

/// The server after its death: the same kernel, and only what was kept.
fn reborn(kernel: Fake, kept: Option<State>) -> (Domains<Fake>, Recovered) {
    reborn_as(domains(256), kernel, kept)
}

/// The same, where the start page says what it says to `next`.
fn reborn_as(mut next: Domains<Fake>, kernel: Fake, kept: Option<State>) -> (Domains<Fake>, Recovered) {
    next.kernel = kernel;
    next.kernel.die_at = None;
    let recovered = next.recover(kept);
    (next, recovered)
}

/// Through encoding, as in the pages.
fn through_bytes(state: &State) -> State {
    let mut bytes = [0; protocol::kept::longest(protocol::kept::IOMMU_BYTES)];
    let bytes = postcard::to_slice(state, &mut bytes).unwrap();
    postcard::from_bytes(bytes).unwrap()
}

fn busy_machine() -> Domains<Fake> {
    let mut d = domains(256);
    d.attach(attach(0, 0, NIC)).unwrap();
    d.grant(Vectors { vm: 0, device: 0, count: 3 }).unwrap();
    d.attach(attach(1, 0, OTHER)).unwrap();
    d.grant(Vectors { vm: 1, device: 0, count: 8 }).unwrap();
    d
}

#[test]
fn a_death_at_rest_changes_nothing() {
    let d = busy_machine();
    let (state, before, census) = (through_bytes(&d.state(None)), held(&d.kernel), d.census());
    let (mut d, recovered) = reborn(d.kernel, Some(state));
    assert_eq!(recovered, Recovered { kept: 2, cut: 0 });
    assert_eq!((held(&d.kernel), d.census()), (before, census));
    // And all of it can be taken back, and given anew.
    d.detach(Detach { vm: 0, device: 0 }).unwrap();
    d.detach(Detach { vm: 1, device: 0 }).unwrap();
    assert!(d.kernel.slots.is_empty() && d.kernel.context.is_empty() && d.kernel.entries.is_empty());
    assert_eq!(d.census(), domains(256).census());
    d.attach(attach(0, 0, OTHER)).unwrap();
    d.grant(Vectors { vm: 0, device: 0, count: 8 }).unwrap();
}

/// Dies before each call to the kernel that `change` makes to device (0, 0); the other device never notices.
fn dies_everywhere(prepare: fn(&mut Domains<Fake>), change: fn(&mut Domains<Fake>)) {
    for call in 1.. {
        let mut d = busy_machine();
        prepare(&mut d);
        let kept = through_bytes(&d.state(Some((0, 0))));
        d.kernel.die_at = Some(d.kernel.calls + call);
        if catch_unwind(AssertUnwindSafe(|| change(&mut d))).is_ok() {
            assert!(call > 1, "it makes no call");
            return;
        }
        let (mut d, recovered) = reborn(d.kernel, Some(kept));
        assert_eq!((recovered.cut, recovered.kept), (1, 1), "call {call}");
        assert!(d.is_cut(0, 0) && !d.is_cut(1, 0));
        // Nothing of it is left, all of the other.
        assert_eq!(d.kernel.context.keys().copied().collect::<std::vec::Vec<_>>(), [OTHER.0], "call {call}");
        assert_eq!(d.kernel.entries.len(), 8, "call {call}");
        assert_eq!(d.kernel.slots.len(), 1 + 2 * 8, "call {call}: {:?}", d.kernel.slots);
        assert_eq!(d.census().0, 1);
        // It can be had again.
        d.detach(Detach { vm: 0, device: 0 }).unwrap();
        d.attach(attach(0, 0, NIC)).unwrap();
        assert!(!d.is_cut(0, 0));
        d.grant(Vectors { vm: 0, device: 0, count: 3 }).unwrap();
        assert_eq!(d.census(), busy_machine().census());
    }
}

fn detach(d: &mut Domains<Fake>) {
    let _ = d.detach(Detach { vm: 0, device: 0 });
}

#[test]
fn a_death_while_detaching_leaves_nothing_behind() {
    dies_everywhere(|_| (), detach);
}

#[test]
fn a_death_while_attaching_leaves_nothing_behind() {
    dies_everywhere(detach, |d| _ = d.attach(attach(0, 0, NIC)));
}

#[test]
fn a_death_while_granting_leaves_nothing_behind() {
    let prepare = |d: &mut Domains<Fake>| {
        detach(d);
        d.attach(attach(0, 0, NIC)).unwrap();
    };
    dies_everywhere(prepare, |d| _ = d.grant(Vectors { vm: 0, device: 0, count: 3 }));
}

/// Two devices with lines of their own, of which the second has its.
fn with_lines() -> Domains<Fake> {
    let mut d = lines(&[20, 21]);
    d.attach(attach(0, 0, NIC)).unwrap();
    d.attach(attach(1, 0, OTHER)).unwrap();
    d.grant_line(Line { vm: 1, device: 0 }).unwrap();
    d
}

#[test]
fn lines_are_found_again() {
    let d = with_lines();
    let (state, before) = (through_bytes(&d.state(None)), held(&d.kernel));
    let (mut d, recovered) = reborn_as(lines(&[20, 21]), d.kernel, Some(state));
    assert_eq!((recovered, held(&d.kernel)), (Recovered { kept: 2, cut: 0 }, before));
    // Its number is nobody else's, and it can be given back.
    d.grant_line(Line { vm: 0, device: 0 }).unwrap();
    for vm in [0, 1] {
        d.detach(Detach { vm, device: 0 }).unwrap();
    }
    assert!(d.kernel.slots.is_empty() && d.kernel.pins.is_empty());
}

#[test]
fn a_death_while_granting_a_line_leaves_nothing_behind() {
    for call in 1.. {
        let mut d = with_lines();
        let kept = through_bytes(&d.state(Some((0, 0))));
        d.kernel.die_at = Some(d.kernel.calls + call);
        if catch_unwind(AssertUnwindSafe(|| d.grant_line(Line { vm: 0, device: 0 }))).is_ok() {
            assert!(call > 2, "it makes no call");
            return;
        }
        let (mut d, recovered) = reborn_as(lines(&[20, 21]), d.kernel, Some(kept));
        assert_eq!(recovered, Recovered { kept: 1, cut: 1 }, "call {call}");
        assert_eq!(
            d.kernel.pins.values().map(|pin| pin.0).collect::<std::vec::Vec<_>>(),
            [21],
            "call {call}"
        );
        d.attach(attach(0, 0, NIC)).unwrap();
        d.grant_line(Line { vm: 0, device: 0 }).unwrap();
    }
}

#[test]
fn a_line_that_can_not_be_is_not_believed() {
    let spoilt: [fn(&mut State); 4] = [
        |s| s.devices[1].line = Some(5),
        |s| s.devices[0].line = s.devices[1].line,
        |s| s.devices[1].attached = None,
        |s| s.devices[1].lines = Some(Lines { count: 1, handle: 0, vector: FIRST_VECTOR.into() }),
    ];
    for (n, spoil) in spoilt.into_iter().enumerate() {
        let d = with_lines();
        let mut state = d.state(None);
        spoil(&mut state);
        let (d, recovered) = reborn_as(lines(&[20, 21]), d.kernel, Some(state));
        assert_eq!(recovered, Recovered { kept: 0, cut: 2 }, "{n}");
        assert!(d.kernel.slots.is_empty() && d.kernel.pins.is_empty(), "{n}");
    }
    // Nor is one of a device that has none.
    let d = with_lines();
    let state = d.state(None);
    let (_, recovered) = reborn_as(lines(&[20, 255]), d.kernel, Some(state));
    assert_eq!(recovered, Recovered { kept: 0, cut: 2 });
}

#[test]
fn a_death_while_cutting_off_cuts_off() {
    dies_everywhere(|_| (), |d| _ = d.quarantine(NIC));
}

#[test]
fn without_a_state_everything_is_cut_off() {
    let (d, recovered) = reborn(busy_machine().kernel, None);
    assert_eq!(recovered, Recovered { kept: 0, cut: 3 });
    assert!(d.kernel.slots.is_empty() && d.kernel.context.is_empty() && d.kernel.entries.is_empty());
    assert_eq!(d.census(), domains(256).census());
    assert!(d.is_cut(0, 0) && d.is_cut(1, 0));
}

#[test]
fn a_state_that_can_not_be_is_not_believed() {
    let spoilt: [fn(&mut State); 12] = [
        |s| _ = s.devices.pop(),
        |s| s.devices.swap(0, 1),
        |s| s.busy = Some((9, 9)),
        |s| s.devices[0].device = 1,
        |s| s.devices[0].tables_used = 5,
        |s| s.devices[0].last = None,
        |s| s.devices[2].attached = s.devices[0].attached,
        |s| s.devices[0].attached = None,
        |s| s.devices[0].lines.as_mut().unwrap().count = 9,
        |s| s.devices[0].lines.as_mut().unwrap().count = 0,
        |s| s.devices[0].lines.as_mut().unwrap().handle = 255,
        |s| s.devices[0].lines = s.devices[2].lines,
    ];
    for (n, spoil) in spoilt.into_iter().enumerate() {
        let d = busy_machine();
        let mut state = d.state(None);
        spoil(&mut state);
        let (d, recovered) = reborn(d.kernel, Some(state));
        assert_eq!(recovered, Recovered { kept: 0, cut: 3 }, "{n}");
        assert!(d.kernel.slots.is_empty(), "{n}");
    }
}

#[test]
fn the_largest_state_fits() {
    let record = Record {
        vm: u16::MAX,
        device: u8::MAX,
        attached: Some(RequesterId(u16::MAX)),
        last: Some(RequesterId(u16::MAX)),
        tables_used: u16::MAX,
        frames_used: true,
        lines: Some(Lines { count: u16::MAX, handle: u16::MAX, vector: u16::MAX }),
        line: Some(u16::MAX),
        cut: true,
    };
    let devices = std::iter::repeat_n(record, MAX_DEVICES).collect();
    let state = State { devices, busy: Some((u16::MAX, u8::MAX)) };
    assert_eq!(through_bytes(&state), state);
}
