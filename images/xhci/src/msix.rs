// SPDX-License-Identifier: MIT OR Apache-2.0
//! MSI-X (PCI Local Bus 3.0, section 6.8.2): each vector has a message, a mask and a pending bit.

use crate::device::Xhci;
use crate::vectors::Vectors;
use alloc::format;
use alloc::string::String;
use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{Function, Message};

const ID: u8 = 0x11;
const CONTROL: usize = 2;
const ENABLE: u16 = 1 << 15;
const MASK_ALL: u16 = 1 << 14;
const ENTRY: usize = 16;
const MASK: usize = 12;

/// Capability, table and pending bits.
pub struct Table {
    config: Mmio,
    offset: usize,
    count: usize,
    table: Mmio,
    pending: Mmio,
}

impl Table {
    /// The function's, if it has one.
    pub fn of(function: &Function) -> Option<Self> {
        let config = *function.config();
        let offset = function.capabilities().find_id(ID)?;
        let count = usize::from(config.read16(offset + CONTROL) & 0x7ff) + 1;
        let part = |register, bytes| {
            let place = config.read32(offset + register);
            function.bar((place & 7) as u8)?.registers().part((place & !7) as usize, bytes)
        };
        let (table, pending) = (part(4, count * ENTRY)?, part(8, count.div_ceil(64) * 8)?);
        Some(Self { config, offset, count, table, pending })
    }

    fn set(&self, bits: u16) {
        let control = self.config.read16(self.offset + CONTROL) & !(ENABLE | MASK_ALL);
        self.config.write16(self.offset + CONTROL, control | bits);
    }

    /// Writes an entry, backwards if `odd`, and unmasks it.
    pub fn program(&self, number: usize, message: Message, odd: bool) {
        let entry = number * ENTRY;
        let words =
            [(0, message.address as u32), (4, (message.address >> 32) as u32), (8, message.data), (MASK, 0)];
        let write = |(word, value)| self.table.write32(entry + word, value);
        if odd { words.into_iter().rev().for_each(write) } else { words.into_iter().for_each(write) }
    }

    /// Masks a vector, or unmasks it.
    pub fn mask(&self, number: usize, masked: bool) {
        self.table.write32(number * ENTRY + MASK, masked.into());
    }

    /// Masks every vector.
    pub fn mask_all(&self) {
        (0..self.count).for_each(|number| self.mask(number, true));
    }

    /// Turns MSI-X on.
    pub fn enable_all(&self) {
        self.set(ENABLE);
    }

    /// How many vectors there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The entries.
    pub fn table(&self) -> Mmio {
        self.table
    }

    /// The pending bits.
    pub fn pending(&self) -> Mmio {
        self.pending
    }

    fn is_pending(&self, number: usize) -> bool {
        self.pending.read32(number / 32 * 4) & 1 << (number % 32) != 0
    }
}

/// Runs the checks.
pub fn run(xhci: &mut Xhci, table: &Table, checks: &mut Checks) -> Result<(), &'static str> {
    let mut vectors = Vectors::take(table.count)?;
    checks.equal("msix-vectors", table.count, xhci.interrupters());
    table.set(ENABLE | MASK_ALL);
    for number in 0..table.count {
        table.program(number, Message::to_this_cpu(vectors.at(number)), number % 2 == 1);
    }
    table.set(ENABLE);
    xhci.turn_on();
    checks.report("msix-each-its-own", each(xhci, table, &mut vectors));
    checks.report("msix-a-masked-vector-is-pending", masked(xhci, table, &mut vectors));
    checks.report("msix-all-masked", all_masked(xhci, table, &mut vectors));
    checks.report("msix-a-message-can-change-while-masked", changed(xhci, table, &mut vectors));
    Ok(())
}

fn each(xhci: &Xhci, table: &Table, vectors: &mut Vectors) -> Result<(), String> {
    for step in 0..table.count {
        let number = step * 5 % table.count;
        xhci.ring(number);
        vectors.expect(&[number])?;
    }
    Ok(())
}

fn pending(table: &Table, number: usize, wanted: bool) -> Result<(), String> {
    match table.is_pending(number) == wanted {
        true => Ok(()),
        false => Err(format!("the pending bit of vector {number} isn't {wanted}")),
    }
}

fn masked(xhci: &Xhci, table: &Table, vectors: &mut Vectors) -> Result<(), String> {
    table.mask(3, true);
    xhci.ring(3);
    xhci.ring(4);
    vectors.expect(&[4])?;
    vectors.expect_none()?;
    pending(table, 3, true)?;
    pending(table, 4, false)?;
    table.mask(3, false);
    vectors.expect(&[3])?;
    pending(table, 3, false)
}

fn all_masked(xhci: &Xhci, table: &Table, vectors: &mut Vectors) -> Result<(), String> {
    table.set(ENABLE | MASK_ALL);
    xhci.ring(2);
    xhci.ring(11);
    vectors.expect_none()?;
    (pending(table, 2, true)).and(pending(table, 11, true)).and(pending(table, 5, false))?;
    table.set(ENABLE);
    vectors.expect(&[2, 11])
}

fn changed(xhci: &Xhci, table: &Table, vectors: &mut Vectors) -> Result<(), String> {
    table.mask(6, true);
    xhci.ring(6);
    vectors.expect_none()?;
    // In any order, and unmasked by the last word.
    table.program(6, Message::to_this_cpu(vectors.at(9)), false);
    vectors.expect(&[9])?;
    table.program(6, Message::to_this_cpu(vectors.at(6)), false);
    Ok(())
}
