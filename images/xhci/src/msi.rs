// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSI with several messages (PCI Local Bus 3.0, section 6.8.1): the device puts a message's number into the low bits of the data.

use crate::device::Xhci;
use crate::vectors::Vectors;
use alloc::string::String;
use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{Function, Message};

const ID: u8 = 5;
const CONTROL: usize = 2;
const ENABLE: u16 = 1;
const WIDE: u16 = 1 << 7;

/// The capability.
pub struct Capability {
    config: Mmio,
    offset: usize,
}

impl Capability {
    /// The function's, if it has one with a wide address.
    pub fn of(function: &Function) -> Option<Self> {
        let msi = Self { config: *function.config(), offset: function.capabilities().find_id(ID)? };
        (msi.control() & WIDE != 0).then_some(msi)
    }

    fn control(&self) -> u16 {
        self.config.read16(self.offset + CONTROL)
    }

    /// Messages that it offers, as a power of two.
    fn offered(&self) -> u16 {
        self.control() >> 1 & 7
    }

    fn set(&self, enabled: bool, log2: u16) {
        let control = self.control() & !(ENABLE | 7 << 4) | log2 << 4 | u16::from(enabled);
        self.config.write16(self.offset + CONTROL, control);
    }

    /// Writes the message in one order, or in halves and backwards.
    fn program(&self, message: Message, odd: bool) {
        let [low, high] = [message.address as u32, (message.address >> 32) as u32];
        if odd {
            let data = message.data as u16;
            self.config.write8(self.offset + 13, (data >> 8) as u8);
            self.config.write32(self.offset + 8, high);
            self.config.write16(self.offset + 6, (low >> 16) as u16);
            self.config.write8(self.offset + 12, data as u8);
            self.config.write16(self.offset + 4, low as u16);
        } else {
            self.config.write32(self.offset + 4, low);
            self.config.write32(self.offset + 8, high);
            self.config.write16(self.offset + 12, message.data as u16);
        }
    }
}

/// Runs the checks.
pub fn run(xhci: &mut Xhci, msi: &Capability, checks: &mut Checks) -> Result<(), &'static str> {
    let log2 = msi.offered();
    let count = 1 << log2;
    checks.equal("msi-messages", count, xhci.interrupters());
    let mut vectors = Vectors::take(count)?;
    let message = Message::to_this_cpu(vectors.at(0));
    msi.program(message, false);
    msi.set(true, log2);
    xhci.turn_on();
    checks.report("msi-each-its-own", each(xhci, &mut vectors, count));
    msi.set(false, 0);
    msi.program(Message { address: 0, data: 0 }, false);
    msi.set(true, log2);
    msi.program(message, true);
    checks.report("msi-written-in-halves", each(xhci, &mut vectors, count));
    msi.set(true, 2);
    checks.report("msi-fewer-fold", folded(xhci, &mut vectors));
    // Numbers in the data's low bits are the device's to set, whatever the guest left there.
    msi.program(Message { data: message.data | 3, ..message }, false);
    checks.report("msi-low-bits-are-the-devices", folded(xhci, &mut vectors));
    Ok(())
}

/// Each of the messages alone, then all at once.
fn each(xhci: &Xhci, vectors: &mut Vectors, count: usize) -> Result<(), String> {
    for step in 0..count {
        // 5 is coprime to every power of two.
        let number = step * 5 % count;
        xhci.ring(number);
        vectors.expect(&[number])?;
    }
    let all: alloc::vec::Vec<_> = (0..count).collect();
    all.iter().for_each(|&number| xhci.ring(number));
    vectors.expect(&all)
}

/// With four messages the sixth interrupter has the second one.
fn folded(xhci: &Xhci, vectors: &mut Vectors) -> Result<(), String> {
    for number in [5, 3, 14, 0] {
        xhci.ring(number);
        vectors.expect(&[number % 4])?;
    }
    Ok(())
}
