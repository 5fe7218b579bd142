// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt lines (INTx): the handler of a pin, which is one device's alone.

use protocol::iommu::{Line, ProbeLine};

use super::*;

impl<K: Kernel> Domains<K> {
    /// Whether a device's line can be had: tried, and undone.
    pub fn probe_line(&mut self, request: ProbeLine) -> Result<(), Error> {
        let index = self.find(request.vm, request.device)?;
        let number = self.make_line(index, self.scratch)?;
        self.lines.give_back(number, 1);
        self.kernel.destroy(self.scratch).map_err(code)
    }

    /// Makes the handler of a device's line, and hands it out. It fires once before anybody acknowledges it, if the line is high.
    pub fn grant_line(&mut self, request: Line) -> Result<(), Error> {
        let index = self.find(request.vm, request.device)?;
        let device = &self.devices[index];
        device.attached.ok_or(Error::NotAttached)?;
        if device.lines.is_some() || device.line.is_some() {
            return Err(Error::AlreadyAttached);
        }
        let Holding { handlers, copies, .. } = device.holding;
        if handlers.count.min(copies.count) == 0 {
            return Err(Error::BadRange);
        }
        let number = self.make_line(index, handlers.at(0))?;
        self.devices[index].line = Some(number);
        self.kernel.copy(copies.at(0), handlers.at(0)).map_err(|error| {
            self.end_line(index);
            code(error)
        })
    }

    fn make_line(&mut self, index: usize, slot: u64) -> Result<u16, Error> {
        let pin = self.devices[index].holding.pin.ok_or(Error::NoLine)?;
        let number = self.lines.take(1, 0).ok_or(Error::NoVectors)?;
        self.kernel.make_line(slot, pin, number as u8).map(|()| number).map_err(|error| {
            self.lines.give_back(number, 1);
            match error {
                sel4_abi::Error::RangeError => Error::NoSuchPin,
                // The numbers are this server's alone.
                sel4_abi::Error::RevokeFirst => Error::PinTaken,
                other => code(other),
            }
        })
    }

    /// Takes a device's line back, if it has it: the kernel masks the pin.
    pub(super) fn end_line(&mut self, index: usize) {
        if let Some(number) = self.devices[index].line.take() {
            let _ = self.kernel.destroy(self.devices[index].holding.handlers.at(0));
            self.lines.give_back(number, 1);
        }
    }
}
