// SPDX-License-Identifier: MIT OR Apache-2.0
//! What iommu-server has to know of its devices after its own death, and what becomes of those of which it doesn't know enough.

use heapless::Vec;
use pci::RequesterId;
use protocol::iommu::{FIRST_LINE, FIRST_VECTOR, LAST_LINE, LAST_VECTOR};
use serde::{Deserialize, Serialize};

use crate::allocate::Numbers;
use crate::domains::{Device, Domains, Lines, MAX_DEVICES};
use crate::kernel::Kernel;

/// A device, without what the start page says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    vm: u16,
    device: u8,
    attached: Option<RequesterId>,
    last: Option<RequesterId>,
    tables_used: u16,
    frames_used: bool,
    lines: Option<Lines>,
    line: Option<u16>,
    cut: bool,
}

/// All of them, and the one to which something is being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    devices: Vec<Record, MAX_DEVICES>,
    busy: Option<(u16, u8)>,
}

/// What became of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// They have domains, as before.
    pub kept: usize,
    /// They were cut off: what was being done to them wasn't finished, or nothing is known of them.
    pub cut: usize,
}

impl<K: Kernel> Domains<K> {
    /// What is to be kept while something is being done to the device `busy`, or to none.
    pub fn state(&self, busy: Option<(u16, u8)>) -> State {
        let record = |device: &Device| Record {
            vm: device.holding.vm,
            device: device.holding.device,
            attached: device.attached,
            last: device.last,
            tables_used: device.tables_used,
            frames_used: device.frames_used,
            lines: device.lines,
            line: device.line,
            cut: device.cut,
        };
        State { devices: self.devices.iter().map(record).collect(), busy }
    }

    /// After this server's death: takes over what was kept, as far as it makes sense. What isn't known to be whole is taken apart.
    pub fn recover(&mut self, kept: Option<State>) -> Recovered {
        let _ = self.kernel.destroy(self.scratch);
        let kept = kept.filter(|state| self.is_sound(state));
        let mut recovered = Recovered::default();
        for index in 0..self.devices.len() {
            let record = kept.as_ref().and_then(|state| state.devices.get(index));
            let device = &mut self.devices[index];
            let id = (device.holding.vm, device.holding.device);
            match record {
                Some(record) if kept.as_ref().is_some_and(|state| state.busy != Some(id)) => {
                    device.attached = record.attached;
                    device.last = record.last;
                    device.tables_used = record.tables_used;
                    device.frames_used = record.frames_used;
                    device.lines = record.lines;
                    device.line = record.line;
                    device.cut = record.cut;
                    if let Some(lines) = record.lines {
                        self.vectors.take_these(lines.vector, lines.count);
                        if self.features.interrupt_remapping {
                            self.entries.take_these(lines.handle, lines.count);
                        }
                    }
                    if let Some(number) = record.line {
                        self.lines.take_these(number, 1);
                    }
                    recovered.kept += usize::from(record.attached.is_some());
                }
                _ => {
                    device.last = record.and_then(|record| record.last);
                    self.take_apart(index);
                    recovered.cut += 1;
                }
            }
        }
        recovered
    }

    /// Whether a state can be this one's: the devices of the start page, with numbers that exist and that nobody has twice.
    fn is_sound(&self, state: &State) -> bool {
        let mut entries = Numbers::new(0, self.features.entries.min(crate::allocate::MAX as u32) as u16);
        let mut vectors = Numbers::new(FIRST_VECTOR.into(), u16::from(LAST_VECTOR - FIRST_VECTOR) + 1);
        let mut numbers = Numbers::new(FIRST_LINE.into(), u16::from(LAST_LINE - FIRST_LINE) + 1);
        let mut line_is_sound = |device: &Device, number: u16| {
            device.holding.pin.is_some()
                && device.holding.handlers.count.min(device.holding.copies.count) > 0
                && numbers.take_these(number, 1)
        };
        let mut lines_are_sound = |device: &Device, lines: Lines| {
            (1..=device.holding.handlers.count.min(device.holding.copies.count)).contains(&lines.count)
                && vectors.take_these(lines.vector, lines.count)
                && (!self.features.interrupt_remapping || entries.take_these(lines.handle, lines.count))
        };
        let mut seen: Vec<RequesterId, MAX_DEVICES> = Vec::new();
        let mut is_sound = |(device, record): (&Device, &Record)| {
            let once = record.attached.is_none_or(|requester| {
                !seen.contains(&requester) && seen.push(requester).is_ok() && record.last == Some(requester)
            });
            (device.holding.vm, device.holding.device) == (record.vm, record.device)
                && once
                && record.tables_used <= device.holding.tables.count
                && record
                    .lines
                    .is_none_or(|lines| record.attached.is_some() && lines_are_sound(device, lines))
                && record.line.is_none_or(|number| {
                    record.attached.is_some() && record.lines.is_none() && line_is_sound(device, number)
                })
        };
        self.devices.len() == state.devices.len()
            && self.devices.iter().zip(&state.devices).all(&mut is_sound)
            && state.busy.is_none_or(|(vm, device)| self.find(vm, device).is_ok())
    }

    /// Takes everything away that a device may have, whatever that is. Frames and tables are unmapped when they are mapped anew.
    fn take_apart(&mut self, index: usize) {
        let device = &mut self.devices[index];
        let holding = &device.holding;
        let _ = self.kernel.destroy(holding.io_space);
        for number in 0..holding.handlers.count {
            let _ = self.kernel.destroy(holding.handlers.at(number));
        }
        device.tables_used = holding.tables.count;
        device.frames_used = true;
        device.attached = None;
        device.lines = None;
        device.line = None;
        device.cut = true;
    }
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
