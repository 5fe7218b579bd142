// SPDX-License-Identifier: MIT OR Apache-2.0
//! Base address registers: decoding and sizing (PCI Local Bus 3.0, section 6.2.5).

use core::fmt;

use crate::address::Address;
use crate::config::{ConfigSpace, command, register};
use serde::{Deserialize, Serialize};

/// What kind of space a BAR asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
}

/// The index under which the expansion ROM is kept, behind those of the BARs.
pub const ROM: u8 = 6;
/// Bits of the expansion ROM's register that are its address (section 6.2.5.2).
const ROM_ADDRESS: u32 = !0x7ff;
/// Bit of that register: the device answers there, if it answers memory accesses at all.
pub const ROM_ENABLE: u32 = 1;

/// What the register with this index is, in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name(pub u8);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ROM => f.write_str("expansion ROM"),
            index => write!(f, "BAR {index}"),
        }
    }
}

/// Offset in configuration space of the register with this index.
pub const fn register_of(index: u8) -> u16 {
    match index {
        ROM => register::ROM,
        _ => register::BAR + 4 * index as u16,
    }
}

/// A base address register that is implemented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bar {
    /// Index of its first register, 0 to 5; [`ROM`] for the expansion ROM.
    pub index: u8,
    /// Kind of space.
    pub kind: Kind,
    /// Reads have no side effects.
    pub prefetchable: bool,
    /// Physical address or port; 0 if unassigned.
    pub base: u64,
    /// Bytes, a power of two.
    pub size: u64,
}

impl Bar {
    /// It is memory.
    pub const fn is_memory(&self) -> bool {
        !matches!(self.kind, Kind::Io)
    }

    /// Firmware gave it a place: not at zero, aligned to its size, and without wrapping around.
    pub const fn is_assigned(&self) -> bool {
        self.base != 0 && self.base & (self.size - 1) == 0 && self.base.checked_add(self.size).is_some()
    }

    /// Whether an access lies in it.
    pub const fn holds(&self, offset: u64, bytes: u64) -> bool {
        match offset.checked_add(bytes) {
            Some(end) => end <= self.size,
            None => false,
        }
    }
}

/// The BARs of a function, by index of their first register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Bars {
    bars: [Option<Bar>; 7],
    /// Registers that can't be understood, a bit each.
    pub bad: u8,
}

impl Bars {
    /// The BAR whose first register has this index.
    pub fn get(&self, index: u8) -> Option<&Bar> {
        self.bars.get(usize::from(index))?.as_ref()
    }

    /// Adds the expansion ROM.
    pub fn add_rom(&mut self, rom: Bar) {
        self.bars[usize::from(ROM)] = Some(Bar { index: ROM, ..rom });
    }

    /// Takes one out, so that nobody sees it.
    pub fn hide(&mut self, index: u8) {
        if let Some(bar) = self.bars.get_mut(usize::from(index)) {
            *bar = None;
        }
    }

    /// All that are implemented.
    pub fn iter(&self) -> impl Iterator<Item = &Bar> + Clone {
        self.bars.iter().flatten()
    }

    /// The same, each where `base` says.
    #[must_use]
    pub fn moved(mut self, mut base: impl FnMut(&Bar) -> u64) -> Self {
        for bar in self.bars.iter_mut().flatten() {
            bar.base = base(bar);
        }
        self
    }
}

/// Reads and sizes `count` BARs (6 for an endpoint, 2 for a bridge). Decoding is off meanwhile, and then as it was, so
/// the device answers nowhere while its BARs hold all ones.
pub fn probe<C: ConfigSpace + ?Sized>(space: &C, at: Address, count: u8) -> Bars {
    let old = space.read16(at, register::COMMAND);
    space.write16(at, register::COMMAND, old & !(command::IO | command::MEMORY));
    let bars = probe_registers(space, at, register::BAR, count.min(6));
    space.write16(at, register::COMMAND, old);
    bars
}

/// Reads and sizes the `count` registers (6 at most) from offset `first` on; nothing of the function may be decoding them.
pub(crate) fn probe_registers<C: ConfigSpace + ?Sized>(
    space: &C,
    at: Address,
    first: u16,
    count: u8,
) -> Bars {
    let mut bars = Bars::default();
    let mut index = 0;
    while index < count {
        match probe_one(space, at, first, index, index + 1 < count) {
            Ok(Some(bar)) => {
                bars.bars[usize::from(index)] = Some(bar);
                if bar.kind == Kind::Memory64 {
                    index += 1;
                }
            }
            Ok(None) => {}
            Err(()) => bars.bad |= 1 << index,
        }
        index += 1;
    }
    bars
}

/// Reads and sizes an endpoint's expansion ROM; `None` if it has none. It is off afterwards.
pub fn probe_rom<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Option<Bar> {
    let old = space.read32(at, register::ROM) & !ROM_ENABLE;
    // All ones but the bit that turns it on.
    space.write32(at, register::ROM, ROM_ADDRESS);
    let mask = space.read32(at, register::ROM) & ROM_ADDRESS;
    space.write32(at, register::ROM, old);
    let size = u64::from((!mask).wrapping_add(1));
    let base = u64::from(old & ROM_ADDRESS);
    (mask != 0 && size.is_power_of_two()).then_some(Bar {
        index: ROM,
        kind: Kind::Memory32,
        prefetchable: false,
        base,
        size,
    })
}

/// An endpoint's expansion ROM doesn't answer any more.
pub fn turn_off_rom<C: ConfigSpace + ?Sized>(space: &C, at: Address) {
    let old = space.read32(at, register::ROM);
    if old & ROM_ENABLE != 0 {
        space.write32(at, register::ROM, old & !ROM_ENABLE);
    }
}

/// Writes all ones, reads back, restores.
fn size_register<C: ConfigSpace + ?Sized>(space: &C, at: Address, offset: u16) -> (u32, u32) {
    let old = space.read32(at, offset);
    space.write32(at, offset, u32::MAX);
    let mask = space.read32(at, offset);
    space.write32(at, offset, old);
    (old, mask)
}

fn probe_one<C: ConfigSpace + ?Sized>(
    space: &C,
    at: Address,
    first: u16,
    index: u8,
    has_next: bool,
) -> Result<Option<Bar>, ()> {
    let offset = first + 4 * u16::from(index);
    let (old, mask) = size_register(space, at, offset);
    if mask == 0 {
        return Ok(None);
    }
    if old & 1 != 0 {
        // The upper 16 bits may be hardwired to zero.
        let size = u64::from(!(mask & !3 | 0xffff_0000) & 0xffff).wrapping_add(1);
        let bar =
            Bar { index, kind: Kind::Io, prefetchable: false, base: u64::from(old & !3 & 0xffff), size };
        return if mask & !3 != 0 && size.is_power_of_two() { Ok(Some(bar)) } else { Err(()) };
    }
    let prefetchable = old & 8 != 0;
    let (kind, base, mask) = match old >> 1 & 3 {
        // 01 meant "below 1 MiB" once; the rest is as for 32 bits.
        0 | 1 => (Kind::Memory32, u64::from(old & !0xf), u64::from(mask & !0xf) | !0 << 32),
        2 if has_next => {
            let (old_high, mask_high) = size_register(space, at, offset + 4);
            let base = u64::from(old_high) << 32 | u64::from(old & !0xf);
            (Kind::Memory64, base, u64::from(mask_high) << 32 | u64::from(mask & !0xf))
        }
        _ => return Err(()),
    };
    let size = (!mask).wrapping_add(1);
    if !size.is_power_of_two() || kind == Kind::Memory32 && mask as u32 == 0 {
        return Err(());
    }
    Ok(Some(Bar { index, kind, prefetchable, base, size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Machine, Random};

    #[test]
    fn kinds_and_sizes() {
        let machine = Machine::new();
        let at = machine.endpoint("00:01.0", 1, 2);
        machine.bar(at, 0, 0, 0xfeb0_0000, 1 << 20);
        machine.bar(at, 1, 1, 0xc040, 32);
        machine.bar(at, 2, 0xc, 0x80_0000_0000, 16 << 30);
        machine.bar(at, 4, 0xc, 0xfe00_0000, 0x4000);
        let bars = probe(&machine, at, 6);
        assert_eq!(bars.bad, 0);
        let expected = [
            Bar { index: 0, kind: Kind::Memory32, prefetchable: false, base: 0xfeb0_0000, size: 1 << 20 },
            Bar { index: 1, kind: Kind::Io, prefetchable: false, base: 0xc040, size: 32 },
            Bar { index: 2, kind: Kind::Memory64, prefetchable: true, base: 0x80_0000_0000, size: 16 << 30 },
            Bar { index: 4, kind: Kind::Memory64, prefetchable: true, base: 0xfe00_0000, size: 0x4000 },
        ];
        assert_eq!(bars.iter().copied().collect::<Vec<_>>(), expected);
        assert!(bars.iter().all(Bar::is_assigned));
    }

    #[test]
    fn everything_is_as_before_and_decoding_was_off() {
        let machine = Machine::new();
        let at = machine.endpoint("00:01.0", 1, 2);
        machine.bar(at, 0, 0, 0xfeb0_0000, 1 << 12);
        machine.bar(at, 2, 4, 0x1_0000_0000, 1 << 12);
        machine.set16(at, register::COMMAND, command::MEMORY | command::IO | command::INTX_DISABLE);
        probe(&machine, at, 6);
        assert_eq!(machine.read16(at, register::COMMAND), 0x403);
        assert_eq!(machine.read32(at, 0x10), 0xfeb0_0000);
        assert_eq!(machine.read32(at, 0x18), 4);
        assert_eq!(machine.read32(at, 0x1c), 1);
        let writes = machine.writes.borrow();
        assert_eq!((writes.first().unwrap().1, writes.first().unwrap().3), (register::COMMAND, 0x400));
        assert_eq!((writes.last().unwrap().1, writes.last().unwrap().3), (register::COMMAND, 0x403));
    }

    #[test]
    fn the_rom_is_sized_and_never_on() {
        let machine = Machine::new();
        let at = machine.endpoint("00:01.0", 1, 2);
        assert_eq!(probe_rom(&machine, at), None);
        machine.set32(at, 0x30, 0xfeb4_0001);
        machine.writable32(at, 0x30, 0xffff_0001);
        let rom = probe_rom(&machine, at).unwrap();
        assert_eq!((rom.index, rom.base, rom.size), (ROM, 0xfeb4_0000, 0x1_0000));
        assert_eq!(machine.read32(at, 0x30), 0xfeb4_0000, "off");
        assert!(
            machine.writes.borrow().iter().all(|(_, offset, _, value)| *offset != 0x30 || value & 1 == 0)
        );
        machine.writable32(at, 0x30, 0xf0f0_0000);
        assert_eq!(probe_rom(&machine, at), None, "no size");
    }

    #[test]
    fn unassigned_is_seen() {
        let bar = Bar { index: 0, kind: Kind::Memory32, prefetchable: false, base: 0, size: 4096 };
        assert!(!bar.is_assigned());
        assert!(!Bar { base: 0x800, ..bar }.is_assigned());
        assert!(!Bar { base: u64::MAX - 4095, ..bar }.is_assigned());
        assert!(Bar { base: 0x1000, ..bar }.is_assigned());
    }

    #[test]
    fn a_64_bit_bar_in_the_last_register_is_bad() {
        let machine = Machine::new();
        let at = machine.endpoint("00:01.0", 1, 2);
        machine.set32(at, 0x24, 4);
        machine.writable32(at, 0x24, 0xffff_f000);
        let bars = probe(&machine, at, 6);
        assert_eq!((bars.bad, bars.iter().count()), (1 << 5, 0));
    }

    #[test]
    fn hostile_masks_never_give_a_size_that_is_no_power_of_two() {
        let mut random = Random(3);
        for _ in 0..3000 {
            let machine = Machine::new();
            let at = machine.endpoint("00:01.0", 1, 2);
            for register in 0..6 {
                machine.set32(at, 0x10 + 4 * register, random.next() as u32);
                let shape = random.next() as u32;
                let mask = if shape & 1 == 0 { random.next() as u32 } else { u32::MAX << (shape >> 8 & 31) };
                machine.writable32(at, 0x10 + 4 * register, mask);
            }
            for bar in probe(&machine, at, 6).iter() {
                assert!(bar.size.is_power_of_two());
                assert!(!bar.is_assigned() || bar.holds(0, bar.size));
                assert!(!bar.holds(bar.size, 1) && !bar.holds(u64::MAX, 1));
            }
        }
    }
}
