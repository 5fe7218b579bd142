// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each rule finds what breaks it.

use super::*;

const MARK: u64 = 1 << 63;
const ECAM: (u64, u64) = (0xb000_0000, 0x1000_0000);
const OWNERS: [(u64, &str); 1] = [(0x100, "one")];

fn cap(part: &str, slot: u64, kind: &str) -> Cap {
    Cap {
        part: part.into(),
        slot,
        kind: kind.into(),
        rights: String::new(),
        address: 0,
        bytes: 0,
        data: 0,
        device: false,
        mapped: None,
        mapped_at: 0,
    }
}

fn frame(part: &str, slot: u64, address: u64, bytes: u64, mapped: Option<(&str, u64)>) -> Cap {
    let mapped = mapped.map(|(space, number)| (space.to_owned(), number));
    Cap { rights: "rw".into(), address, bytes, mapped, ..cap(part, slot, "frame") }
}

/// The same, at the address of a log ring.
fn ring(of: Cap) -> Cap {
    Cap { mapped_at: 0x1020_0000, ..of }
}

/// What each part has at fixed addresses.
fn part(name: &str, number: u64) -> Vec<Cap> {
    let at = |slot, kind| Cap { address: 0x1000 * number + 0x100 * slot, ..cap(name, slot, kind) };
    let space = Some(("vspace".to_owned(), number));
    vec![
        at(1, "thread"),
        at(2, "cnode"),
        Cap { mapped: space, ..at(3, "vspace") },
        Cap { rights: "wa".into(), address: 0x10, data: MARK | number, ..cap(name, 4, "endpoint") },
        Cap { rights: "rw".into(), ..at(7, "notification") },
        Cap { bytes: 0x1000, address: 0x10_0000 * number, ..cap(name, 8, "untyped") },
        at(9, "sched-context"),
    ]
}

/// Two VMs, one with a device. Everybody has a log ring, which console-server has as well.
fn fine() -> Vec<Cap> {
    let mut caps: Vec<Cap> = [PCI, IOMMU, CONSOLE, TIMER, "one", "two"]
        .iter()
        .zip(1..)
        .flat_map(|(name, number)| part(name, number))
        .collect();
    for (name, number) in [("one", 5), ("two", 6)] {
        let nested = Some(("nested".to_owned(), number + 10));
        caps.push(Cap { mapped: nested, ..cap(name, 10, "nested-root") });
        let ram = 0x1000_0000 * number;
        caps.push(frame(name, 20, ram, 0x40_0000, Some(("nested", number + 10))));
        caps.push(frame(name, 22, ram, 0x40_0000, Some(("vspace", number))));
        let console = Cap { rights: "w".into(), data: 1 << number, ..caps[18].clone() };
        caps.push(Cap { part: name.into(), slot: 11, ..console });
    }
    for number in 1..=6 {
        let at = 0x800_0000 + 0x1000 * number;
        caps.push(ring(frame(ROOT, number, at, 0x1000, Some(("vspace", number)))));
        caps.push(frame(ROOT, 0x10 + number, at, 0x1000, Some(("vspace", 3))));
    }
    caps.push(Cap { mapped: Some(("vspace".into(), 9)), ..cap(ROOT, ROOT_VSPACE, "vspace") });
    caps.push(frame(ROOT, 0x20, 0x900_0000, 0x4000, Some(("vspace", 9))));
    // What it holds beside is its children's, or nobody's.
    caps.push(Cap { bytes: 1 << 40, ..cap(ROOT, 0x21, "untyped") });
    let registers = Cap { device: true, ..frame(PCI, 31, 0xfe00_0000, 0x1000, None) };
    caps.push(Cap { part: "one".into(), slot: 0x1_0001, ..registers.clone() });
    caps.push(registers);
    caps.push(Cap { rights: "r".into(), address: 0x20, ..cap(PCI, 5, "endpoint") });
    caps.push(frame(PCI, 30, ECAM.0, ECAM.1, Some(("vspace", 1))));
    caps.push(frame(IOMMU, 0x1_0001, 0x5000_0000, 0x40_0000, Some(("io", 0x100))));
    caps
}

fn judge(change: impl FnOnce(&mut Vec<Cap>)) -> Result<(), String> {
    let mut caps = fine();
    change(&mut caps);
    Authority::of(caps).keeps_to_the_rules(ECAM, &OWNERS)
}

/// The rule that finds it says this.
fn finds(what: &str, change: impl FnOnce(&mut Vec<Cap>)) {
    let found = judge(change).unwrap_err();
    assert!(found.contains(what), "`{what}` is not in `{found}`");
}

#[test]
fn a_system_as_it_should_be() {
    assert_eq!(judge(|_| {}), Ok(()));
    let authority = Authority::of(fine());
    assert_eq!(authority.vmms(), ["one", "two"]);
    assert_eq!(authority.guest_ram("one", 0, u64::MAX), 0x40_0000);
    assert_eq!(authority.guest_ram("one", 0x5000_1000, 0x1000), 0x1000);
}

#[test]
fn memory_of_two_vmms() {
    finds("reach the same memory", |caps| caps.push(frame("two", 40, 0x5000_0000, 0x1000, None)));
    finds("reach the same memory", |caps| {
        caps.push(frame(ROOT, 40, 0x503f_f000, 0x1000, Some(("vspace", 6))))
    });
    finds("reach the same memory", |caps| {
        caps.push(frame(ROOT, 40, 0x503f_f000, 0x1000, Some(("nested", 16))))
    });
    let untyped = Cap { address: 0x5000_0000, bytes: 0x2_0000, ..cap("two", 40, "untyped") };
    finds("reach the same memory", |caps| caps.push(untyped));
}

#[test]
fn ports() {
    let ports = |part, data| Cap { data, ..cap(part, 45, "io-ports") };
    let fine = [ports(PCI, 0xc03f_c000), ports("one", 0xc03f_c000), ports("two", 0xc07f_c040)];
    assert_eq!(judge(|caps| caps.extend(fine.clone())), Ok(()));
    finds("reach the same ports", |caps| caps.extend([ports("one", 0xc03f_c000), ports("two", 0xc027_c020)]));
    for data in [COM1, 0x3f8_03f0, CONFIG_PORTS, 0xcf8_0cf8, 0xffff_0000] {
        finds("none of its business", |caps| caps.push(ports("one", data)));
    }
    finds("none of its business", |caps| caps.push(ports(TIMER, 0xc03f_c000)));
}

#[test]
fn configuration_space() {
    for part in [TIMER, IOMMU, "one"] {
        finds("reaches configuration space", |caps| {
            caps.push(frame(part, 50, ECAM.0 + 0x5000, 0x1000, None))
        });
    }
    for mapped in [None, Some(("vspace", 3))] {
        finds("configuration space", |caps| caps.push(frame(ROOT, 50, ECAM.0, 0x1000, mapped)));
    }
    let ports = Cap { data: 0xcfc_0cfc, ..cap(ROOT, 50, "io-ports") };
    finds("configuration space", |caps| caps.push(ports));
    finds("nobody", |caps| caps.retain(|cap| cap.slot != 30));
}

#[test]
fn memory_of_servers() {
    // Somebody's own copy of a frame of theirs, and a mapping of it in somebody's space.
    for (server, number) in [(PCI, 1), (IOMMU, 2), (CONSOLE, 3), (TIMER, 4)] {
        let what = format!("one reaches memory of {server}");
        finds(&what, |caps| caps.push(frame("one", 40, 0x10_0000 * number, 0x1000, None)));
        finds(&what, |caps| {
            caps.push(frame(ROOT, 40, 0x10_0000 * number, 0x1000, Some(("vspace", 5))));
        });
    }
    finds("timer-server reaches memory of pci-server", |caps| {
        caps.push(frame(TIMER, 40, 0x10_0000, 0x1000, None));
    });
    finds("one reaches memory of root-task", |caps| caps.push(frame("one", 40, 0x900_1000, 0x1000, None)));
    // A ring is its part's and console-server's.
    finds("one reaches memory of timer-server", |caps| {
        caps.push(ring(frame(ROOT, 40, 0x800_4000, 0x1000, Some(("vspace", 5)))));
    });
    // RAM of a VM is reached by no server but iommu-server, for its device.
    for (server, number) in SERVERS.into_iter().zip(1..) {
        let what = format!("two reaches memory of {server}");
        finds(&what, |caps| caps.push(frame(ROOT, 40, 0x6000_0000, 0x1000, Some(("vspace", number)))));
    }
    let lent = frame(IOMMU, 0x1_0002, 0x6000_0000, 0x1000, None);
    assert_eq!(judge(|caps| caps.push(lent)), Ok(()));
}

#[test]
fn domains() {
    let domain = |address, requester| frame(IOMMU, 0x1_0002, address, 0x1000, Some(("io", requester)));
    let of = |caps| Authority::of(caps).domains(&OWNERS).unwrap_err();
    let with = |cap| [fine(), vec![cap]].concat();
    // Untyped memory of each server and VMM, and the root task's stack.
    for (part, at) in
        [(PCI, 0x10_0000), (IOMMU, 0x20_0000), (CONSOLE, 0x30_0000), (TIMER, 0x40_0000), (ROOT, 0x900_0000)]
    {
        assert!(of(with(domain(at, 0x100))).contains(&format!("reaches memory of {part}: ")));
    }
    finds("reaches memory of", |caps| caps.push(domain(0x20_0000, 0x100)));
    for address in [0x50_0000, 0x5040_0000, 0x6000_0000] {
        let what = "device 0x0100 reaches memory that is no RAM of one";
        assert!(of(with(domain(address, 0x100))).contains(what), "{address:#x}");
    }
    finds("that is no RAM of one", |caps| caps.push(domain(0x6000_0000, 0x100)));
    finds("is nobody's", |caps| caps.push(domain(0x5000_0000, 0x108)));
    // All of its memory is another VM's.
    let swapped = Authority::of(fine()).keeps_to_the_rules(ECAM, &[(0x100, "two")]).unwrap_err();
    assert!(swapped.contains("that is no RAM of two"));
    finds("reaches no RAM of one", |caps| caps.retain(|cap| cap.slot != 0x1_0001 || cap.part != IOMMU));
}

#[test]
fn kinds() {
    for kind in ["irq-control", "io-space", "asid-control", "sched-control", "domain", "zombie"] {
        finds("none of its business", |caps| caps.push(cap("one", 70, kind)));
    }
    finds("none of its business", |caps| caps.push(cap(PCI, 70, "io-space")));
    finds("none of its business", |caps| caps.push(cap(CONSOLE, 70, "io-ports")));
    finds("none of its business", |caps| caps.push(frame(CONSOLE, 70, 0, 0, None)));
    let large = Cap { address: 0x7000_0000, bytes: 1 << 20, ..cap("one", 70, "untyped") };
    finds("none of its business", |caps| caps.push(large));
}

#[test]
fn objects_of_others() {
    let others = |slot: usize| Cap { part: "two".into(), slot: 80, ..part("one", 5)[slot].clone() };
    for slot in [0, 1, 2, 6] {
        finds("not its own", |caps| caps.push(others(slot)));
    }
    finds("signals itself", |caps| caps.push(others(4)));
    let waits = Cap { part: TIMER.into(), ..others(4) };
    finds("waits for another's", |caps| caps.push(waits));
    finds("two parts share it", |caps| {
        let thread = caps.iter().find(|cap| cap.part == "one").unwrap().address;
        caps.iter_mut().find(|cap| cap.part == "two").unwrap().address = thread;
    });
}

#[test]
fn endpoints() {
    let endpoint =
        |rights: &str, data| Cap { rights: rights.into(), address: 0x20, data, ..cap("one", 90, "endpoint") };
    for wrong in [endpoint("r", 0), endpoint("rwga", MARK | 5), endpoint("wa", 5), endpoint("wa", MARK | 6)] {
        finds("neither served", |caps| caps.push(wrong));
    }
    assert_eq!(judge(|caps| caps.push(endpoint("wa", MARK | 5))), Ok(()));
}

#[test]
fn objects_are_read() {
    let text = r#"{"look":"caps","part":"web","slot":"0x1a0","count":2,"kind":"frame","rights":"rw",
        "address":"0x4000000","data":"0x0","bytes":2097152,"device":true,"mapped":{"in":"nested","number":5,"at":"0xc0000000"}}"#;
    let object: Value = serde_json::from_str(text).unwrap();
    let mut read = frame("web", 0x1a0, 0x400_0000, 0x40_0000, Some(("nested", 5)));
    (read.device, read.mapped_at) = (true, 0xc000_0000);
    assert_eq!(Cap::read(&object), Some(read));
    assert!(Authority::read(&[Value::Null]).is_err());
}
