// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sequences at random over all devices that the VMM models, so that the state which one register leaves meets what another makes of it: UART,
//! I/O APIC, configuration space by its ports and in memory, power management. What ends the guest or is its log is left out.

use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::random::Random;
use guest_runtime::{acpi, cpu, cpuid, irq, println};

const UART: u16 = 0x3f8;
/// The line control register, whose bit 7 turns the data port into the divisor; as the runtime sets it.
const LINE_CONTROL: u16 = UART + 3;
const CHARACTERS: u8 = 0x03;
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// The port of power management's timer, and what is behind it.
const POWER: core::ops::Range<u16> = 0x608..0x610;
const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const IO_APIC_BYTES: usize = 0x1000;

pub fn run(rounds: u64, checks: &mut Checks) {
    if cpuid::postern().is_none() {
        println!("hostile: elsewhere these registers may lead to the machine");
        checks.report("registers-elsewhere", Ok::<(), &str>(()));
        return;
    }
    let Some(base) = acpi::io_apic().map(|io_apic| io_apic.base) else {
        checks.report("registers", Err("there is no I/O APIC"));
        return;
    };
    // SAFETY: its page holds registers that reach no memory.
    let io_apic = unsafe { Mmio::new(base, IO_APIC_BYTES) };
    let mut random = Random::new(0xfeed_beef_1234_5678);
    let (mut doors, mut answers) = ([0u64; 4], 0u64);
    for _ in 0..rounds {
        let door = random.below(4);
        doors[door] += 1;
        answers = answers.rotate_left(1)
            ^ match door {
                0 => pins(&mut random, &io_apic),
                1 => uart(&mut random),
                2 => config(&mut random),
                _ => power(&mut random),
            };
    }
    cpu_out8(LINE_CONTROL, CHARACTERS);
    cpu_out8(UART + 1, 0);
    println!("hostile: {doors:?} accesses, their answers are {answers:#018x}");
    checks.report("registers-survived", Ok::<(), &str>(()));

    // Pin by pin masked again, and the index register is one.
    for index in (0x10..0x40).step_by(2) {
        io_apic.write32(SELECT, index);
        io_apic.write32(WINDOW, 1 << 16);
    }
    checks.equal("registers-select", io_apic.read32(SELECT) & 0xff, 0x3e);
    irq::wait_for_timer(2_000_000);
    checks.equal("registers-no-interrupt", irq::unexpected(), 0);
}

fn cpu_out8(port: u16, value: u8) {
    // SAFETY: a modelled device's register, nobody's memory.
    unsafe { cpu::out8(port, value) }
}

fn pins(random: &mut Random, io_apic: &Mmio) -> u64 {
    // Mostly where something is.
    let offset = match random.below(4) {
        0 => random.below(IO_APIC_BYTES - 8),
        1 => SELECT,
        _ => WINDOW,
    };
    let value = if offset == SELECT { random.below(0x48) as u32 } else { random.value() };
    match random.below(6) {
        0 => io_apic.write8(offset, value as u8),
        1 => io_apic.write16(offset & !1, value as u16),
        2 => return io_apic.read32(offset & !3).into(),
        3 => return io_apic.read8(offset).into(),
        _ => io_apic.write32(offset & !3, value),
    }
    0
}

fn uart(random: &mut Random) -> u64 {
    // Not the data port: what is written there is the log.
    let port = UART + 1 + random.below(7) as u16;
    match random.below(3) {
        0 => cpu::in8(UART + random.below(8) as u16).into(),
        1 => cpu::in16(UART + random.below(7) as u16).into(),
        _ => {
            cpu_out8(port, random.value() as u8);
            0
        }
    }
}

fn config(random: &mut Random) -> u64 {
    let port = CONFIG_DATA + random.below(4) as u16;
    // SAFETY: configuration space of this guest's own; the reset port beside it takes a single byte, which isn't written.
    unsafe {
        match random.below(6) {
            0 => cpu::out32(CONFIG_ADDRESS, random.value() | 1 << 31),
            1 => cpu::out32(CONFIG_ADDRESS, random.value()),
            2 => cpu::out8(port, random.value() as u8),
            3 => cpu::out16(port, random.value() as u16),
            4 => cpu::out32(port, random.value()),
            _ => {
                return u64::from(cpu::in8(port))
                    ^ u64::from(cpu::in16(port)) << 8
                    ^ u64::from(cpu::in32(port)) << 24
                    ^ u64::from(cpu::in32(CONFIG_ADDRESS)) << 32;
            }
        }
    }
    0
}

fn power(random: &mut Random) -> u64 {
    let port = POWER.start + random.below(POWER.len()) as u16;
    if random.below(2) == 0 {
        return u64::from(cpu::in32(port)) ^ u64::from(cpu::in8(port)) << 32;
    }
    cpu_out8(port, random.value() as u8);
    0
}
