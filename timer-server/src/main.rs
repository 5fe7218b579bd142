// SPDX-License-Identifier: MIT OR Apache-2.0
//! timer-server: one-shot deadlines for all parts, from one comparator of the HPET.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

mod hpet;

use component::sel4::cap;
use component::{Answer, Message, Part, Server, cpu};
use hpet::Hpet;
use protocol::client;
use protocol::config::TimerConfig;
use protocol::start::{RangeKind, signal};
use protocol::timer::{Cancel, SetDeadline, TimerError};
use protocol::{Protocol, Refusal, Request};
use timer_server::deadlines::{self, Deadlines};
use timer_server::scale::Scale;

component::main!(main);

fn main(mut part: Part) -> ! {
    match Timer::new(&mut part) {
        Ok(mut timer) => {
            component::log!(
                "HPET at {:#x}, {} kHz, comparator {} on pin {}",
                timer.hpet.physical(),
                1_000_000_000_000 / timer.hpet.period(),
                timer.config.comparator,
                timer.config.pin
            );
            component::ready();
            if part.restarts() > 0 {
                timer.begin_anew();
            }
            component::serve(&mut timer)
        }
        Err(reason) => panic!("{reason}"),
    }
}

struct Timer {
    config: TimerConfig,
    hpet: Hpet,
    handler: cap::IrqHandler,
    scale: Scale,
    deadlines: Deadlines,
    /// The deadline that the comparator is set for.
    armed: Option<u64>,
    /// First of the clients' notifications, and how many there are.
    clients: (u64, u64),
}

impl Timer {
    fn new(part: &mut Part) -> Result<Self, &'static str> {
        let config: TimerConfig = part.config().map_err(|_| "the configuration can't be read")?;
        let registers = part.registers(0).ok_or("there are no HPET registers")?;
        let hpet = Hpet::start(registers, config).ok_or("the HPET has no such comparator or pin")?;
        let scale =
            Scale::new(part.facts().tsc_khz, hpet.period()).ok_or("the clocks' rates make no sense")?;
        // The root task has bound it to this part's notification, badged `signal::DEVICE`.
        let handler: cap::IrqHandler = part.cap(RangeKind::IrqHandler).ok_or("there is no handler")?;
        let clients = part.find(RangeKind::ClientNotifications).ok_or("there are no clients")?;
        Ok(Self {
            config,
            hpet,
            handler,
            scale,
            deadlines: Deadlines::new(),
            armed: None,
            clients: (clients.first, clients.count.min(deadlines::MAX as u64)),
        })
    }

    /// The index of a client that can be signalled.
    fn known(&self, client: u64) -> Result<usize, TimerError> {
        match client::index(client) {
            Some(index) if (index as u64) < self.clients.1 => Ok(index),
            _ => Err(TimerError::NoNotification),
        }
    }

    fn set(&mut self, client: u64, tsc: u64) -> Result<(), TimerError> {
        let index = self.known(client)?;
        self.deadlines.set(index, tsc);
        // The comparator is touched only if it has to fire earlier than it would: a spare interrupt is cheaper.
        if self.armed.is_none_or(|armed| tsc < armed) {
            self.settle();
        }
        Ok(())
    }

    /// The deadlines went with the life before this one: everybody who may have had one is told, looks at the clock, and asks again. The
    /// interrupt that may have come meanwhile is nobody's.
    fn begin_anew(&mut self) {
        let _ = self.handler.irq_handler_ack();
        for index in 0..self.clients.1 {
            cap::Notification::from_bits(self.clients.0 + index).signal();
        }
    }

    /// Signals who is due, and sets the comparator for who is next.
    fn settle(&mut self) {
        loop {
            let now = cpu::tsc();
            for index in deadlines::bits(self.deadlines.take_due(now)) {
                cap::Notification::from_bits(self.clients.0 + index as u64).signal();
            }
            self.armed = self.deadlines.earliest();
            let Some(next) = self.armed else { return };
            if self.hpet.arm(self.scale.to_hpet(next.saturating_sub(now))) {
                return;
            }
        }
    }
}

impl Server for Timer {
    fn request(&mut self, message: &Message) -> Answer {
        match message.operation(Protocol::TIMER) {
            Ok(SetDeadline::OPERATION) => message.answer(|SetDeadline { tsc }| self.set(message.client, tsc)),
            Ok(Cancel::OPERATION) => message.answer(|Cancel| {
                let index = self.known(message.client)?;
                self.deadlines.cancel(index);
                Ok(())
            }),
            Ok(_) => Answer::refuse(Refusal::UnknownOperation),
            Err(refusal) => Answer::refuse(refusal),
        }
    }

    fn signal(&mut self, bits: u64) {
        if bits & signal::DEVICE != 0 {
            self.hpet.clear();
            self.settle();
            let _ = self.handler.irq_handler_ack();
        }
    }
}
