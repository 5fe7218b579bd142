// SPDX-License-Identifier: MIT OR Apache-2.0
//! console-server: every part's lines, and every guest's, on COM1; and what is asked there about the inside.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod inside;
mod uart;

use component::Part;
use component::sel4::cap;
use console_server::collector::{Collector, Next};
use console_server::input::{Input, LINE};
use console_server::look::Looker;
use console_server::text::Text;
use inside::Asked;
use protocol::config::ConsoleConfig;
use protocol::start::{RangeKind, signal};
use uart::Uart;

component::main!(main);

fn main(part: Part) -> ! {
    let config: ConsoleConfig = part.config().expect("the configuration can be read");
    let ports = part.find(RangeKind::IoPorts).expect("there are ports");
    let uart = Uart::start(cap::IOPort::from_bits(ports.first), ports.physical as u16).expect("COM1 answers");
    let handler: cap::IrqHandler = part.cap(RangeKind::IrqHandler).expect("there is a handler");
    let mut console = Console {
        uart,
        handler,
        collector: Collector::new(part.log_rings(), &config.rings),
        input: Input::new(),
        shown: false,
    };
    let mut looker = Looker::new(&config.rings);
    let mut text = Text::new();
    let is_anew = part.restarts() > 0;
    if is_anew {
        // The interrupt that may have come meanwhile is nobody's.
        let _ = console.handler.irq_handler_ack();
    }
    component::ready();
    if is_anew {
        // In the life before this one a line may have been cut, or an answer.
        text.set_end();
        console.send(&text);
        looker.begin_anew();
    }
    loop {
        // Everything that is there goes out, a line at a time, the log's and an answer's in turn.
        let next = console.collector.next(&mut text);
        if next != Next::Nothing {
            if let Next::Lost(index) = next {
                tell_space(&part, index);
            }
            console.send(&text);
        }
        if core::mem::take(&mut console.shown) {
            looker.wake();
        }
        if looker.is_waiting() && !console.input.wants_more() {
            // Whoever types on doesn't want to wait.
            looker.give_up();
        }
        if looker.is_idle()
            && let Some(line) = console.input.take(&mut [0; LINE])
        {
            looker.ask(line);
        }
        let answered = looker.next(&mut Asked, &mut text);
        if answered {
            console.send(&text);
        }
        if next == Next::Nothing && !answered {
            console.wait(false);
        }
    }
}

/// COM1, and what comes from both its sides.
struct Console<'a> {
    uart: Uart,
    handler: cap::IrqHandler,
    collector: Collector<'a>,
    input: Input,
    /// Somebody has shown what was asked for.
    shown: bool,
}

impl Console<'_> {
    /// Sends a line. While the transmitter is busy, its interrupt wakes us.
    fn send(&mut self, text: &Text) {
        let mut rest = text.bytes();
        loop {
            rest = &rest[self.uart.send(rest)..];
            if rest.is_empty() {
                return;
            }
            self.wait(true);
        }
    }

    /// Waits for lines of others, for input as long as there is room for it, and, if `sending`, for the transmitter.
    fn wait(&mut self, sending: bool) {
        self.uart.interrupt_on(self.input.wants_more(), sending);
        let bits = component::wait();
        if bits & signal::DEVICE != 0 {
            self.uart.quiet();
            let _ = self.handler.irq_handler_ack();
            while self.input.wants_more()
                && let Some(byte) = self.uart.receive()
            {
                self.input.type_in(byte);
            }
        }
        self.shown |= bits & signal::SHOWN != 0;
        self.collector.signalled(bits & !(signal::DEVICE | signal::SHOWN));
    }
}

/// Tells a VMM whose ring was full that it has space again.
fn tell_space(part: &Part, index: u8) {
    let Some(range) = part.find(RangeKind::ClientNotifications) else { return };
    if u64::from(index) < range.count && index != 0 {
        cap::Notification::from_bits(range.first + u64::from(index)).signal();
    }
}
