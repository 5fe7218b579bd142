// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that says anything in its configuration space, and a guest that writes anything into the picture of it.

use crate::bytes::Bytes;
use pci::config::{command, register};
use pci::reset::{Methods, Saved};
use pci::testing::Machine;
use pci::topology::Topology;
use pci::view::{Effect, Interrupts};
use pci::{Address, ConfigSpace, Msi, MsiX, View, Width, bar, capability, config};
use vmm_devices::bars::{Claim, Space, settle};
use vmm_devices::layout;

/// Registers that a guest never changes: IDs, revision and class, subsystem.
const FIXED: [u16; 3] = [register::VENDOR, register::REVISION, register::SUBSYSTEM];

/// A machine of a bridge and a device that have these bytes at the places that the bytes say.
fn machine(bytes: &mut Bytes) -> (Machine, Address) {
    let machine = Machine::new();
    let bridge = machine.bridge("00:01.0", 1, 1);
    let device = machine.endpoint("01:00.0", 0x1af4, 0x1041);
    for _ in 0..bytes.u8() {
        let (at, place, value) = (bytes.u8(), (bytes.u16() % 4096) & !3, bytes.u32());
        let function = if at & 1 == 0 { device } else { bridge };
        match at & 2 {
            0 => machine.set32(function, place, value),
            _ => machine.writable32(function, place, value),
        }
    }
    (machine, device)
}

/// Enumerates, reads everything, takes the picture, and lets the guest write.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (machine, at) = machine(&mut bytes);
    let mut topology = Topology::default();
    topology.enumerate(&machine, 0, 0, 255);
    topology.harden(&machine);
    for function in topology.functions() {
        assert!(capability::capabilities(&machine, function.address).count() <= 64);
        for id in [0x1, 0x3, 0xd, 0xf, 0xffff] {
            let found = capability::find_extended(&machine, function.address, id);
            assert!(found.is_none_or(|offset| (0x100..0x1000).contains(&offset)));
        }
    }
    let mut bars = bar::probe(&machine, at, 6);
    if let Some(rom) = bar::probe_rom(&machine, at) {
        bars.add_rom(rom);
    }
    for bar in bars.iter() {
        assert!(bar.size.is_power_of_two(), "a BAR of no size");
    }
    let interrupts = match MsiX::read(&machine, at, &bars) {
        Ok(Some(msix)) => Interrupts::MsiX(msix),
        _ => Msi::read(&machine, at).map_or(Interrupts::None, Interrupts::Msi),
    };
    let _ = Methods::read(&machine, at);
    let saved = Saved::read(&machine, at);
    let _ = (saved.has_pending(&machine, at), saved.is_back(&machine, at), saved.survived(&machine, at));
    let identity = config::identity(&machine, at);
    let vectors = interrupts.shown(1 + u16::from(bytes.u8() % 64));
    let view = View::new(&machine, at, &identity, &bars, interrupts, vectors);
    guest(view, &mut bytes, &machine);
}

fn guest(mut view: View, bytes: &mut Bytes, machine: &Machine) {
    let fixed = FIXED.map(|offset| view.read(offset, Width::Dword));
    let pristine: Vec<_> = (0..0x400u16).map(|word| view.read(4 * word, Width::Dword)).collect();
    let before = machine.writes.borrow().len();
    while bytes.more() {
        let width = [Width::Byte, Width::Word, Width::Dword][usize::from(bytes.u8() % 3)];
        let (offset, value) = (bytes.u16() % 0x1040, bytes.u32());
        let good = offset % width.bytes() == 0 && offset < 4096;
        let effect = view.write(offset, width, value);
        assert_eq!(effect.is_some(), good, "an access that can't be");
        let read = view.read(offset, width);
        assert_eq!(read.is_some(), good);
        assert!(read.is_none_or(|read| read & !width.mask() == 0), "more bits than were asked for");
        if let Some(Effect::Bar { index, base }) = effect {
            let bar = view.bars().get(index).expect("a BAR that there is");
            assert_eq!(base & (bar.size - 1), 0, "a BAR lies at a multiple of its size");
        }
        if let Some(Effect::Rom { enabled, base }) = effect {
            let rom = view.bars().get(bar::ROM).expect("an expansion ROM that there is");
            assert_eq!(
                (base & (rom.size - 1), enabled),
                (0, view.rom()),
                "a ROM lies at a multiple of its size"
            );
        }
        let held = view.read(register::COMMAND, Width::Word).unwrap_or(0) as u16;
        let allowed = command::IO | command::MEMORY | command::BUS_MASTER | command::INTX_DISABLE;
        assert_eq!(held & !allowed, 0, "a bit of the command register that is nobody's");
    }
    assert_eq!(FIXED.map(|offset| view.read(offset, Width::Dword)), fixed, "an identity that changes");
    view.restart();
    let reset: Vec<_> = (0..0x400u16).map(|word| view.read(4 * word, Width::Dword)).collect();
    assert_eq!(reset, pristine, "something of the guest's outlives a reset");
    assert_eq!(machine.writes.borrow().len(), before, "the picture reaches the device");
    let _ = machine.read32(Address { segment: 0, bus: 1, devfn: pci::DevFn(0) }, 0);
}

/// Where a VM's BARs lie, whatever is written to their registers.
pub fn bars(input: &[u8]) {
    let mut bytes = Bytes(input);
    let mut claims = Vec::new();
    let (mut next_memory, mut next_port) = (layout::PCI_WINDOW, layout::PORTS);
    for _ in 0..1 + bytes.u8() % 8 {
        let kind = bytes.u8();
        let (space, size, next) = match kind & 0x80 {
            0 if kind & 0x40 != 0 => (Space::Wide, 0x1000 << (kind % 8), &mut next_memory),
            0 => (Space::Memory, 0x1000 << (kind % 8), &mut next_memory),
            _ => (Space::Ports, 4 << (kind % 7), &mut next_port),
        };
        let place = u64::next_multiple_of(*next, size);
        claims.push(Claim { space, register: place, bytes: size, decoding: true, place: Some(place) });
        *next = place + size;
    }
    while bytes.more() {
        let number = usize::from(bytes.u8()) % claims.len();
        let claim = &mut claims[number];
        let value = bytes.number();
        match bytes.u8() % 4 {
            0 => claim.register = claim.register & !0xffff_ffff | value & 0xffff_ffff,
            1 => claim.register = claim.register & 0xffff_ffff | value << 32,
            2 if claim.space == Space::Ports => claim.register = value & 0xffff,
            2 => claim.register = layout::PCI_WINDOW + (value & 0xffff) * 0x1000,
            _ => claim.decoding = value & 1 != 0,
        }
        claim.register &= !(claim.bytes - 1);
        settle(&mut claims);
        for (n, one) in claims.iter().enumerate() {
            let Some(place) = one.place else { continue };
            let end = place.checked_add(one.bytes).expect("beyond all addresses");
            let first = if one.space == Space::Ports { layout::PORTS } else { layout::PCI_WINDOW };
            assert!(place >= first && place & (one.bytes - 1) == 0);
            let is_port = |claim: &Claim| claim.space == Space::Ports;
            for other in claims[n + 1..].iter().filter(|other| is_port(other) == is_port(one)) {
                let apart = other.place.is_none_or(|at| at >= end || at + other.bytes <= place);
                assert!(apart, "BARs in each other: {claims:x?}");
            }
        }
        let before = claims.clone();
        settle(&mut claims);
        assert_eq!(before, claims, "nothing more to do");
    }
}
