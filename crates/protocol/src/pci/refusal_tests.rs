// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every refusal, as it is read.

use std::string::{String, ToString};

use pci::reserved::{Kind, Range};

use super::super::{GuestSlot, Reserved};
use super::*;
use crate::iommu;
use crate::supervisor::REASON_BYTES;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// The next refusal, until all have come: who adds one has to say here where it comes.
fn after(refusal: &Refusal) -> Option<Refusal> {
    use Refusal::*;
    const MEMORY: (u64, u64) = (0x7000_0000, 0x7000_ffff);
    let range = Range { first: 0xfee0_0000, last: 0xfeef_ffff, kind: Kind::Firmware };
    Some(match refusal {
        NoIommu => NoInterruptRemapping,
        NoInterruptRemapping => NotCovered,
        NotCovered => BarUnassigned { bar: 5, size: 0x4000 },
        BarUnassigned { .. } => BarUnreachable { bar: pci::bar::ROM, base: 0xe_0000_0000 },
        BarUnreachable { .. } => BarShared { bar: 4, other: address("00:07.0"), other_bar: 1 },
        BarShared { .. } => NoRom,
        NoRom => NotMatched(Identity {
            vendor: 0x8086,
            device: 0x2922,
            subvendor: 0x1af4,
            subdevice: 0x1100,
            class: 0x01_0601,
            revision: 2,
        }),
        NotMatched(_) => NotReserved,
        NotReserved => PathAbsent(1),
        PathAbsent(_) => NoSuchDevice,
        NoSuchDevice => Bridge,
        Bridge => Taken(2),
        Taken(_) => SharedRequester(address("00:1e.0")),
        SharedRequester(_) => SharedGroup { vm: 2, member: address("02:01.0"), opening: None },
        SharedGroup { member, opening: None, .. } => {
            SharedGroup { vm: 3, member: *member, opening: Some(address("00:1e.0")) }
        }
        SharedGroup { opening: Some(_), .. } => ReservedMemory(MEMORY.0, MEMORY.1),
        ReservedMemory(..) => NotMapped(MEMORY.0, MEMORY.1, super::NotMapped::Unaligned),
        NotMapped(base, limit, why) => match after_not_mapped(why) {
            Some(why) => NotMapped(*base, *limit, why),
            None => RamConflict(range, 0xff00_0000),
        },
        RamConflict(..) => RegionsUnknown,
        RegionsUnknown => BadCapabilities(0x44, 0x123),
        BadCapabilities(..) => NoRoom,
        NoRoom => TooManyDevices,
        TooManyDevices => Virtual(Problem::NoCapability),
        Virtual(problem) => match after_problem(problem) {
            Some(problem) => Virtual(problem),
            None => NoPin,
        },
        NoPin => LineUnknown,
        LineUnknown => LineShared(address("00:1f.2")),
        LineShared(_) => Line(Error::Iommu(iommu::Error::NoLine)),
        Line(_) => return None,
    })
}

fn after_not_mapped(why: &NotMapped) -> Option<NotMapped> {
    use NotMapped::*;
    Some(match why {
        Unaligned => Ram,
        Ram => NotReserved,
        NotReserved => Registers,
        Registers => Overlaps,
        Overlaps => TooLarge,
        TooLarge => TooMany,
        TooMany => Taken,
        Taken => NotByPath,
        NotByPath => Shared(2),
        Shared(_) => return None,
    })
}

fn after_problem(problem: &Problem) -> Option<Problem> {
    use Problem::*;
    Some(match problem {
        NoCapability => TooMany { wanted: 5, total: 4 },
        TooMany { .. } => Dependent,
        Dependent => PageSize,
        PageSize => Routing { first: 0x80, stride: 2 },
        Routing { .. } => BadBar(3),
        BadBar(_) => NoRoom(0),
        NoRoom(_) => ResetFailed,
        ResetFailed => Absent(7),
        Absent(_) => Full,
        Full => return None,
    })
}

#[test]
fn every_refusal_shows_the_evidence_and_what_would_help() {
    let device = PciDevice {
        vm: 2,
        index: 0,
        owner: "web".try_into().unwrap(),
        location: "/00:04.0".parse().unwrap(),
        slot: GuestSlot { bus: 0, devfn: pci::DevFn(8) },
        vectors: None,
        reserved: Reserved::default(),
        rom: false,
        unsafe_interrupts: false,
        bars_first: 0,
        bars_count: 4,
        irqs_first: 0,
        irqs_count: 4,
        intx: None,
    };
    let devices = [device];
    let mut refusal = Some(Refusal::NoIommu);
    let mut found = String::new();
    while let Some(this) = refusal {
        let text = Told { refusal: this, devices: &devices }.to_string();
        assert_eq!(text.replace("vm web", "VM 2"), this.to_string());
        // The longest path that there is.
        let whole = std::format!("device /ffff:ff:1f.7{}: {text}", "/1f.7".repeat(7));
        assert!(whole.len() <= REASON_BYTES, "{} bytes: {whole}", whole.len());
        found += &(text + "\n");
        refusal = after(&this);
    }
    let expected = include_str!("refusals.txt").lines().filter(|line| !line.starts_with('#'));
    let expected: String = expected.flat_map(|line| [line, "\n"]).collect();
    assert_eq!(found, expected);
}
