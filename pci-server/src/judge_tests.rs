// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each refusal, and the one device that nothing speaks against.

use pci::reserved::MESSAGES;
use pci::testing;
use protocol::pci::{GuestSlot, PciDevice, Reserved, ReservedRegion, Told};

use super::*;
use crate::survey;

const FULL: Coverage = Coverage { dma_remapping: true, interrupt_remapping: true, covered: true };

/// A NIC behind a root port, another function of the same kind without a BAR's place, two behind a PCI bridge.
fn machine() -> testing::Machine {
    let machine = testing::Machine::new();
    machine.endpoint("00:00.0", 0x8086, 0x29c0);
    machine.set32("00:00.0".parse().unwrap(), 8, 0x0600_0000);
    let port = machine.bridge("00:04.0", 1, 1);
    machine.capabilities(port, &[(0x40, 0x10)]);
    machine.set16(port, 0x42, 0x42);
    let nic = machine.endpoint("01:00.0", 0x1af4, 0x1041);
    machine.bar(nic, 4, 0xc, 0xfe00_0000, 0x4000);
    let other = machine.endpoint("00:05.0", 0x1af4, 0x1041);
    machine.bar(other, 0, 0, 0, 0x1000);
    let far = machine.endpoint("00:06.0", 0x1af4, 0x1041);
    machine.bar(far, 2, 0, 0xe000_0000, 0x1000);
    let twin = machine.endpoint("00:07.0", 0x1af4, 0x1041);
    machine.bar(twin, 1, 0, 0xfe00_2000, 0x1000);
    machine.bridge("00:1e.0", 2, 2);
    machine.endpoint("02:00.0", 0x1af4, 0x1041);
    machine.endpoint("02:01.0", 0x1af4, 0x1041);
    machine.endpoint("00:08.0", 0x10ec, 0x8139);
    let nonsense = machine.endpoint("00:09.0", 0x1af4, 0x1041);
    machine.capabilities(nonsense, &[(0x40, 0x11)]);
    machine
}

/// What VM 1 wants.
fn wanted(place: &str) -> PciDevice {
    PciDevice {
        vm: 1,
        index: 0,
        owner: "web".try_into().unwrap(),
        location: place.parse().unwrap(),
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
    }
}

struct Case {
    space: testing::Machine,
    topology: Topology,
    config: PciConfig,
    /// What is said of the device that is judged.
    reserved: Reserved,
    rom: bool,
}

impl Case {
    fn new(space: testing::Machine, reserve: &[&str]) -> Self {
        let mut topology = Topology::default();
        topology.enumerate(&space, 0, 0, 255);
        topology.harden(&space);
        let mut config = PciConfig::default();
        config.matches.push("1af4:1041".parse().unwrap()).unwrap();
        for place in reserve {
            config.reserve.push(place.parse().unwrap()).unwrap();
        }
        Self { space, topology, config, reserved: Reserved::default(), rom: false }
    }

    fn judge(&self, place: &str, coverage: Coverage, unsafe_interrupts: bool) -> Result<(), Refusal> {
        let windows = [Window::new(0xfe00_0000, 24).unwrap()];
        let claims = Claims::read(&self.space, &self.topology, |_| self.rom);
        let Self { topology, config, .. } = self;
        let machine = Machine { topology, claims: &claims, config, windows: &windows };
        let wanted = PciDevice { unsafe_interrupts, reserved: self.reserved, rom: self.rom, ..wanted(place) };
        let function = machine.find(&wanted.location)?;
        let survey = machine.survey(&self.space, function, &wanted)?;
        machine.judge(function, &survey, coverage, unsafe_interrupts)?;
        machine.judge_regions(function, Some(&wanted))?;
        Machine::judge_ram(&machine.reserved(function, &wanted), self.reserved.ram)
    }
}

fn shared(bar: u8, other: &str, other_bar: u8) -> Refusal {
    Refusal::BarShared { bar, other: other.parse().unwrap(), other_bar }
}

#[test]
fn each_refusal_has_its_reason() {
    let everything =
        ["/00:04.0/00.0", "/00:05.0", "/00:06.0", "/00:08.0", "/00:1e.0/00.0", "/00:09.0", "/00:00.0"];
    let case = Case::new(machine(), &everything);
    for (place, refusal) in [
        ("/00:04.0/01.0", Refusal::NoSuchDevice),
        ("07:00.0", Refusal::NoSuchDevice),
        ("/00:0a.0", Refusal::NoSuchDevice),
        ("/00:0a.0/00.0", Refusal::PathAbsent(0)),
        ("/00:04.0/03.0/00.0", Refusal::PathAbsent(1)),
        ("/00:04.0", Refusal::Bridge),
        ("/00:00.0", Refusal::Bridge),
        (
            "/00:08.0",
            Refusal::NotMatched(pci::Identity { vendor: 0x10ec, device: 0x8139, ..Default::default() }),
        ),
        ("/00:07.0", Refusal::NotReserved),
        ("/00:05.0", Refusal::BarUnassigned { bar: 0, size: 0x1000 }),
        ("/00:06.0", Refusal::BarUnreachable { bar: 2, base: 0xe000_0000 }),
        ("/00:04.0/00.0", shared(4, "00:07.0", 1)),
        ("/00:1e.0/00.0", Refusal::SharedRequester("00:1e.0".parse().unwrap())),
        ("/00:09.0", Refusal::BadCapabilities(0x44, 0)),
    ] {
        assert_eq!(case.judge(place, FULL, false), Err(refusal), "{place}");
    }
}

/// Registers that a device claims at places that aren't its own.
#[test]
fn bars_that_lie_are_refused() {
    let case = |change: &dyn Fn(&testing::Machine, pci::Address)| {
        let space = machine();
        space.remove("00:07.0".parse().unwrap());
        change(&space, "01:00.0".parse().unwrap());
        Case::new(space, &["01:00.0"]).judge("/00:04.0/00.0", FULL, false)
    };
    let unreachable = Err(Refusal::BarUnreachable { bar: 4, base: 0xfe00_0000 });
    let window = |memory, prefetchable| {
        case(&|space, _| {
            space.set32("00:04.0".parse().unwrap(), 0x20, memory);
            space.set32("00:04.0".parse().unwrap(), 0x24, prefetchable);
        })
    };
    assert_eq!(window(0xfe00_fe00, 0x0000_fff0), Ok(()));
    assert_eq!(window(0x0000_fff0, 0xfe00_fe00), Ok(()));
    assert_eq!(window(0xfe10_fe10, 0x0000_fff0), unreachable, "what answers there isn't behind this bridge");
    assert_eq!(window(0x0000_fff0, 0x0000_fff0), unreachable);
    assert_eq!(case(&|space, nic| space.bar(nic, 0, 0, 0xfe00_2000, 0x1000)), Err(shared(0, "01:00.0", 4)));
    assert_eq!(case(&|space, nic| space.bar(nic, 0, 0, 0xfe00_0000, 0x1000)), Err(shared(0, "01:00.0", 4)));
    assert_eq!(case(&|space, nic| space.bar(nic, 0, 0, 0xfe00_4000, 0x1000)), Ok(()));
}

/// One that is asked for is judged as BARs are; others answer nowhere, and are in nobody's way.
#[test]
fn an_expansion_rom_is_judged_as_a_bar() {
    let judge = |bar: &dyn Fn(&testing::Machine), rom| {
        let space = machine();
        space.remove("00:07.0".parse().unwrap());
        bar(&space);
        let mut case = Case::new(space, &["01:00.0"]);
        case.rom = rom;
        case.judge("/00:04.0/00.0", FULL, false)
    };
    let rom = |base: u32, mask: u32| {
        move |space: &testing::Machine| {
            let nic = "01:00.0".parse().unwrap();
            space.set32(nic, 0x30, base);
            space.writable32(nic, 0x30, mask | 1);
        }
    };
    let none = |_: &testing::Machine| {};
    assert_eq!(judge(&none, false), Ok(()));
    assert_eq!(judge(&none, true), Err(Refusal::NoRom));
    assert_eq!(judge(&rom(0xfe01_0000, 0xffff_0000), true), Ok(()));
    for (base, refusal) in [
        (0, Refusal::BarUnassigned { bar: 6, size: 0x1_0000 }),
        (0xf000_0000, Refusal::BarUnreachable { bar: 6, base: 0xf000_0000 }),
        (0xfe00_0000, shared(4, "01:00.0", 6)),
    ] {
        let rom = rom(base, 0xffff_0000);
        assert_eq!(judge(&rom, true), Err(refusal), "{base:#x}");
        assert_eq!(judge(&rom, false), Ok(()), "{base:#x}");
    }
    // Another's ROM.
    let two = |space: &testing::Machine| {
        rom(0xfe01_0000, 0xffff_0000)(space);
        let other = "00:08.0".parse().unwrap();
        space.set32(other, 0x30, 0xfe01_f801);
        space.writable32(other, 0x30, 0xffff_f801);
    };
    assert_eq!(judge(&two, true), Err(shared(6, "00:08.0", 6)));
    assert_eq!(judge(&two, false), Ok(()));
}

#[test]
fn what_firmware_left_on_is_turned_off() {
    let space = machine();
    let (nic, port) = ("01:00.0".parse().unwrap(), "00:04.0".parse().unwrap());
    space.set16(nic, 4, 7);
    space.set16(port, 4, 7);
    space.set32(nic, 0x30, 0xfe01_0001);
    space.writable32(nic, 0x30, 0xffff_0001);
    let mut topology = Topology::default();
    topology.enumerate(&space, 0, 0, 255);
    let mut found = std::vec::Vec::new();
    survey::quiet_all(&space, &topology, |address| found.push(address));
    let read = |at, offset| pci::ConfigSpace::read16(&space, at, offset);
    assert_eq!(found, [nic]);
    assert_eq!((read(nic, 4), read(nic, 0x30)), (0x403, 0), "memory and ports go on answering");
    assert_eq!(read(port, 4), 0x407, "others are behind it");
}

#[test]
fn frames_have_an_end() {
    let case = Case::new(machine(), &[]);
    let function = case.topology.find(&"01:00.0".parse().unwrap()).unwrap();
    let survey = survey::survey(&case.space, &case.topology, function).unwrap();
    let promise = |bars_count| {
        let wanted = PciDevice { bars_count, ..wanted("01:00.0") };
        let ports = Default::default();
        crate::promise::promise(&case.space, &case.topology, function, &survey, ports, &wanted).map(drop)
    };
    assert_eq!((promise(4), promise(3)), (Ok(()), Err(Refusal::NoRoom)));
}

/// Nothing is given away on a machine of which not everything is known.
#[test]
fn a_machine_too_large_to_keep_in_view() {
    let space = machine();
    space.remove("00:07.0".parse().unwrap());
    for bus in 3..16 {
        space.bridge(&format!("00:{:02x}.0", bus + 8), bus, bus);
        for device in 0..32 {
            let function = space.endpoint(&format!("{bus:02x}:{device:02x}.0"), 0x10ec, 0x8139);
            space.set16(function, 4, 6);
        }
    }
    let case = Case::new(space, &["01:00.0"]);
    assert!(case.topology.dropped > 0);
    let far: pci::Address = "0f:1f.0".parse().unwrap();
    assert!(case.topology.functions().iter().all(|function| function.address != far));
    assert_eq!(pci::ConfigSpace::read16(&case.space, far, 4), 2, "its bus mastering is off nevertheless");
    assert_eq!(case.judge("/00:04.0/00.0", FULL, false), Err(Refusal::TooManyDevices));
}

#[test]
fn the_iommu_has_its_say() {
    let space = machine();
    space.remove("00:07.0".parse().unwrap());
    let case = Case::new(space, &["01:00.0"]);
    let nic = |coverage, unsafe_interrupts| case.judge("/00:04.0/00.0", coverage, unsafe_interrupts);
    assert_eq!(nic(FULL, false), Ok(()));
    assert_eq!(nic(Coverage { dma_remapping: false, ..FULL }, true), Err(Refusal::NoIommu));
    assert_eq!(nic(Coverage { covered: false, ..FULL }, true), Err(Refusal::NotCovered));
    let forgeable = Coverage { interrupt_remapping: false, ..FULL };
    assert_eq!(nic(forgeable, false), Err(Refusal::NoInterruptRemapping));
    assert_eq!(nic(forgeable, true), Ok(()));
}

#[test]
fn neighbours() {
    let case = Case::new(machine(), &[]);
    let Case { topology, config, .. } = &case;
    let machine = Machine { topology, claims: &Claims::default(), config, windows: &[] };
    let place = |text: &str| topology.find(&text.parse().unwrap()).unwrap();
    let (a, b, far) = (place("02:00.0"), place("02:01.0"), place("00:08.0"));
    let judge = |index, given: &[(u16, u16)]| machine.judge_neighbours(index, 1, given.iter().copied());
    assert_eq!(judge(a, &[(far, 2)]), Ok(()));
    assert_eq!(judge(a, &[(a, 1)]), Err(Refusal::Taken(1)));
    let member = "02:01.0".parse().unwrap();
    let opening = Some("00:1e.0".parse().unwrap());
    let refusal = Refusal::SharedGroup { vm: 2, member, opening };
    assert_eq!(judge(a, &[(b, 2)]), Err(refusal));
    assert_eq!(
        refusal.to_string(),
        "its isolation group holds 0000:02:01.0 of VM 2, since 0000:00:1e.0 has no access control (ACS). Give both to \
         one VM, or use ports that have it"
    );
    let other = PciDevice { vm: 2, ..wanted("02:01.0") };
    assert_eq!(
        Told { refusal, devices: &[wanted("02:00.0"), other] }.to_string(),
        refusal.to_string().replace("VM 2", "vm web"),
        "the log names it"
    );
    assert_eq!(judge(a, &[(b, 1)]), Ok(()), "a VM may have the whole group");
}

/// A guest finds functions beside function 0 only if that says so.
#[test]
fn devices_in_one_slot_are_functions() {
    let device = |vm, index, slot| {
        let slot = GuestSlot { bus: 0, devfn: pci::DevFn(slot) };
        PciDevice { vm, index, slot, ..wanted("00:05.0") }
    };
    let mut config = PciConfig::default();
    for device in [device(1, 0, 0x40), device(1, 1, 0x41), device(1, 2, 0x48), device(2, 1, 0x49)] {
        config.devices.push(device).unwrap();
    }
    let company: Vec<bool> =
        config.devices.iter().map(|device| crate::promise::has_company(&config, device)).collect();
    assert_eq!(company, [true, true, false, false]);
}

#[test]
fn rows_say_everything() {
    let space = machine();
    let nic = "01:00.0".parse().unwrap();
    space.set32(nic, 8, 0x0200_0000);
    space.capabilities(nic, &[(0x98, 0x11), (0x40, 0x10)]);
    space.set16(nic, 0x9a, 3);
    space.set32(nic, 0x9c, 4);
    space.set32(nic, 0xa0, 0x804);
    space.set32(nic, 0x44, 1 << 28);
    let case = Case::new(space, &[]);
    let row = |place: &str, owner| {
        let index = case.topology.find(&place.parse().unwrap()).unwrap();
        let survey = survey::survey(&case.space, &case.topology, index).unwrap();
        let (topology, function) = (&case.topology, case.topology.get(index).unwrap());
        crate::table::Row { topology, index, function, survey: &survey, owner }.to_string()
    };
    use crate::table::Owner;
    assert_eq!(
        row("01:00.0", Owner::Vm("web")),
        "0000:01:00.0 /00:04.0/00.0 1af4:1041 class 020000, BAR 4 mem64 prefetchable 16 KiB at 0xfe000000, \
         MSI-X 4, reset FLR+bus, grouped with 0000:00:04.0: vm web"
    );
    assert_eq!(
        row("02:00.0", Owner::Nobody),
        "0000:02:00.0 /00:1e.0/00.0 1af4:1041 class 000000, no reset, grouped with 0000:00:1e.0 0000:02:01.0, bus reset takes \
         along 0000:02:01.0: free"
    );
    assert_eq!(
        row(
            "00:05.0",
            Owner::Refused(Told { refusal: Refusal::BarUnassigned { bar: 0, size: 0x1000 }, devices: &[] })
        ),
        "0000:00:05.0 /00:05.0 1af4:1041 class 000000, BAR 0 mem32 4 KiB unassigned, no reset: not passed through: \
         firmware left BAR 0 of 0x1000 bytes unassigned. Give devices more room in the firmware's settings, or use \
         another slot"
    );
}

fn region(device: &str) -> ReservedRegion {
    ReservedRegion { base: 0x7000_0000, limit: 0x7000_ffff, device: device.parse().unwrap(), unfit: None }
}

#[test]
fn memory_that_firmware_reserves_for_a_device_refuses_it() {
    let space = machine();
    space.remove("00:07.0".parse().unwrap());
    let mut case = Case::new(space, &["/00:04.0/00.0"]);
    let judge = |case: &Case| case.judge("/00:04.0/00.0", FULL, false);
    let refused = Err(Refusal::ReservedMemory(0x7000_0000, 0x7000_ffff));
    // By the path from the root, by the number of its own bus, by a bridge above it.
    for named in ["/00:04.0/00.0", "/01:00.0", "/00:04.0"] {
        case.config.regions.clear();
        case.config.regions.push(region(named)).unwrap();
        assert_eq!(judge(&case), refused, "{named}");
    }
    // Others', and one that isn't there.
    case.config.regions.clear();
    for named in ["/00:05.0", "/00:1e.0", "/02:00.0", "/00:04.0/01.0", "/05:00.0", "/0001:00:04.0"] {
        case.config.regions.push(region(named)).unwrap();
    }
    assert_eq!(judge(&case), Ok(()));
    case.config.regions_unknown = true;
    assert_eq!(judge(&case), Err(Refusal::RegionsUnknown));
}

#[test]
fn reserved_memory_is_mapped_or_lost_as_the_description_says() {
    let space = machine();
    space.remove("00:07.0".parse().unwrap());
    let mut case = Case::new(space, &["/00:04.0/00.0"]);
    let judge = |case: &Case| case.judge("/00:04.0/00.0", FULL, false);
    let not_mapped = |why| Err(Refusal::NotMapped(0x7000_0000, 0x7000_ffff, why));
    case.config.regions.push(region("/00:04.0/00.0")).unwrap();
    case.reserved = Reserved { policy: Policy::Accept, mapped: 0, ram: 3 << 30 };
    assert_eq!(judge(&case), Ok(()), "what isn't mapped is in nobody's way");

    case.reserved = Reserved { policy: Policy::Map, mapped: 1, ram: 0x7000_0000 };
    assert_eq!(judge(&case), Ok(()));
    case.reserved.ram += 1 << 21;
    let range = Range { first: 0x7000_0000, last: 0x7000_ffff, kind: Kind::Firmware };
    let conflict = Refusal::RamConflict(range, 0x7020_0000);
    assert_eq!(judge(&case), Err(conflict));
    assert_eq!(
        conflict.to_string(),
        "at 0x70000000 to 0x7000ffff it reaches firmware's memory, and its VM's RAM ends at 0x70200000. Give the VM at \
         most 1792 MiB"
    );
    case.reserved.ram = 1 << 30;

    // The root task hasn't mapped it: it knows devices by their paths only.
    case.reserved.mapped = 0;
    assert_eq!(judge(&case), not_mapped(NotMapped::NotByPath));
    case.reserved.mapped = 0b1110;
    assert_eq!(judge(&case), not_mapped(NotMapped::TooMany));
    // It has mapped what isn't this device's.
    case.config.regions.push(ReservedRegion { base: 0x6000_0000, ..region("/00:05.0") }).unwrap();
    case.reserved.mapped = 0b11;
    assert_eq!(judge(&case), Err(Refusal::NotMapped(0x6000_0000, 0x7000_ffff, NotMapped::NotByPath)));
    case.config.regions.pop();
    // The same memory by another structure.
    case.config.regions.push(region("/00:04.0")).unwrap();
    case.reserved.mapped = 0b10;
    assert_eq!(judge(&case), Ok(()));
    case.config.regions[0].unfit = Some(NotMapped::Ram);
    assert_eq!(judge(&case), not_mapped(NotMapped::Ram));
    case.config.regions[0].unfit = None;

    // The same for a device of another VM, and for another of this one.
    for (vm, verdict) in [(2, not_mapped(NotMapped::Shared(2))), (1, Ok(()))] {
        let other = PciDevice { vm, index: 1, reserved: case.reserved, ..wanted("/00:05.0") };
        case.config.devices.clear();
        case.config.devices.push(other).unwrap();
        assert_eq!(judge(&case), verdict, "VM {vm}");
    }
}

/// In a group without access control a request for a neighbour's registers needn't come up to the remapping unit.
#[test]
fn registers_in_a_devices_group_are_no_ram() {
    let space = testing::Machine::new();
    let open = space.bridge("00:04.0", 1, 1);
    space.capabilities(open, &[(0x40, 0x10)]);
    space.set16(open, 0x42, 0x42);
    for (place, bar) in [("01:00.0", 0xfe00_0000), ("01:00.1", 0x8000_0000)] {
        let device = space.endpoint(place, 0x1af4, 0x1041);
        space.bar(device, 0, 0, bar, 0x1000);
    }
    space.set32("01:00.0".parse().unwrap(), 0xc, 0x80_0000);
    let mut case = Case::new(space, &["/00:04.0/00.0"]);
    let judge = |case: &Case| case.judge("/00:04.0/00.0", FULL, false);
    case.reserved.ram = 2 << 30;
    assert_eq!(judge(&case), Ok(()));
    case.reserved.ram = 3 << 30;
    let range = Range { first: 0x8000_0000, last: 0x8000_0fff, kind: Kind::Registers };
    assert_eq!(judge(&case), Err(Refusal::RamConflict(range, 3 << 30)));
    let mut ranges = Ranges::default();
    ranges.add(range);
    assert_eq!(
        crate::table::Places(&ranges).to_string(),
        "at 0xfee00000 to 0xfeefffff (interrupt messages), at 0x80000000 to 0x80000fff (registers of a device in its \
         isolation group)"
    );
    assert_eq!(ranges.iter().next(), Some(&MESSAGES));
}
