// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that a VM was promised: what belongs to it, and the state of its life.

use core::ops::Range;

use heapless::Vec;
use pci::bar;
use pci::carve::{self, Run};
use pci::life::Life;
use pci::reserved::Ranges;
use pci::reset::{Methods, Saved, Sequence};
use pci::view::{Interrupts, View};
use pci::{Address, Identity, RequesterId};
use protocol::pci::{Attached, Bar, Description, FrameRun, GuestSlot, Interrupts as Shown, Name, PortRange};
use serde::{Deserialize, Serialize};

/// Runs of frames of a device: five of the BAR with the MSI-X table, one of each other and of the expansion ROM.
pub const MAX_PARTS: usize = 11;

/// Frames of a BAR.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Part {
    /// Index of the BAR.
    pub bar: u8,
    /// Which part of it.
    pub run: Run,
    /// Capability address of the first frame, the others follow. Not of those that are forwarded.
    pub frame: u64,
    /// Number of the first page, if they are forwarded.
    pub page: u16,
}

/// An I/O BAR.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ports {
    /// Index of the BAR.
    pub bar: u8,
    /// The first port.
    pub first: u16,
    /// Capability address of what gives access to all of them.
    pub capability: u64,
}

/// The I/O BARs of a device.
pub type PortBars = Vec<Ports, 6>;

/// A reset that isn't over.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Resetting {
    /// How far it is.
    pub sequence: Sequence,
    /// Not to be touched before this time, ticks.
    pub until: u64,
}

/// A device of a VM.
#[derive(Debug, Serialize, Deserialize)]
pub struct Device {
    /// Number of the VM.
    pub vm: u16,
    /// Index in the VM.
    pub index: u8,
    /// The VM's name.
    pub owner: Name,
    /// Index in the tree.
    pub function: u16,
    /// Of a virtual function: the index of its physical one in the tree.
    pub physical: Option<u16>,
    /// Where it answers.
    pub address: Address,
    /// What its requests bear.
    pub requester: RequesterId,
    /// What it is.
    pub identity: Identity,
    /// Where the guest sees it.
    pub slot: GuestSlot,
    /// Vectors that the guest gets.
    pub vectors: u16,
    /// Global interrupt of its line, if it interrupts by that.
    pub line: Option<u8>,
    /// Its first slot in `irqs`.
    pub irqs_first: u16,
    /// Its first slot in `bars`.
    pub bars_first: u16,
    /// How many.
    pub bars_count: u16,
    /// The frames of its BARs.
    pub parts: Vec<Part, MAX_PARTS>,
    /// Its I/O BARs.
    pub ports: PortBars,
    /// How it can be reset; without any it is handed out once.
    pub methods: Methods,
    /// What a reset loses.
    pub saved: Saved,
    /// Where its DMA doesn't reach its VM's RAM.
    pub reserved: Ranges,
    /// What the guest sees.
    pub view: View,
    /// Where it is in its life.
    pub life: Life,
    /// Its reset, as long as that takes.
    pub resetting: Option<Resetting>,
    /// Its reset is to begin when that of its physical function is over.
    pub waits: bool,
    /// Something of a domain, of handlers or frames that it was given may still be there.
    pub holds: bool,
    /// Its number among what is kept for the life after this one.
    pub place: u8,
    /// How often in a row iommu-server gave no answer while the device was being given.
    pub unanswered: u8,
}

impl Device {
    /// Lays out the frames of its BARs, none of which is made yet; false if there are too many.
    pub fn lay_out(&mut self) -> bool {
        self.parts.clear();
        for bar in self.view.bars().iter().filter(|bar| bar.is_memory()) {
            let table = self.table().filter(|(index, _)| *index == bar.index);
            for run in carve::cut(bar, table.map(|(_, range)| range)) {
                let part = Part { bar: bar.index, run, frame: 0, page: 0 };
                if self.parts.push(part).is_err() {
                    return false;
                }
            }
        }
        self.open_frames() + self.ports.len() as u64 <= self.bars_count.into()
    }

    /// What the guest is to see.
    pub fn description(&self) -> Description {
        let mut bars = Vec::new();
        for bar in self.view.bars().iter() {
            let pci::Bar { index, kind, prefetchable, base, size } = *bar;
            let wide = kind == pci::bar::Kind::Memory64;
            let port = (!bar.is_memory()).then_some(base as u16);
            // There are six at most, and the ROM.
            let _ = bars.push(Bar { index, wide, prefetchable, size, port });
        }
        let interrupts = match self.view.interrupts() {
            Interrupts::MsiX(msix) if self.vectors > 0 => Shown::MsiX {
                table_bar: msix.table_bar,
                table_offset: msix.table_offset,
                pba_bar: msix.pba_bar,
                pba_offset: msix.pba_offset,
                table_size: msix.entries,
            },
            Interrupts::Msi(_) if self.vectors > 0 => Shown::Msi,
            _ if self.line.is_some() => Shown::Line { pin: self.pin() },
            _ => Shown::None,
        };
        Description {
            identity: self.identity,
            slot: self.slot,
            bars,
            interrupts,
            vectors: self.vectors,
            reserved: self.reserved.clone(),
        }
    }

    /// The pin that the guest sees, if there is a line: each function of a guest's slot has its own, as far as they go.
    pub fn pin(&self) -> u8 {
        self.slot.devfn.function() % 4 + 1
    }

    /// What the VMM finds where once the device is attached: open frames lie in `bars` in the order of [`Self::parts`].
    pub fn attached(&self) -> Attached {
        let mut frames = Vec::new();
        let mut first = self.bars_first;
        for part in self.parts.iter().filter(|part| part.run.open) {
            let Run { offset, count, size_bits, .. } = part.run;
            let count = count as u16;
            // At most four of the BAR with the table, one of each other.
            let _ = frames.push(FrameRun { bar: part.bar, offset, first, count, size_bits });
            first += count;
        }
        let mut ports = Vec::new();
        for own in &self.ports {
            // There are six at most.
            let _ = ports.push(PortRange { bar: own.bar, slot: first });
            first += 1;
        }
        Attached { frames, ports, first_vector: self.irqs_first, vectors: self.vectors }
    }

    /// The real expansion ROM's register, with the guest's bit if the device `is_given`; `None` if the guest sees no ROM.
    pub fn rom_register(&self, is_given: bool) -> Option<u32> {
        let rom = self.view.bars().get(bar::ROM)?;
        let enable = if is_given && self.view.rom() { bar::ROM_ENABLE } else { 0 };
        Some(rom.base as u32 | enable)
    }

    /// Frames that go into `bars`.
    pub fn open_frames(&self) -> u64 {
        self.parts.iter().filter(|part| part.run.open).map(|part| part.run.count).sum()
    }

    /// Capability and number of a forwarded port; `None` if the BAR has none, or not these.
    pub fn port(&self, bar: u8, offset: u64, width: u8) -> Option<(u64, u16)> {
        let own = self.ports.iter().find(|own| own.bar == bar)?;
        let place = self.view.bars().get(bar).filter(|bar| bar.holds(offset, width.into()))?;
        matches!(width, 1 | 2 | 4).then_some((own.capability, (place.base + offset) as u16))
    }

    /// Page and offset of a forwarded register; `None` if the guest has it mapped, or it isn't there.
    pub fn forwarded(&self, bar: u8, offset: u64, width: u8) -> Option<(u16, u16)> {
        let place =
            self.view.bars().get(bar).filter(|bar| bar.is_memory() && bar.holds(offset, width.into()))?;
        if !matches!(width, 1 | 2 | 4 | 8) || !offset.is_multiple_of(width.into()) {
            return None;
        }
        let inside = |part: &&Part| {
            let end = part.run.offset + (part.run.count << part.run.size_bits);
            part.bar == bar && (part.run.offset..end).contains(&offset)
        };
        let part = self.parts.iter().find(inside).filter(|part| !part.run.open)?;
        let page = part.page + ((offset - part.run.offset) >> 12) as u16;
        Some((page, ((place.base + offset) & 0xfff) as u16))
    }

    /// Whether an access touches the MSI-X table, which is the VMM's to keep.
    pub fn in_table(&self, bar: u8, offset: u64, width: u8) -> bool {
        self.table().is_some_and(|(index, table)| {
            bar == index && offset < table.end && offset.saturating_add(width.into()) > table.start
        })
    }

    /// Where the MSI-X table lies: index of the BAR, and byte range in it. The owner of a physical function can give a virtual one more
    /// vectors, so of that it is all that the table could become.
    fn table(&self) -> Option<(u8, Range<u64>)> {
        let Interrupts::MsiX(msix) = self.view.interrupts() else { return None };
        let range = match self.physical {
            Some(_) => msix.table_at_most(self.view.bars()),
            None => msix.table(),
        };
        Some((msix.table_bar, range))
    }
}

#[cfg(test)]
#[path = "layouts_tests.rs"]
mod layouts_tests;
