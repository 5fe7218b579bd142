// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sink for tests: memory in a map, and a list of what happened.

use crate::Sink;
use crate::descriptor::Descriptor;
use std::collections::HashMap;

/// Something that a sink was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Store(u64, u64),
    Zero(u64),
    Flush(u64, u64),
    Submit(Descriptor),
    Wait,
    Drain,
}

/// The sink.
#[derive(Default)]
pub struct Recorder {
    pub memory: HashMap<u64, u64>,
    pub events: Vec<Event>,
}

impl Recorder {
    /// What happened since the last call.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

impl Sink for Recorder {
    fn load(&mut self, address: u64) -> u64 {
        *self.memory.get(&address).unwrap_or(&0)
    }

    fn store(&mut self, address: u64, value: u64) {
        self.memory.insert(address, value);
        self.events.push(Event::Store(address, value));
    }

    fn zero(&mut self, table: u64) {
        self.memory.retain(|&address, _| address & !0xfff != table);
        self.events.push(Event::Zero(table));
    }

    fn flush(&mut self, address: u64, bytes: u64) {
        self.events.push(Event::Flush(address, bytes));
    }

    fn submit(&mut self, descriptor: Descriptor) {
        self.events.push(Event::Submit(descriptor));
    }

    fn wait(&mut self) {
        self.events.push(Event::Wait);
    }

    fn flush_write_buffer(&mut self) {
        self.events.push(Event::Drain);
    }
}
