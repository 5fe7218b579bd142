// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every I/O port, in every width. On Postern only the UART and the address of configuration space answer; elsewhere ports are only read.

use guest_runtime::checks::Checks;
use guest_runtime::{cpu, cpuid, println};

const UART: core::ops::Range<u32> = 0x3f8..0x400;
/// The address of configuration space answers to four bytes.
const CONFIG: core::ops::Range<u32> = 0xcf8..0xcfc;
/// Ports where a write ends the guest: debug exit, power-off, reset.
const FATAL: [core::ops::Range<u32>; 3] = [0xf4..0xf8, 0x600..0x608, 0xcf8..0xd00];

fn touches(ranges: &[core::ops::Range<u32>], port: u16, width: u32) -> bool {
    let access = u32::from(port)..u32::from(port) + width;
    ranges.iter().any(|range| access.start < range.end && range.start < access.end)
}

pub fn run(checks: &mut Checks) {
    let mut answering = 0;
    for port in 0..=u16::MAX {
        let byte = cpu::in8(port);
        if byte != 0xff && !touches(&[UART], port, 1) {
            answering += 1;
            println!("hostile: port {port:#06x} = {byte:#04x}");
        }
    }
    // Wider accesses, also across the ends of devices and of the port space.
    let some = || (0..0x1000).chain((0x1000..=u16::MAX).step_by(0xff1)).chain(0xfff0..=u16::MAX);
    for port in some() {
        if !touches(&[UART, CONFIG], port, 4) && (cpu::in16(port) != 0xffff || cpu::in32(port) != u32::MAX) {
            answering += 1;
        }
    }
    checks.report("port-reads-survived", Ok::<(), &str>(()));
    if cpuid::postern().is_none() {
        return;
    }
    checks.equal("ports-that-answer", answering, 0);
    for port in (0..=u16::MAX).filter(|port| !touches(&[UART], *port, 1) && !touches(&FATAL, *port, 1)) {
        // SAFETY: on Postern nothing is there; that is what is tested.
        unsafe { cpu::out8(port, u8::MAX) };
    }
    for port in some() {
        if touches(&[UART], port, 4) || touches(&FATAL, port, 4) {
            continue;
        }
        for value in [0, u32::MAX] {
            // SAFETY: on Postern nothing is there; that is what is tested.
            unsafe {
                cpu::out8(port, value as u8);
                cpu::out16(port, value as u16);
                cpu::out32(port, value);
            }
        }
    }
    checks.report("port-writes-survived", Ok::<(), &str>(()));
}
