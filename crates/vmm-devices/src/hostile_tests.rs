// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that does anything at all: every model is driven with random accesses, of which many are near what has a meaning.
//! With the tests' overflow checks on, whatever isn't a value is a failure here.
use crate::apic::{LocalApic, X2APIC_FIRST, register};
use crate::config_ports::ConfigPorts;
use crate::decode::{Cache, Mode, RegisterFile};
use crate::exits::Exits;
use crate::fetch::fetch;
use crate::ioapic::{IoApic, PINS};
use crate::memory::GuestMemory;
use crate::memory::tests::Ram;
use crate::msi::{Arrival, MAX_VECTORS, Messages};
use crate::nested::Tables;
use crate::random::Random;
use crate::uart::{MAX_LINE, Uart};
use crate::walk::Paging;
use crate::{cpuid, ecam, inject, msr, ports};
use std::string::ToString;

const ROUNDS: usize = 40_000;

/// Mostly a width that there is.
fn width(random: &mut Random) -> u8 {
    [1, 2, 4, 8, 0, 255][random.below(6) as usize]
}

#[test]
fn local_apic() {
    let registers = [
        register::EOI,
        register::TASK_PRIORITY,
        register::SPURIOUS,
        register::COMMAND,
        register::COMMAND_HIGH,
        register::LVT_TIMER,
        register::INITIAL_COUNT,
        register::CURRENT_COUNT,
        register::DIVIDE,
        register::SELF_IPI,
    ];
    let mut random = Random(1);
    for _ in 0..20 {
        let (mut apic, mut now) = (LocalApic::new(), 0u64);
        for _ in 0..ROUNDS / 20 {
            now = if random.below(1000) == 0 {
                random.value()
            } else {
                now.saturating_add(random.below(1 << 22))
            };
            let known = registers[random.below(registers.len() as u64) as usize];
            let offset = if random.below(4) == 0 { random.below(0x1000) as u32 } else { known };
            let msr = X2APIC_FIRST.wrapping_add(if random.below(9) == 0 {
                random.value() as u32
            } else {
                offset >> 4
            });
            let (width, value) = (width(&mut random), random.value());
            match random.below(9) {
                0 | 1 => apic.write_page(offset, width, value as u32, now),
                2 => _ = apic.read_page(offset, width, now),
                3 => _ = apic.write_msr(msr, value, now),
                4 => _ = apic.read_msr(msr, now),
                5 if random.below(20) == 0 => _ = apic.set_base(apic.base() ^ (value & 0xc00)),
                6 => _ = apic.set_cr8(value),
                7 => _ = apic.raise(value as u8),
                _ => apic.tick(now),
            }
            let entry = inject::next_entry(&mut apic, random.value(), random.below(2) == 0);
            assert!(entry.event & inject::VALID != 0 || entry.event == 0);
            assert!(apic.cr8() < 16 && apic.deadline().is_none_or(|deadline| deadline > 0 || now == 0));
        }
    }
}

#[test]
fn io_apic() {
    let mut random = Random(7);
    for _ in 0..20 {
        let (mut io, mut apic) = (IoApic::new(), LocalApic::new());
        apic.write_page(register::SPURIOUS, 4, 0x1ff, 0);
        for _ in 0..ROUNDS / 20 {
            let offset =
                if random.below(4) == 0 { random.value() as u32 } else { 0x10 * random.below(2) as u32 };
            let width = if random.below(4) == 0 { width(&mut random) } else { 4 };
            let pins = match random.below(5) {
                0 => io.write(offset, width, random.below(0x50) as u32),
                1 => io.write(offset, width, random.value() as u32),
                2 => {
                    io.raise(random.value() as u8, &mut apic);
                    0
                }
                3 => io.end(random.value() as u8) | io.renew(random.value() as u8),
                _ => {
                    let _ = io.read(offset, width);
                    0
                }
            };
            assert!(pins < 1 << PINS);
        }
    }
}

#[test]
fn messages() {
    let mut random = Random(2);
    for _ in 0..200 {
        let mut messages = Messages::new(random.below(100) as usize);
        assert!(messages.count() <= MAX_VECTORS);
        for _ in 0..ROUNDS / 200 {
            let (offset, width, value) = (random.value(), width(&mut random), random.value());
            match random.below(7) {
                0 => messages.set_control(value & 1 != 0, value & 2 != 0),
                1 => messages.set_msi(
                    value & 1 != 0,
                    random.value(),
                    value as u16,
                    (value >> 16) as u8,
                    value as u32,
                ),
                2 | 3 => messages.write_table(offset, width, value),
                4 => _ = messages.read_table(offset, width),
                5 => _ = messages.read_pending(offset, width),
                _ => _ = messages.arrive(value as usize),
            }
            let told = core::iter::from_fn(|| messages.next_to_tell()).take(1000).count();
            assert!(told <= MAX_VECTORS);
            for _ in 0..MAX_VECTORS + 1 {
                let Some(vector) = messages.next_unmasked() else { break };
                assert_ne!(messages.arrive(vector), Arrival::Pending);
            }
            assert_eq!(messages.next_unmasked(), None, "there is an end to it");
        }
    }
}

#[test]
fn serial_line_and_ports() {
    let mut random = Random(3);
    let mut uart = Uart::new();
    let check = |line: &[u8]| {
        assert!(line.len() <= MAX_LINE);
        assert!(line.iter().all(|byte| *byte == b'\t' || (b' '..0x7f).contains(byte) || *byte >= 0x80));
    };
    for _ in 0..ROUNDS {
        let (offset, value) = (random.below(10) as u16, random.next() as u8);
        uart.write(offset, value, check);
        let _ = uart.read(offset);
        if let Some(access) = ports::Access::from_info(random.value()) {
            let (rax, value) = (random.value(), random.value() as u32);
            let _ = ports::input(access.port, access.width);
            let _ = ports::merge_input(rax, access.width, value);
            let _ = ports::output(access.port, access.width, ports::output_value(rax, access.width));
        }
    }
    uart.flush(check);
}

#[test]
fn configuration_space_registers_and_leaves() {
    let mut random = Random(4);
    let (mut tables, mut config_ports) = (Tables::new(), ConfigPorts::default());
    for _ in 0..ROUNDS {
        let (a, b, width) = (random.value(), random.value(), width(&mut random));
        if let Some(target) = ecam::target(a, width) {
            let _ = ecam::others(target, width, [b as u8].into_iter());
        }
        config_ports.set_address(a as u32);
        if let Some(target) = config_ports.target(b as u16, width) {
            assert!(target.offset < 256 && target.offset.is_multiple_of(width.into()));
        }
        let _ = ecam::Placement::new().place(a, b & 1 != 0);
        let _ = (msr::classify(a as u32), msr::can_hold(a, b), msr::efer(a, b, random.value()));
        let guest = cpuid::Guest { cr4: a, xcr0: b, xcr0_offered: random.value(), tsc_khz: a as u32 };
        let host = [random.value() as u32; 4];
        let _ = cpuid::filter(b as u32, a as u32, &guest, |_, _| host);
        let _ = cpuid::filter(0xd, b as u32, &guest, |_, _| host);
        let _ = tables.idle(|first, behind| (first..behind).contains(&b));
        if let Some(table) = tables.missing(a, 12)
            && !tables.is_full()
        {
            tables.made(table, a, b);
        }
    }
}

struct File([u64; 16]);
impl RegisterFile for File {
    fn get(&self, index: u8) -> u64 {
        self.0[usize::from(index)]
    }
    fn set(&mut self, index: u8, value: u64) {
        self.0[usize::from(index)] = value;
    }
}

/// Instructions in memory that the guest changes all the time, by way of tables of its own making.
#[test]
fn instructions() {
    let mut random = Random(5);
    let (mut ram, mut cache, mut file) = (Ram::new(0x8000), Cache::new(), File([0; 16]));
    let mut exits = Exits::new();
    for round in 0..ROUNDS {
        let (at, value) = (random.below(0x8000), random.value());
        let _ = ram.write(at, &value.to_le_bytes());
        let _ = ram.write(random.below(0x1000) & !7, &(random.below(8) << 12 | 3).to_le_bytes());
        // Opcodes of the MOV family now and then.
        let opcode = [0x88, 0x8a, 0x8b, 0xa1, 0xc7, 0x0f, 0x63, 0x48, 0x66][random.below(9) as usize];
        let _ = ram.write(random.below(0x8000), &[opcode]);
        let paging = [Paging::Off, Paging::Legacy { large: true }, Paging::Pae, Paging::Long];
        let linear = if random.below(2) == 0 { random.below(0x9000) } else { random.value() };
        let code = fetch(&ram, paging[random.below(4) as usize], random.below(8) << 12, linear);
        assert!(code.available <= 16);
        let mode = [Mode::Bits16, Mode::Bits32, Mode::Bits64][random.below(3) as usize];
        if let Some(instruction) = cache.decode(linear, code.bytes, code.available, mode) {
            assert!(usize::from(instruction.length) <= code.available.min(15) && instruction.length > 0);
            assert!(matches!(instruction.width, 1 | 2 | 4 | 8));
            let _ = instruction.stored(&file);
            instruction.loaded(&mut file, random.value());
        }
        exits.record(random.value(), linear, value, at);
        if round % 1000 == 0 {
            exits.dump(|line| assert!(!line.to_string().contains('\n')));
            assert!(exits.to_string().starts_with("exits: "));
        }
    }
}
