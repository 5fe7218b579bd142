// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the objects look like.

use super::*;
use crate::text::FORMATTED;
use pci::life::State;
use pci::{Address, DevFn, Identity, Path};
use protocol::look::device::Owner;
use protocol::pci::GuestSlot;

/// Bytes of a line without what isn't the object's.
const ROOM: usize = FORMATTED - "[console-server] \r\n".len();

fn device(owner: Option<Owner>) -> device::Device {
    let address: Address = "01:00.0".parse().unwrap();
    device::Device {
        address,
        path: "/00:02.0/00.0".parse().unwrap(),
        identity: Identity {
            vendor: 0x1af4,
            device: 0x1041,
            subvendor: 0x1af4,
            subdevice: 0x1100,
            class: 0x2_0000,
            revision: 1,
        },
        resets: Resets { function: true, power: true, ..Resets::default() },
        group: [address].into_iter().collect(),
        grouped: 1,
        owner,
    }
}

#[test]
fn a_function_is_an_object() {
    let free = device(None);
    assert_eq!(
        Device { device: &free, owner: "?" }.to_string(),
        r#"{"look":"devices","path":"/00:02.0/00.0","address":"0000:01:00.0","id":"1af4:1041","subsystem":"1af4:1100","class":"020000","revision":1,"reset":["FLR","PM"],"group":["0000:01:00.0"],"grouped":1,"owner":null}"#
    );
    let slot = GuestSlot { bus: 0, devfn: DevFn(0x40) };
    let state = State::ResetFailed;
    let owner = Owner { vm: 0, index: 0, slot, vectors: 4, state, resetting: false, faults: Some(2) };
    let given = device(Some(owner));
    let line = Device { device: &given, owner: "web" }.to_string();
    let rest = r#","owner":"web","device":0,"slot":"00:08.0","vectors":4,"state":"reset-failed","resetting":false,"faults":2}"#;
    assert!(line.ends_with(rest), "{line}");
    let unknown = device(Some(Owner { faults: None, ..owner }));
    assert!(Device { device: &unknown, owner: "web" }.to_string().ends_with(r#""faults":null}"#));
}

#[test]
fn a_vm_is_an_object() {
    let (state, memory, priority, devices) = (VmState::Ended, 64 << 20, 100, 1);
    let vm = guest::Vm { state, memory, priority, devices, starts: 2, code: Some(7) };
    assert_eq!(
        Vm { name: "web", vm }.to_string(),
        r#"{"look":"vms","vm":"web","state":"ended","memory":67108864,"priority":100,"devices":1,"starts":2,"code":7}"#
    );
}

#[test]
fn exits_are_an_object() {
    let mut exits = guest::Exits { reasons: [1, 2, 3, 4, 5, 6, 7, 8, 9], ..guest::Exits::default() };
    exits.interrupts.extend([(0x40, 3), (0xfe, 1)]);
    assert_eq!(
        Exits { vm: "web", exits: &exits }.to_string(),
        r#"{"look":"exits","vm":"web","exits":{"cpuid":1,"io":2,"npf":3,"hlt":4,"intr-window":5,"msr":6,"msi":7,"signal":8,"other":9},"interrupts":{"0x40":3,"0xfe":1},"dma-faults":0}"#
    );
}

#[test]
fn ranges_are_objects() {
    let range = guest::Range {
        start: 0xc000_0000,
        bytes: 0x1000,
        what: What::Table { device: 1, bar: 4 },
        mapped: false,
    };
    assert_eq!(
        Memory { vm: "web", range: &range }.to_string(),
        r#"{"look":"memory","vm":"web","start":"0xc0000000","bytes":4096,"access":"trapped","what":"msi-x table","device":1,"bar":4}"#
    );
    let ram = guest::Range { start: 0, bytes: 1 << 21, what: What::Ram, mapped: true };
    assert_eq!(
        Memory { vm: "web", range: &ram }.to_string(),
        r#"{"look":"memory","vm":"web","start":"0x0","bytes":2097152,"access":"mapped","what":"ram"}"#
    );
}

#[test]
fn registers_are_an_object() {
    let mut registers = guest::Registers::default();
    (registers.general[4], registers.fields[0]) = (0x10_0000, 0xffff_0000_0000_0000);
    let line = Registers { vm: "web", registers: &registers }.to_string();
    let begin = r#"{"look":"registers","vm":"web","general":{"rax":"0x0","rcx":"0x0","rdx":"0x0","rbx":"0x0","rsp":"0x100000","#;
    assert!(line.starts_with(begin), "{line}");
    assert!(line.contains(r#""r15":"0x0"},"control":{"rip":"0xffff000000000000","rflags":"0x0","#), "{line}");
    assert!(line.ends_with(r#""tsc-offset":"0x0"}}"#), "{line}");
}

#[test]
fn the_longest_fit_a_line() {
    let name = "n".repeat(protocol::start::NAME_BYTES);
    let mut exits = guest::Exits { reasons: [u64::MAX; 9], dma_faults: u64::MAX, ..guest::Exits::default() };
    while exits.interrupts.push((u8::MAX, u32::MAX)).is_ok() {}
    assert!(Exits { vm: &name, exits: &exits }.to_string().len() < ROOM);
    let registers = guest::Registers { general: [u64::MAX; 16], fields: [u64::MAX; 32] };
    assert!(Registers { vm: &name, registers: &registers }.to_string().len() < ROOM);
    let address = Address { segment: u16::MAX, bus: u8::MAX, devfn: DevFn(u8::MAX) };
    let slot = GuestSlot { bus: u8::MAX, devfn: DevFn(u8::MAX) };
    let (vectors, state, faults) = (u16::MAX, State::Quarantined, Some(u32::MAX));
    let mut path = Path::root(address);
    while let Some(longer) = path.behind(address.devfn) {
        path = longer;
    }
    let mut device = device::Device {
        path,
        resets: Resets { function: true, advanced: true, power: true, bus: true },
        grouped: u16::MAX,
        ..device(Some(Owner { vm: u16::MAX, index: u8::MAX, slot, vectors, state, resetting: false, faults }))
    };
    while device.group.push(address).is_ok() {}
    assert!(Device { device: &device, owner: &name }.to_string().len() < ROOM);
}
