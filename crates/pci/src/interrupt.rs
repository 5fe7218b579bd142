// SPDX-License-Identifier: MIT OR Apache-2.0
//! Message-signalled interrupts: PCI Local Bus 3.0, section 6.8, and the message formats of Intel VT-d, section 5.1.

use crate::address::Address;
use crate::bar::Bars;
use crate::capability::{self, id};
use crate::config::ConfigSpace;
use serde::{Deserialize, Serialize};

/// The MSI capability (section 6.8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Msi {
    /// Offset of the capability.
    pub offset: u16,
    /// Messages the device can send, as a power of two, 0 to 5.
    pub log2_messages: u8,
    /// The message address has 64 bits.
    pub wide: bool,
    /// Each message can be masked.
    pub maskable: bool,
}

impl Msi {
    /// Enable bit of the control word.
    pub const ENABLE: u16 = 1;

    /// Offset of the control word.
    pub const fn control(&self) -> u16 {
        self.offset + 2
    }
    /// Offset of the message address; its upper half follows if it is wide.
    pub const fn address(&self) -> u16 {
        self.offset + 4
    }
    /// Offset of the message data.
    pub const fn data(&self) -> u16 {
        self.offset + if self.wide { 12 } else { 8 }
    }
    /// Offset of the mask bits, if they are there.
    pub const fn mask(&self) -> Option<u16> {
        if self.maskable { Some(self.data() + 4) } else { None }
    }
    /// Bytes of the capability.
    pub const fn length(&self) -> u16 {
        match (self.wide, self.maskable) {
            (false, false) => 10,
            (true, false) => 14,
            (false, true) => 20,
            (true, true) => 24,
        }
    }

    /// Reads it; `None` if the function hasn't any, or one that makes no sense.
    pub fn read<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Option<Self> {
        let offset = capability::find(space, at, id::MSI)?;
        let control = space.read16(at, offset + 2);
        let log2_messages = (control >> 1 & 7) as u8;
        let msi =
            Self { offset, log2_messages, wide: control & 1 << 7 != 0, maskable: control & 1 << 8 != 0 };
        (log2_messages <= 5 && offset + msi.length() <= 0x100).then_some(msi)
    }

    /// The control word that enables 2^`log2_messages` messages, or none.
    pub const fn control_word(&self, old: u16, enable: bool, log2_messages: u8) -> u16 {
        old & !(7 << 4 | 1) | (log2_messages as u16) << 4 | enable as u16
    }
}

/// The MSI-X capability (section 6.8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MsiX {
    /// Offset of the capability.
    pub offset: u16,
    /// Entries of the table, 1 to 2048.
    pub entries: u16,
    /// Index of the table's BAR.
    pub table_bar: u8,
    /// Byte offset of the table in it.
    pub table_offset: u32,
    /// Index of the pending bits' BAR.
    pub pba_bar: u8,
    /// Byte offset of the pending bits in it.
    pub pba_offset: u32,
}

impl MsiX {
    /// Enable bit of the control word.
    pub const ENABLE: u16 = 1 << 15;
    /// Function mask bit of the control word.
    pub const MASK_ALL: u16 = 1 << 14;
    /// Bytes of the capability.
    pub const LENGTH: u16 = 12;
    /// Bytes of a table entry: address low, address high, data, control.
    pub const ENTRY: u64 = 16;

    /// Offset of the control word.
    pub const fn control(&self) -> u16 {
        self.offset + 2
    }

    /// Byte range of the table in its BAR.
    pub const fn table(&self) -> core::ops::Range<u64> {
        let start = self.table_offset as u64;
        start..start + self.entries as u64 * Self::ENTRY
    }

    /// Byte range in its BAR that the table could grow into: up to the pending bits, or the BAR's end.
    pub fn table_at_most(&self, bars: &Bars) -> core::ops::Range<u64> {
        const MOST: u64 = 2048 * MsiX::ENTRY;
        let now = self.table();
        let size = bars.get(self.table_bar).map_or(now.end, |bar| bar.size);
        let pending = u64::from(self.pba_offset);
        let behind = self.pba_bar == self.table_bar && pending >= now.end;
        let end = (now.start + MOST).min(size).min(if behind { pending } else { u64::MAX });
        now.start..end.max(now.end)
    }

    /// Reads it. `None` if the function hasn't any; an error if table or pending bits lie outside a memory BAR.
    pub fn read<C: ConfigSpace + ?Sized>(
        space: &C,
        at: Address,
        bars: &Bars,
    ) -> Result<Option<Self>, BadTable> {
        let Some(offset) = capability::find(space, at, id::MSI_X) else { return Ok(None) };
        if offset + Self::LENGTH > 0x100 {
            return Err(BadTable);
        }
        let entries = (space.read16(at, offset + 2) & 0x7ff) + 1;
        let (table, pba) = (space.read32(at, offset + 4), space.read32(at, offset + 8));
        let msix = Self {
            offset,
            entries,
            table_bar: (table & 7) as u8,
            table_offset: table & !7,
            pba_bar: (pba & 7) as u8,
            pba_offset: pba & !7,
        };
        let pba_bytes = u64::from(entries.div_ceil(64)) * 8;
        let fits = |bar, start: u32, bytes| {
            bars.get(bar).is_some_and(|bar| bar.is_memory() && bar.holds(start.into(), bytes))
        };
        let table_bytes = u64::from(entries) * Self::ENTRY;
        let good = fits(msix.table_bar, msix.table_offset, table_bytes)
            && fits(msix.pba_bar, msix.pba_offset, pba_bytes);
        if good { Ok(Some(msix)) } else { Err(BadTable) }
    }
}

/// An MSI-X table that doesn't lie in a memory BAR of its function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadTable;

/// An interrupt message: what a device writes, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Address, in the window 0xFEE0_0000 to 0xFEEF_FFFF.
    pub address: u32,
    /// Data; the upper 16 bits are zero.
    pub data: u16,
}

impl Message {
    /// A message in remappable format for one remapping entry (VT-d 5.1.2.2): no subhandle.
    pub const fn remappable(handle: u16) -> Self {
        Self { address: Self::handle_bits(handle), data: 0 }
    }

    /// A message in remappable format whose data is added to `handle`: for MSI with several messages, where the device
    /// puts the message's number into the low bits of the data.
    pub const fn remappable_block(handle: u16) -> Self {
        Self { address: Self::handle_bits(handle) | 1 << 3, data: 0 }
    }

    const fn handle_bits(handle: u16) -> u32 {
        let handle = handle as u32;
        0xfee0_0000 | (handle & 0x7fff) << 5 | 1 << 4 | handle >> 15 << 2
    }

    /// A message in compatibility format: a fixed, edge-triggered interrupt for APIC 0 in physical mode.
    pub const fn compatible(vector: u8) -> Self {
        Self { address: 0xfee0_0000, data: vector as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bar;
    use crate::testing::Machine;

    #[test]
    fn edu_has_one_wide_message() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 0x1234, 0x11e8);
        machine.capabilities(at, &[(0x40, id::MSI)]);
        machine.set16(at, 0x42, 1 << 7);
        let msi = Msi::read(&machine, at).unwrap();
        assert_eq!(msi, Msi { offset: 0x40, log2_messages: 0, wide: true, maskable: false });
        assert_eq!((msi.data(), msi.mask(), msi.length()), (0x4c, None, 14));
    }

    #[test]
    fn nonsense_msi_is_none() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 1, 1);
        machine.capabilities(at, &[(0xf8, id::MSI)]);
        assert_eq!(Msi::read(&machine, at), None, "runs out of the space");
        machine.capabilities(at, &[(0x40, id::MSI)]);
        machine.set16(at, 0x42, 6 << 1);
        assert_eq!(Msi::read(&machine, at), None, "64 messages");
    }

    #[test]
    fn msix_of_a_virtio_nic() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 0x1af4, 0x1041);
        machine.bar(at, 1, 0, 0xfea0_0000, 0x1000);
        machine.capabilities(at, &[(0x98, id::MSI_X)]);
        machine.set16(at, 0x9a, 3);
        machine.set32(at, 0x9c, 1);
        machine.set32(at, 0xa0, 0x801);
        let bars = bar::probe(&machine, at, 6);
        let msix = MsiX::read(&machine, at, &bars).unwrap().unwrap();
        assert_eq!((msix.entries, msix.table(), msix.table_bar), (4, 0..64, 1));
        assert_eq!((msix.pba_bar, msix.pba_offset), (1, 0x800));
        for (table, pba) in
            [(0, 0x801), (1, 0x800), (0xfc9, 0x801), (1, 0x1001), (7, 0x801), (0xffff_fff9, 1)]
        {
            machine.set32(at, 0x9c, table);
            machine.set32(at, 0xa0, pba);
            assert_eq!(MsiX::read(&machine, at, &bars), Err(BadTable), "{table:#x} {pba:#x}");
        }
    }

    #[test]
    fn a_table_grows_up_to_what_is_behind_it() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 1, 1);
        machine.bar(at, 0, 4, 0xfe60_0000, 0x10_0000);
        let bars = bar::probe(&machine, at, 6);
        let msix = |table_offset, pba_bar, pba_offset| {
            MsiX { offset: 0x40, entries: 1, table_bar: 0, table_offset, pba_bar, pba_offset }
                .table_at_most(&bars)
        };
        assert_eq!(msix(0x2000, 0, 0x3000), 0x2000..0x3000);
        assert_eq!(msix(0x2000, 0, 0x2010), 0x2000..0x2010);
        assert_eq!(msix(0x2000, 0, 0x1000), 0x2000..0xa000);
        assert_eq!(msix(0x2000, 2, 0x3000), 0x2000..0xa000);
        assert_eq!(msix(0xf_f000, 2, 0), 0xf_f000..0x10_0000);
    }

    #[test]
    fn remappable_format() {
        // Bit 4 says "remappable", 19:5 are the handle's low 15 bits, bit 2 its highest, bit 3 "subhandle valid".
        assert_eq!(Message::remappable(0), Message { address: 0xfee0_0010, data: 0 });
        assert_eq!(Message::remappable(1).address, 0xfee0_0030);
        assert_eq!(Message::remappable(0x7fff).address, 0xfeef_fff0);
        assert_eq!(Message::remappable(0x8000).address, 0xfee0_0014);
        assert_eq!(Message::remappable_block(0x20).address, 0xfee0_0418);
        assert_eq!(Message::compatible(0x40), Message { address: 0xfee0_0000, data: 0x40 });
    }

    #[test]
    fn control_words() {
        let msi = Msi { offset: 0x40, log2_messages: 5, wide: true, maskable: true };
        assert_eq!(msi.control_word(0x01fa, true, 2), 0x01ab);
        assert_eq!(msi.control_word(0x01ab, false, 0), 0x018a);
    }
}
