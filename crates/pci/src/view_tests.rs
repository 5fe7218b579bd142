// SPDX-License-Identifier: MIT OR Apache-2.0
//! What guests see, and what they can't do.

use super::*;
use crate::config;
use crate::testing::{Machine, Random};
use crate::{Address, bar};

const DWORD: Width = Width::Dword;

pub(super) fn view(machine: &Machine, at: Address, limit: u16) -> View {
    let bars = bar::probe(machine, at, 6);
    let interrupts = match MsiX::read(machine, at, &bars) {
        Ok(Some(msix)) => Interrupts::MsiX(msix),
        _ => Msi::read(machine, at).map_or(Interrupts::None, Interrupts::Msi),
    };
    View::new(machine, at, &config::identity(machine, at), &bars, interrupts, interrupts.shown(limit))
}

/// A modern virtio-net function as the emulator shows it, its I/O BAR aside.
fn nic(machine: &Machine) -> Address {
    let at = machine.endpoint("01:00.0", 0x1af4, 0x1041);
    machine.set32(at, 8, 0x0200_0001);
    machine.set32(at, 0x2c, 0x1100_1af4);
    machine.set8(at, 0x3d, 1);
    machine.bar(at, 1, 0, 0xfea0_0000, 0x1000);
    machine.bar(at, 4, 0xc, 0xfe00_0000, 0x4000);
    let caps = [(0xdc, 0x01), (0xc8, 0x09), (0xb4, 0x09), (0x98, 0x11), (0x40, 0x10), (0x84, 0x09)];
    machine.capabilities(at, &caps);
    machine.set16(at, 0x9a, 3);
    machine.set32(at, 0x9c, 1);
    machine.set32(at, 0xa0, 0x801);
    for (offset, length, kind, bar) in [(0xc8, 20, 5, 0), (0xb4, 20, 2, 4), (0x84, 16, 1, 4)] {
        machine.set8(at, offset + 2, length);
        machine.set8(at, offset + 3, kind);
        machine.set8(at, offset + 4, bar);
    }
    machine.set16(at, 0x42, 2);
    machine.set32(at, 0x44, 1 << 28 | 0x8000);
    machine.set32(at, 0x4c, 0x1234);
    machine.set32(at, 0x100, 0x0001_000f);
    at
}

pub(super) fn list(view: &View) -> Vec<u8, 48> {
    let mut found = Vec::new();
    let mut at = view.read(0x34, Width::Byte).unwrap() as u8;
    while at != 0 {
        found.push(at).unwrap();
        at = view.read(u16::from(at) + 1, Width::Byte).unwrap() as u8;
    }
    found
}

#[test]
fn the_header_is_the_device_s_without_intx_and_extended_space() {
    let machine = Machine::new();
    let at = nic(&machine);
    let view = view(&machine, at, 32);
    assert_eq!(view.read(0, DWORD), Some(0x1041_1af4));
    assert_eq!(view.read(4, DWORD), Some(0x0010_0000));
    assert_eq!(view.read(8, DWORD), Some(0x0200_0001));
    assert_eq!(view.read(0x2c, DWORD), Some(0x1100_1af4));
    assert_eq!(view.read(0x10, DWORD), Some(0));
    assert_eq!(view.read(0x30, DWORD), Some(0));
    assert_eq!(view.read(0x3c, DWORD), Some(0));
    assert_eq!(view.read(0x100, DWORD), Some(0));
    assert_eq!(view.read(0x1000, DWORD), None);
    assert_eq!(view.read(2, DWORD), None);
}

#[test]
fn ports_are_sized_and_moved() {
    let machine = Machine::new();
    let at = nic(&machine);
    machine.bar(at, 0, 1, 0xc040, 32);
    let mut view = view(&machine, at, 32);
    assert_eq!(view.read(0x10, DWORD), Some(1));
    assert_eq!(view.write(0x10, DWORD, u32::MAX), Some(Effect::Bar { index: 0, base: 0xffe0 }));
    assert_eq!(view.read(0x10, DWORD), Some(0xffe1));
    assert_eq!(view.write(0x11, Width::Byte, 0xd1), Some(Effect::Bar { index: 0, base: 0xd1e0 }));
    assert_eq!(view.write(0x10, Width::Word, 0x2043), Some(Effect::Bar { index: 0, base: 0x2040 }));
    let command = |io| Some(Effect::Command { memory: false, io, bus_master: false });
    assert_eq!(
        [view.write(4, Width::Word, 1), view.write(4, Width::Word, 0)],
        [command(true), command(false)]
    );
    assert_eq!(machine.read32(at, 0x10), 0xc041, "the device's is as it was");
}

#[test]
fn the_rom_is_shown_if_it_was_asked_for() {
    let machine = Machine::new();
    let at = nic(&machine);
    machine.set32(at, 0x30, 0xfeb4_0000);
    machine.writable32(at, 0x30, 0xffff_0001);
    let mut without = view(&machine, at, 32);
    assert_eq!(without.write(0x30, DWORD, u32::MAX), Some(Effect::None));
    assert_eq!(without.read(0x30, DWORD), Some(0));
    let mut bars = bar::probe(&machine, at, 6);
    bars.add_rom(bar::probe_rom(&machine, at).unwrap());
    let mut with = View::new(&machine, at, &config::identity(&machine, at), &bars, Interrupts::None, 0);
    assert_eq!(with.read(0x30, DWORD), Some(0));
    assert_eq!(with.write(0x30, DWORD, !0x7ff), Some(Effect::Rom { enabled: false, base: 0xffff_0000 }));
    assert_eq!(with.read(0x30, DWORD), Some(0xffff_0000));
    assert_eq!(with.write(0x30, DWORD, 0xc123_4567), Some(Effect::Rom { enabled: true, base: 0xc123_0000 }));
    assert_eq!((with.read(0x30, DWORD), with.rom()), (Some(0xc123_0001), true));
    with.restart();
    assert_eq!((with.read(0x30, DWORD), with.rom()), (Some(0), false));
    assert_eq!(machine.read32(at, 0x30), 0xfeb4_0000, "the device's is as it was");
}

#[test]
fn capabilities_are_relinked_without_the_door_to_the_bars() {
    let machine = Machine::new();
    let at = nic(&machine);
    let view = view(&machine, at, 32);
    assert_eq!(list(&view), [0xdc, 0xb4, 0x98, 0x40, 0x84]);
    assert_eq!(view.read(0xc8, DWORD), Some(0));
    assert_eq!(view.read(0x84, DWORD), Some(0x0110_0009));
    assert_eq!(view.read(0x40, DWORD), Some(0x0092_8410), "an endpoint of the root complex");
    assert_eq!(view.read(0x4c, DWORD), Some(0), "there is no link");
}

#[test]
fn vendor_capabilities_of_others_are_read_only() {
    let machine = Machine::new();
    let at = nic(&machine);
    machine.set16(at, 0, 0x8086);
    machine.set32(at, 0xcc, 0x1234_5678);
    let mut shown = view(&machine, at, 32);
    assert_eq!(list(&shown), [0xdc, 0x98, 0x40, 0xc8, 0xb4, 0x84], "behind the others");
    assert_eq!(shown.read(0xcc, DWORD), Some(0x1234_5678));
    let before = machine.writes.borrow().len();
    (0xc8..0xdc).for_each(|offset| {
        assert_eq!(shown.write(offset, Width::Byte, 0xff), Some(Effect::None));
    });
    assert_eq!(shown.read(0xcc, DWORD), Some(0x1234_5678));
    assert_eq!(machine.writes.borrow().len(), before, "nor does the device hear of it");
    // One that claims to be longer than there is room, or shorter than its header, isn't there, and takes no other's place.
    for length in [0x15, 0xff, 2] {
        machine.set8(at, 0xca, length);
        assert_eq!(list(&view(&machine, at, 32)), [0xdc, 0x98, 0x40, 0xb4, 0x84], "{length:#x}");
    }
}

#[test]
fn bars_are_sized_and_moved_by_the_guest_alone() {
    let machine = Machine::new();
    let at = nic(&machine);
    let mut view = view(&machine, at, 32);
    let before = machine.writes.borrow().len();
    assert_eq!(view.write(0x14, DWORD, u32::MAX), Some(Effect::Bar { index: 1, base: 0xffff_f000 }));
    assert_eq!(view.read(0x14, DWORD), Some(0xffff_f000));
    view.write(0x20, DWORD, u32::MAX);
    assert_eq!(view.read(0x20, DWORD), Some(0xffff_c00c));
    assert_eq!(view.write(0x20, DWORD, 0x8000_1234), Some(Effect::Bar { index: 4, base: 0x8000_0000 }));
    assert_eq!(view.write(0x24, DWORD, 1), Some(Effect::Bar { index: 4, base: 0x1_8000_0000 }));
    assert_eq!(view.bar(4), 0x1_8000_0000);
    assert_eq!(view.write(0x10, DWORD, u32::MAX), Some(Effect::None));
    assert_eq!(view.read(0x10, DWORD), Some(0));
    assert_eq!(machine.writes.borrow().len(), before, "the device heard nothing of it");
}

#[test]
fn the_command_register_has_two_bits_with_a_meaning() {
    let machine = Machine::new();
    let at = nic(&machine);
    let mut view = view(&machine, at, 32);
    let effect = view.write(4, DWORD, u32::MAX);
    assert_eq!(effect, Some(Effect::Command { memory: true, io: false, bus_master: true }));
    assert_eq!(view.read(4, DWORD), Some(0x0010_0406));
    assert_eq!(
        view.write(4, Width::Byte, 2),
        Some(Effect::Command { memory: true, io: false, bus_master: false })
    );
    assert_eq!(view.write(6, Width::Word, 0xffff), Some(Effect::None), "status");
}

#[test]
fn msix_is_clipped() {
    let machine = Machine::new();
    let at = nic(&machine);
    let mut view = view(&machine, at, 2);
    assert_eq!(view.read(0x9a, Width::Word), Some(1));
    assert_eq!(view.write(0x9a, Width::Word, 0xffff), Some(Effect::MsiX { enabled: true, masked: true }));
    assert_eq!(view.read(0x9a, Width::Word), Some(0xc001));
    assert_eq!(view.write(0x98, DWORD, 0x8000_0000), Some(Effect::MsiX { enabled: true, masked: false }));
    assert_eq!(view.write(0x9c, DWORD, 0xffff_ffff), Some(Effect::None));
    assert_eq!((view.read(0x9c, DWORD), view.read(0xa0, DWORD)), (Some(1), Some(0x801)));
}

#[test]
fn msi_is_clipped_to_a_power_of_two() {
    let machine = Machine::new();
    let at = machine.endpoint("01:00.0", 0x1033, 0x0194);
    machine.capabilities(at, &[(0x70, id::MSI)]);
    machine.set16(at, 0x72, 1 << 8 | 1 << 7 | 4 << 1);
    let mut view = view(&machine, at, 7);
    assert_eq!(view.read(0x72, Width::Word), Some(0x184));
    view.write(0x74, DWORD, 0xfee0_1003);
    view.write(0x78, DWORD, 1);
    view.write(0x80, DWORD, u32::MAX);
    view.write(0x7c, DWORD, 0xffff_0041);
    let effect = view.write(0x72, Width::Word, 0xffff);
    let (address, data) = (0x1_fee0_1000, 0x41);
    assert_eq!(effect, Some(Effect::Msi { enabled: true, address, data, log2_messages: 2, mask: 0xf }));
    assert_eq!(view.read(0x7c, DWORD), Some(0x41));
}

#[test]
fn a_reset_by_advanced_features_is_seen() {
    let machine = Machine::new();
    let at = machine.endpoint("00:1d.0", 0x8086, 0x2934);
    machine.capabilities(at, &[(0x98, id::ADVANCED_FEATURES)]);
    machine.set16(at, 0x9a, 0x0306);
    machine.set16(at, 0x9c, 0xff00);
    let mut shown = view(&machine, at, 32);
    assert_eq!((shown.read(0x98, DWORD), shown.read(0x9c, DWORD)), (Some(0x0306_0013), Some(0)));
    assert_eq!(shown.write(0x9c, Width::Byte, 0xfe), Some(Effect::None));
    assert_eq!(shown.write(0x9c, Width::Byte, 1), Some(Effect::Reset));
    assert_eq!(shown.read(0x9c, DWORD), Some(0));
    machine.set16(at, 0x9a, 0x0106);
    assert_eq!(list(&view(&machine, at, 32)), [], "one that can't reset is of no use");
}

#[test]
fn a_function_level_reset_is_seen_and_forgets_everything() {
    let machine = Machine::new();
    let at = nic(&machine);
    let mut view = view(&machine, at, 32);
    let first: std::vec::Vec<_> = (0..256).map(|o| view.read(o, Width::Byte)).collect();
    view.write(4, Width::Word, 6);
    view.write(0x14, DWORD, 0xc000_0000);
    assert_eq!(view.write(0x48, Width::Word, 0x2810), Some(Effect::None));
    assert_eq!(view.read(0x48, Width::Word), Some(0x2810));
    assert_eq!(view.write(0x48, Width::Word, 0xa810), Some(Effect::Reset));
    let after: std::vec::Vec<_> = (0..256).map(|o| view.read(o, Width::Byte)).collect();
    assert_eq!(first, after);
}

#[test]
fn without_the_ability_there_is_no_reset() {
    let machine = Machine::new();
    let at = nic(&machine);
    machine.set32(at, 0x44, 0);
    let mut view = view(&machine, at, 32);
    assert_eq!(view.write(0x48, Width::Word, 0x8000), Some(Effect::None));
    assert_eq!(view.read(0x48, Width::Word), Some(0));
}

/// Whatever a device says and a guest writes: nothing panics, the list ends and shows only known capabilities, read-only
/// bits stay, and the device's own configuration space is never written.
#[test]
fn hostile_devices_and_guests() {
    let mut random = Random(21);
    for _ in 0..400 {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", if random.next() & 1 == 0 { 0x1af4 } else { 0x1234 }, 1);
        for offset in 0x10..0x1000 {
            let byte = random.next();
            // Known capability IDs often, else the walk sees none.
            let known = [1, 5, 9, 16, 17, 19, 0x40, 0x80][byte as usize % 8];
            machine.set8(at, offset, if byte & 0x100 == 0 { known } else { (byte >> 16) as u8 });
        }
        machine.set16(at, register::STATUS, STATUS_CAPABILITIES);
        machine.bar(at, 0, 4, 0, 1 << (random.next() % 40 + 4));
        let mut view = view(&machine, at, random.next() as u16 % 60);
        machine.writes.borrow_mut().clear();
        let (fixed, mask) = (view.image, view.writable);
        for _ in 0..300 {
            let width = [Width::Byte, Width::Word, DWORD][random.next() as usize % 3];
            let offset = random.next() as u16 % 0x140;
            let _ = view.write(offset, width, random.next() as u32);
            let _ = view.read(offset, width);
        }
        for i in 0..SIZE {
            assert_eq!(view.image[i] & !mask[i], fixed[i] & !mask[i]);
        }
        assert!(list(&view).iter().all(|o| [1, 5, 9, 16, 17, 19].contains(&view.image[usize::from(*o)])));
        assert!(machine.writes.borrow().is_empty());
    }
}
