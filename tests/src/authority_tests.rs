// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each rule finds what breaks it.

use super::*;

const MARK: u64 = 1 << 63;
const ECAM: (u64, u64) = (0xb000_0000, 0x1000_0000);

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
    }
}

fn frame(part: &str, slot: u64, address: u64, bytes: u64, mapped: Option<(&str, u64)>) -> Cap {
    let mapped = mapped.map(|(space, number)| (space.to_owned(), number));
    Cap { rights: "rw".into(), address, bytes, mapped, ..cap(part, slot, "frame") }
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

/// Two VMs, one with a device.
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
        // Its ring.
        caps.push(frame(ROOT, number, 0x800_0000 + 0x1000 * number, 0x1000, Some(("vspace", number))));
    }
    caps.push(Cap { rights: "r".into(), address: 0x20, ..cap(PCI, 5, "endpoint") });
    caps.push(frame(PCI, 30, ECAM.0, ECAM.1, Some(("vspace", 1))));
    caps.push(frame(IOMMU, 0x1_0001, 0x5000_0000, 0x40_0000, Some(("io", 0x100))));
    caps
}

fn judge(change: impl FnOnce(&mut Vec<Cap>)) -> Result<(), String> {
    let mut caps = fine();
    change(&mut caps);
    Authority::of(caps).keeps_to_the_rules(ECAM)
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
    for data in [COM1, 0x3f8_03f0, 0xcff_0cf8, 0xcf8_0cf8, 0xffff_0000] {
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
    finds("nobody", |caps| caps.retain(|cap| cap.slot != 30));
}

#[test]
fn domains() {
    finds("reaches memory of pci-server", |caps| {
        caps.push(frame(ROOT, 60, 0x5000_0000, 0x1000, Some(("vspace", 1))));
    });
    finds("reaches memory of iommu-server", |caps| {
        caps.push(frame(IOMMU, 0x1_0002, 0x20_0000, 0x1000, Some(("io", 0x100))));
    });
    finds("that is RAM of []", |caps| {
        caps.push(frame(IOMMU, 0x1_0002, 0x5040_0000, 0x1000, Some(("io", 0x100))));
    });
    finds("of two VMs", |caps| caps.push(frame(IOMMU, 0x1_0002, 0x6000_0000, 0x1000, Some(("io", 0x100)))));
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
        "address":"0x4000000","data":"0x0","bytes":2097152,"device":true,"mapped":{"in":"nested","number":5,"at":"0x0"}}"#;
    let object: Value = serde_json::from_str(text).unwrap();
    let mut read = frame("web", 0x1a0, 0x400_0000, 0x40_0000, Some(("nested", 5)));
    read.device = true;
    assert_eq!(Cap::read(&object), Some(read));
    assert!(Authority::read(&[Value::Null]).is_err());
}
