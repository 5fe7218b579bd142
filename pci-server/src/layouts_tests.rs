// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where devices that are sold have their MSI-X tables: what of their BARs a guest reaches, and what is forwarded. Places
//! are as `lspci -vvv` prints them on people's machines.

use pci::testing::Machine;
use pci::topology::Topology;
use pci::{Address, DevFn, Location};
use protocol::pci::{GuestSlot, PciDevice};

use super::*;
use crate::device::PortBars;
use crate::{promise, survey};

/// Index, address and bytes of memory BARs (64 bits where two can have them); entries; table and pending bits.
struct Layout {
    name: &'static str,
    bars: &'static [(u16, u64, u64)],
    entries: u16,
    table: (u8, u32),
    pending: (u8, u32),
}

const LAYOUTS: &[Layout] = &[
    Layout {
        name: "Intel 82599",
        bars: &[(0, 0x9000_0000, 0x8_0000), (4, 0x9010_0000, 0x4000)],
        entries: 64,
        table: (4, 0),
        pending: (4, 0x2000),
    },
    Layout {
        name: "Intel I210",
        bars: &[(0, 0x9000_0000, 0x8_0000), (3, 0x9008_0000, 0x4000)],
        entries: 5,
        table: (3, 0),
        pending: (3, 0x2000),
    },
    Layout {
        name: "Intel X710",
        bars: &[(0, 0x38_0000_0000, 0x80_0000), (3, 0x38_0180_0000, 0x8000)],
        entries: 129,
        table: (3, 0),
        pending: (3, 0x1000),
    },
    Layout {
        name: "Intel X710, virtual function",
        bars: &[(0, 0x38_0200_0000, 0x1_0000), (3, 0x38_0220_0000, 0x4000)],
        entries: 5,
        table: (3, 0),
        pending: (3, 0x2000),
    },
    Layout {
        name: "Mellanox ConnectX-3",
        bars: &[(0, 0x9000_0000, 0x10_0000), (2, 0x38_0000_0000, 0x80_0000)],
        entries: 128,
        table: (0, 0x7_c000),
        pending: (0, 0x7_d000),
    },
    Layout {
        name: "Renesas uPD720201",
        bars: &[(0, 0x9000_0000, 0x2000)],
        entries: 8,
        table: (0, 0x1000),
        pending: (0, 0x1080),
    },
    Layout {
        name: "Realtek RTL8168",
        bars: &[(2, 0x9000_4000, 0x1000), (4, 0x9000_0000, 0x4000)],
        entries: 4,
        table: (4, 0),
        pending: (4, 0x800),
    },
    Layout {
        name: "Samsung NVMe",
        bars: &[(0, 0x9000_0000, 0x4000)],
        entries: 33,
        table: (0, 0x3000),
        pending: (0, 0x2000),
    },
    Layout {
        name: "Sandisk NVMe, pending bits in a BAR smaller than a page",
        bars: &[(0, 0x9000_0000, 0x4000), (4, 0x9000_4000, 0x100)],
        entries: 17,
        table: (0, 0x2000),
        pending: (4, 0),
    },
    Layout {
        name: "LSI SAS2008",
        bars: &[(1, 0x9004_0000, 0x4000), (3, 0x9000_0000, 0x4_0000)],
        entries: 15,
        table: (1, 0x2000),
        pending: (1, 0x3800),
    },
    Layout {
        name: "virtio, modern",
        bars: &[(1, 0x9000_0000, 0x1000), (4, 0x38_0000_0000, 0x4000)],
        entries: 4,
        table: (1, 0),
        pending: (1, 0x800),
    },
    Layout {
        name: "made up: a table over the edge of a page, pending bits behind it, a small BAR within a page",
        bars: &[(0, 0x9000_0000, 0x4000), (2, 0x9000_4340, 0x40)],
        entries: 20,
        table: (0, 0xf38),
        pending: (0, 0x1078),
    },
    Layout {
        name: "made up: a table in a BAR smaller than a page that doesn't begin with one",
        bars: &[(0, 0x9000_0a00, 0x200), (1, 0x9000_1000, 0x1000)],
        entries: 8,
        table: (0, 0x48),
        pending: (0, 0x0),
    },
    Layout {
        name: "made up: the largest table, in the middle of large pages",
        bars: &[(0, 0x38_0000_0000, 0x80_0000)],
        entries: 2048,
        table: (0, 0x1f_f008),
        pending: (0, 0x20_8000),
    },
];

const AT: &str = "01:00.0";

/// The device as pci-server would promise it.
fn device(layout: &Layout) -> Device {
    let machine = Machine::new();
    machine.bridge("00:04.0", 1, 1);
    let at = machine.endpoint(AT, 0x8086, 0x1234);
    for &(index, base, size) in layout.bars {
        let wide = index < 5 && layout.bars.iter().all(|(other, ..)| *other != index + 1);
        machine.bar(at, index, if wide { 4 } else { 0 }, base, size);
    }
    machine.capabilities(at, &[(0x70, 0x11)]);
    machine.set16(at, 0x72, layout.entries - 1);
    machine.set32(at, 0x74, layout.table.1 | u32::from(layout.table.0));
    machine.set32(at, 0x78, layout.pending.1 | u32::from(layout.pending.0));
    let mut topology = Topology::default();
    topology.enumerate(&machine, 0, 0, 255);
    let address: Address = AT.parse().unwrap();
    let function = topology.find(&Location::Address(address)).unwrap();
    let survey = survey::survey(&machine, &topology, function).unwrap();
    let wanted = PciDevice {
        vm: 0,
        index: 0,
        owner: "vm".try_into().unwrap(),
        location: Location::Address(address),
        slot: GuestSlot { bus: 0, devfn: DevFn(8) },
        vectors: None,
        reserved: Default::default(),
        rom: false,
        unsafe_interrupts: false,
        bars_first: 1,
        bars_count: 4096,
        irqs_first: 1,
        irqs_count: 32,
        intx: None,
    };
    let mut device = promise::promise(&machine, &topology, function, &survey, PortBars::new(), &wanted)
        .expect(layout.name);
    for (number, part) in device.parts.iter_mut().enumerate() {
        part.page = 100 * number as u16;
    }
    device
}

/// Whether a guest has the page mapped in which a byte of a BAR lies.
fn is_open(device: &Device, bar: u8, offset: u64) -> bool {
    let holds = |part: &&Part| {
        let end = part.run.offset + (part.run.count << part.run.size_bits);
        part.bar == bar && (part.run.offset..end).contains(&offset)
    };
    device.parts.iter().find(holds).expect("every byte is in a part").run.open
}

#[test]
fn of_real_devices_the_table_is_closed_and_all_else_is_reached() {
    for layout in LAYOUTS {
        let device = device(layout);
        let start = u64::from(layout.table.1);
        let table = start..start + u64::from(layout.entries) * 16;
        for &(index, base, size) in layout.bars {
            let bar = index as u8;
            for offset in (0..size).step_by(8) {
                let in_table = bar == layout.table.0 && table.contains(&offset);
                assert_eq!(device.in_table(bar, offset, 8), in_table, "{}: {bar} {offset:#x}", layout.name);
                let page = offset & !0xfff;
                let beside = bar == layout.table.0 && page < table.end && page + 0x1000 > table.start;
                let open = is_open(&device, bar, offset);
                assert_eq!(open, size >= 0x1000 && !beside, "{}: {bar} {offset:#x}", layout.name);
                let Some((number, place)) = device.forwarded(bar, offset, 8) else {
                    assert!(open, "{}: {bar} {offset:#x} is reached by nobody", layout.name);
                    continue;
                };
                assert!(!open);
                // The page's number counts from the part's first page.
                let first = device.parts.iter().find(|part| part.page == number / 100 * 100).unwrap();
                let from = (base + first.run.offset) & !0xfff;
                assert_eq!(
                    from + u64::from(number % 100) * 0x1000 + u64::from(place),
                    base + offset,
                    "{}: {bar} {offset:#x}",
                    layout.name
                );
            }
        }
    }
}

#[test]
fn accesses_over_the_edges_of_the_table_are_in_it() {
    for layout in LAYOUTS {
        let device = device(layout);
        let (bar, start) = (layout.table.0, u64::from(layout.table.1));
        let end = start + u64::from(layout.entries) * 16;
        for width in [1, 2, 4, 8] {
            assert!(device.in_table(bar, start, width) && device.in_table(bar, end - 1, width));
            assert!(!device.in_table(bar, end, width) && !device.in_table(bar + 1, start, width));
            assert!(start == 0 || device.in_table(bar, start - 1, width) == (width > 1));
        }
    }
}
