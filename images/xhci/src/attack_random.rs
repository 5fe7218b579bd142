// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses at random to everything of the device and of the virtual machine that exits: configuration space, MSI-X table, ports, the local
//! APIC's registers but those that would end this program. The device is made to work again afterwards, by its registers alone.

#![allow(unsafe_code)]

use crate::device::Xhci;
use crate::msix::Table;
use crate::vectors::Vectors;
use alloc::string::String;
use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Message;
use guest_runtime::random::Random;
use guest_runtime::{acpi, apic, cpu};

const BARS: core::ops::Range<usize> = 0x10..0x28;
/// Ports that a write may go to: no debug exit, no power-off or reset, no serial line, whose output is the log.
const FATAL: [core::ops::Range<u16>; 4] = [0xf4..0xf8, 0x3f8..0x400, 0x5f8..0x610, 0xcf8..0xd00];
/// Registers of the local APIC that deliver to the program: end of interrupt, spurious vector, commands, and the local vectors.
const DELIVERING: [usize; 11] = [0xb0, 0xf0, 0x2f0, 0x300, 0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370];

pub fn run(xhci: &Xhci, table: &Table, rounds: u64, checks: &mut Checks) -> Result<(), &'static str> {
    let config = xhci.function().config();
    let mut assigned = [0; 6];
    assigned.iter_mut().zip(BARS.step_by(4)).for_each(|(bar, offset)| *bar = config.read32(offset));
    let ecam = acpi::ecam().ok_or("there is no configuration space")?;
    let mut random = Random::new(0x1234_5678_9abc_def1);
    for _ in 0..rounds {
        match random.below(8) {
            0..4 => configuration(&mut random, ecam.base, config),
            4 | 5 => {
                let offset = 4 * random.below(table.table().bytes() / 4);
                // While the BAR is elsewhere the table isn't there; then this is an access to nowhere, which would end the program.
                assigned.iter().zip(BARS.step_by(4)).for_each(|(bar, offset)| config.write32(offset, *bar));
                config.write16(4, 2);
                table.table().write32(offset, random.value());
            }
            6 => port(&mut random),
            _ => {
                let offset = 16 * random.below(0x40);
                if !DELIVERING.contains(&offset) {
                    apic::write(offset, random.value());
                }
                let _ = apic::read(offset);
            }
        }
    }
    checks.report("random-survived", Ok::<(), &str>(()));

    assigned.iter().zip(BARS.step_by(4)).for_each(|(bar, offset)| config.write32(offset, *bar));
    apic::write(0x80, 0);
    xhci.function().enable();
    let mut vectors = Vectors::take(2)?;
    table.mask_all();
    table.enable_all();
    xhci.turn_on();
    (0..2).for_each(|number| table.program(number, Message::to_this_cpu(vectors.at(number)), false));
    checks.report("random-device-works-again", works(xhci, &mut vectors));
    Ok(())
}

/// Messages of before may be pending: one of each is let pass.
fn works(xhci: &Xhci, vectors: &mut Vectors) -> Result<(), String> {
    vectors.forget();
    xhci.ring(0);
    vectors.expect(&[0])?;
    xhci.ring(1);
    vectors.expect(&[1])
}

/// A register of the device, of a function beside it or of nobody.
fn configuration(random: &mut Random, base: u64, own: &Mmio) {
    let devfn = random.below(256) as u64;
    // SAFETY: configuration space of bus 0. What it leads to is this program's device.
    let other = unsafe { Mmio::new(base + (devfn << 12), 0x1000) };
    let place = if random.below(4) == 0 { &other } else { own };
    let (offset, value) = (random.below(0x1000), random.value());
    let offset = if random.below(2) == 0 { offset & 0xff } else { offset };
    match random.below(4) {
        0 => place.write8(offset, value as u8),
        1 => place.write16(offset & !1, value as u16),
        2 => drop(place.read32(offset & !3)),
        _ => place.write32(offset & !3, value),
    }
}

fn port(random: &mut Random) {
    let port = random.word() as u16;
    let port = if random.below(2) == 0 { port & 0xfff } else { port };
    if FATAL.iter().any(|range| port < range.end && range.start < port.saturating_add(4)) {
        return;
    }
    // SAFETY: on Postern nothing that this program needs is at these ports.
    unsafe {
        match random.below(3) {
            0 => cpu::out8(port, random.value() as u8),
            1 => cpu::out16(port, random.value() as u16),
            _ => cpu::out32(port, random.value()),
        }
    }
    let _ = (cpu::in8(port), cpu::in32(port));
}
