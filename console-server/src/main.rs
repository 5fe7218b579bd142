// SPDX-License-Identifier: MIT OR Apache-2.0
//! console-server: every part's lines, and every guest's, on COM1.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod uart;

use component::Part;
use component::sel4::cap;
use console_server::collector::{Collector, Next};
use console_server::text::Text;
use protocol::config::ConsoleConfig;
use protocol::start::{RangeKind, signal};
use uart::Uart;

component::main!(main);

fn main(part: Part) -> ! {
    let config: ConsoleConfig = part.config().expect("the configuration can be read");
    let ports = part.find(RangeKind::IoPorts).expect("there are ports");
    let uart = Uart::start(cap::IOPort::from_bits(ports.first), ports.physical as u16).expect("COM1 answers");
    let handler: cap::IrqHandler = part.cap(RangeKind::IrqHandler).expect("there is a handler");
    let mut collector = Collector::new(part.log_rings(), &config.rings);
    let mut text = Text::new();
    // In the life before this one a line may have been cut.
    let mut cut = part.restarts() > 0;
    if cut {
        // The interrupt that may have come meanwhile is nobody's.
        let _ = handler.irq_handler_ack();
    }
    component::ready();
    loop {
        // Everything that is there goes out, a line at a time. While the transmitter is busy, its interrupt wakes us.
        loop {
            let next = if core::mem::take(&mut cut) {
                text.set_end();
                Next::Line
            } else {
                collector.next(&mut text)
            };
            if next == Next::Nothing {
                break;
            }
            if let Next::Lost(index) = next {
                tell_space(&part, index);
            }
            let mut rest = text.bytes();
            loop {
                rest = &rest[uart.send(rest)..];
                if rest.is_empty() {
                    break;
                }
                uart.interrupt_when_empty();
                take(&mut collector, &uart, handler, component::wait());
            }
        }
        take(&mut collector, &uart, handler, component::wait());
    }
}

/// Takes in what woke us.
fn take(collector: &mut Collector, uart: &Uart, handler: cap::IrqHandler, bits: u64) {
    if bits & signal::DEVICE != 0 {
        uart.quiet();
        let _ = handler.irq_handler_ack();
    }
    collector.signalled(bits & !signal::DEVICE);
}

/// Tells a VMM whose ring was full that it has space again.
fn tell_space(part: &Part, index: u8) {
    let Some(range) = part.find(RangeKind::ClientNotifications) else { return };
    if u64::from(index) < range.count && index != 0 {
        cap::Notification::from_bits(range.first + u64::from(index)).signal();
    }
}
