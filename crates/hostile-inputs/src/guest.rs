// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest's accesses to what its VMM models: both APICs, serial line, ports, CPUID, MSRs, configuration space, nested tables.

use crate::bytes::Bytes;
use vmm_devices::apic::{LocalApic, X2APIC_FIRST};
use vmm_devices::ioapic::{IoApic, PINS};
use vmm_devices::nested::Tables;
use vmm_devices::uart::{MAX_LINE, Uart};
use vmm_devices::{cpuid, ecam, exits, inject, msr, ports};

/// Nothing that the log may have.
fn check(line: &[u8]) {
    assert!(line.len() <= MAX_LINE);
    let harmless = |byte: &u8| *byte == b'\t' || (b' '..0x7f).contains(byte) || *byte >= 0x80;
    assert!(line.iter().all(harmless), "a byte that a terminal obeys");
}

/// Any accesses in any order.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (mut apic, mut uart, mut tables, mut now) = (LocalApic::new(), Uart::new(), Tables::new(), 0u64);
    let mut io_apic = IoApic::new();
    while bytes.more() {
        let (kind, a, value) = (bytes.u8() % 14, bytes.number(), bytes.number());
        match kind {
            0 => apic.write_page(a as u32, bytes.width(), value as u32, now),
            1 => drop(apic.read_page(a as u32, bytes.width(), now)),
            2 => drop(apic.write_msr(X2APIC_FIRST.wrapping_add(a as u32), value, now)),
            3 => drop(apic.read_msr(X2APIC_FIRST.wrapping_add(a as u32), now)),
            4 => drop(apic.set_base(value)),
            5 => drop((apic.set_cr8(value), apic.raise(a as u8))),
            6 => {
                now = now.saturating_add(value);
                apic.tick(now);
            }
            7 => {
                uart.write(a as u16, value as u8, check);
                let _ = uart.read(a as u16);
            }
            8 => port(a, value),
            9 => processor(a, value, &mut bytes),
            10 => {
                if let Some(target) = ecam::target(a, bytes.width()) {
                    let _ = ecam::others(target, bytes.width(), [value as u8, 0x41].into_iter());
                }
                let _ = ecam::Placement::new().place(value, a & 1 != 0);
            }
            11 => {
                let pins = io_apic.write(a as u32, bytes.width(), value as u32);
                assert!(pins < 1 << PINS);
                let _ = io_apic.read(a as u32, bytes.width());
            }
            12 => {
                io_apic.raise(a as u8, &mut apic);
                let ended = apic.take_level_end().map_or(0, |vector| io_apic.end(vector));
                assert!((ended | io_apic.renew(value as u8)) < 1 << PINS);
            }
            _ => {
                let _ = tables.idle(|first, behind| (first..behind).contains(&value));
                if let Some(table) = tables.missing(a, 12 + 9 * (value % 2) as u8) {
                    match tables.spare(table) {
                        Some(spare) => tables.made(table, a, spare),
                        None if tables.is_full() => {}
                        None => tables.made(table, a, value),
                    }
                }
            }
        }
        let entry = inject::next_entry(&mut apic, value, a & 1 == 0);
        assert!(entry.event & inject::VALID != 0 || entry.event == 0);
        assert!(apic.cr8() < 16);
    }
    uart.flush(check);
}

fn port(info: u64, value: u64) {
    let _ = (exits::reason(info), exits::name(info));
    if let Some(access) = ports::Access::from_info(info) {
        let merged = ports::merge_input(value, access.width, info as u32);
        assert!(access.width == 4 || merged >> (8 * access.width) == value >> (8 * access.width));
        let _ = ports::output(access.port, access.width, ports::output_value(value, access.width));
    }
}

fn processor(a: u64, value: u64, bytes: &mut Bytes) {
    let _ = (msr::classify(a as u32), msr::can_hold(a, value), msr::efer(a, value, bytes.number()));
    let guest = cpuid::Guest { cr4: a, xcr0: value, xcr0_offered: bytes.number(), tsc_khz: bytes.u32() };
    let host = [bytes.u32(), bytes.u32(), bytes.u32(), bytes.u32()];
    let _ = cpuid::filter(value as u32, a as u32, &guest, |_, _| host);
}
