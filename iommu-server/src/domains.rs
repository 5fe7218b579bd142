// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices' domains and interrupts: what belongs to whom, in which order it comes and goes.
//!
//! One requester ID, one domain, one set of I/O page tables. A domain has exactly the frames that the VM's holdings name.

#[path = "line.rs"]
mod line;

use heapless::Vec;
use pci::RequesterId;
use protocol::iommu::{
    Attach, Block, Coverage, Detach, Error, FIRST_LINE, FIRST_VECTOR, Granted, LAST_LINE, LAST_VECTOR, Pin,
    Probe, Vectors,
};
use serde::{Deserialize, Serialize};

use crate::allocate::{self, Numbers};
use crate::kernel::Kernel;

/// Devices of all VMs together.
pub const MAX_DEVICES: usize = 64;
/// CPU vector of user interrupt 0.
const VECTOR_BASE: u16 = 0x30;

/// What the machine can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// DMA remapping is on.
    pub dma_remapping: bool,
    /// Interrupt remapping is on.
    pub interrupt_remapping: bool,
    /// Remapping entries.
    pub entries: u32,
}

/// A run of capability addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u16,
}

impl Caps {
    pub(crate) fn at(&self, index: u16) -> u64 {
        self.first + u64::from(index)
    }
}

/// Frames that are contiguous in guest-physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RamRun {
    /// Capability address of the first; the others follow.
    pub first: u64,
    /// Number of frames.
    pub count: u32,
    /// Frame size, a power of two.
    pub size_bits: u8,
    /// Guest-physical address of the first, which is its IOVA.
    pub base: u64,
}

/// What is held for a device, all by capability address.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
    /// Its domain ID.
    pub domain: u16,
    /// Empty slot for its I/O space.
    pub io_space: u64,
    /// Its I/O page tables.
    pub tables: Caps,
    /// Copies of all RAM frames, its own.
    pub ram: Vec<RamRun, 4>,
    /// Empty slots for the original handlers, in `dma`.
    pub handlers: Caps,
    /// Empty slots for their copies, in `irqs`.
    pub copies: Caps,
    /// Its interrupt line, if it interrupts by that.
    pub pin: Option<Pin>,
}

/// Vectors that a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lines {
    pub(crate) count: u16,
    pub(crate) handle: u16,
    pub(crate) vector: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) holding: Holding,
    /// The requester whose domain it is.
    pub(crate) attached: Option<RequesterId>,
    /// The requester that it last was.
    pub(crate) last: Option<RequesterId>,
    /// Tables that have been mapped, and whether frames have: their capabilities say so until they are unmapped.
    pub(crate) tables_used: u16,
    pub(crate) frames_used: bool,
    pub(crate) lines: Option<Lines>,
    /// Number of its line's interrupt, while it has that.
    pub(crate) line: Option<u16>,
    /// It was cut off, for its faults or because nobody knew what it had.
    pub(crate) cut: bool,
}

/// All devices' domains and interrupts.
#[derive(Debug)]
pub struct Domains<K> {
    /// The kernel.
    pub kernel: K,
    pub(crate) features: Features,
    /// Empty slot to try things in.
    pub(crate) scratch: u64,
    pub(crate) devices: Vec<Device, MAX_DEVICES>,
    pub(crate) entries: Numbers,
    pub(crate) vectors: Numbers,
    /// Numbers of lines' interrupts.
    pub(crate) lines: Numbers,
}

fn code(error: sel4_abi::Error) -> Error {
    Error::Kernel(error as u64 as u8)
}

impl<K: Kernel> Domains<K> {
    /// None yet. `scratch` is an empty slot.
    pub fn new(kernel: K, features: Features, scratch: u64) -> Self {
        let entries = features.entries.min(allocate::MAX as u32) as u16;
        let vectors = u16::from(LAST_VECTOR - FIRST_VECTOR) + 1;
        Self {
            kernel,
            features,
            scratch,
            devices: Vec::new(),
            entries: Numbers::new(0, entries),
            vectors: Numbers::new(FIRST_VECTOR.into(), vectors),
            lines: Numbers::new(FIRST_LINE.into(), u16::from(LAST_LINE - FIRST_LINE) + 1),
        }
    }

    /// Adds a device; false if there are too many.
    pub fn add(&mut self, holding: Holding) -> bool {
        let device = Device {
            holding,
            attached: None,
            last: None,
            tables_used: 0,
            frames_used: false,
            lines: None,
            line: None,
            cut: false,
        };
        self.devices.push(device).is_ok()
    }

    pub(crate) fn find(&self, vm: u16, device: u8) -> Result<usize, Error> {
        let matches = |d: &Device| (d.holding.vm, d.holding.device) == (vm, device);
        self.devices.iter().position(matches).ok_or(Error::NoSuchDevice)
    }

    /// The VM that a requester was last given to, if any.
    pub fn owner(&self, requester: RequesterId) -> Option<u16> {
        self.devices.iter().find(|d| d.last == Some(requester)).map(|d| d.holding.vm)
    }

    /// Whether a requester has been nobody's since boot. One of which that isn't known has been somebody's.
    pub fn is_firmwares(&self, requester: RequesterId) -> bool {
        self.devices.iter().all(|d| d.last.map_or(!d.cut, |last| last != requester))
    }

    /// The requester that a device is, or last was.
    pub fn requester(&self, vm: u16, device: u8) -> Result<Option<RequesterId>, Error> {
        Ok(self.devices[self.find(vm, device)?].last)
    }

    /// Whether a device was cut off since it was last attached.
    pub fn is_cut(&self, vm: u16, device: u8) -> bool {
        self.find(vm, device).is_ok_and(|index| self.devices[index].cut)
    }

    /// The device that a requester is, if it has a domain.
    pub fn attached(&self, requester: RequesterId) -> Option<(u16, u8)> {
        let found = self.devices.iter().find(|d| d.attached == Some(requester))?;
        Some((found.holding.vm, found.holding.device))
    }

    /// Whether the IOMMU covers a requester: the kernel makes no I/O space for one that it doesn't.
    pub fn probe(&mut self, request: Probe) -> Coverage {
        let Features { dma_remapping, interrupt_remapping, .. } = self.features;
        // An I/O space names bus, device and function only.
        let known = dma_remapping && request.segment == 0;
        // No domain but a device's own has a mapping, so whichever is tried with does no harm.
        let domain = self.devices.first().map_or(1, |d| d.holding.domain);
        let covered = known && self.kernel.mint_io_space(self.scratch, domain, request.requester).is_ok();
        if covered {
            let _ = self.kernel.destroy(self.scratch);
        }
        Coverage { dma_remapping, interrupt_remapping, covered }
    }

    /// Gives a device its domain.
    pub fn attach(&mut self, request: Attach) -> Result<(), Error> {
        let index = self.find(request.vm, request.device)?;
        if !self.features.dma_remapping {
            return Err(Error::NoIommu);
        }
        if self.devices[index].attached.is_some() {
            return Err(Error::AlreadyAttached);
        }
        if self.devices.iter().any(|d| d.attached == Some(request.requester)) {
            return Err(Error::RequesterTaken);
        }
        self.forget(index);
        let Holding { domain, io_space, .. } = self.devices[index].holding;
        self.kernel.mint_io_space(io_space, domain, request.requester).map_err(|error| match error {
            sel4_abi::Error::InvalidCapability => Error::NotCovered,
            other => code(other),
        })?;
        let device = &mut self.devices[index];
        device.attached = Some(request.requester);
        device.last = Some(request.requester);
        device.cut = false;
        self.fill(index).inspect_err(|_| {
            let _ = self.detach(Detach { vm: request.vm, device: request.device });
        })
    }

    /// Maps all RAM, with tables as they are missed: the first becomes the root.
    fn fill(&mut self, index: usize) -> Result<(), Error> {
        let device = &mut self.devices[index];
        let Holding { io_space, tables, .. } = device.holding;
        for run in &device.holding.ram {
            for number in 0..run.count {
                let iova = run.base + (u64::from(number) << run.size_bits);
                let frame = run.first + u64::from(number);
                while let Err(error) = self.kernel.map_frame(io_space, frame, iova) {
                    if error != sel4_abi::Error::FailedLookup {
                        return Err(code(error));
                    }
                    if device.tables_used == tables.count {
                        return Err(Error::NotEnoughTables);
                    }
                    self.kernel.map_table(tables.at(device.tables_used), io_space, iova).map_err(code)?;
                    device.tables_used += 1;
                }
                device.frames_used = true;
            }
        }
        Ok(())
    }

    /// After a detachment the capabilities of frames and tables still say where they were mapped; before they can be
    /// mapped anew they are unmapped. Errors show when they are mapped.
    fn forget(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if core::mem::take(&mut device.frames_used) {
            for run in &device.holding.ram {
                for number in 0..run.count {
                    let _ = self.kernel.unmap_frame(run.first + u64::from(number));
                }
            }
        }
        // Leaves before the tables that lead to them.
        for number in (0..core::mem::take(&mut device.tables_used)).rev() {
            let _ = self.kernel.unmap_table(device.holding.tables.at(number));
        }
    }

    /// Allocates remapping entries and interrupt numbers, and hands out handlers.
    pub fn grant(&mut self, request: Vectors) -> Result<Granted, Error> {
        let index = self.find(request.vm, request.device)?;
        let device = &self.devices[index];
        let requester = device.attached.ok_or(Error::NotAttached)?;
        if device.lines.is_some() || device.line.is_some() {
            return Err(Error::AlreadyAttached);
        }
        let room = device.holding.handlers.count.min(device.holding.copies.count);
        if request.count == 0 || request.count > room {
            return Err(Error::BadRange);
        }
        let count = request.count;
        let lines = self.make(index, requester, count)?;
        let Holding { handlers, copies, .. } = self.devices[index].holding;
        for number in 0..count {
            if let Err(error) = self.kernel.copy(copies.at(number), handlers.at(number)) {
                self.unmake(index, lines);
                return Err(code(error));
            }
        }
        self.devices[index].lines = Some(lines);
        Ok(if self.features.interrupt_remapping {
            Granted::Remapped { first: lines.handle }
        } else {
            Granted::Plain { first: (lines.vector + VECTOR_BASE) as u8 }
        })
    }

    /// Makes `count` handlers. Numbers that the kernel has given away otherwise are marked and others tried.
    fn make(&mut self, index: usize, requester: RequesterId, count: u16) -> Result<Lines, Error> {
        let remapping = self.features.interrupt_remapping;
        let handlers = self.devices[index].holding.handlers;
        'again: loop {
            let vector = self.vectors.take(count, VECTOR_BASE).ok_or(Error::NoVectors)?;
            let handle = if remapping { self.entries.take(count, 0) } else { Some(0) };
            let Some(handle) = handle else {
                self.vectors.give_back(vector, count);
                return Err(Error::NoVectors);
            };
            for number in 0..count {
                let (entry, irq) = (if remapping { handle + number } else { 0 }, vector + number);
                let made = self.kernel.make_handler(handlers.at(number), requester, entry, irq as u8);
                let Err(error) = made else { continue };
                self.unmake(index, Lines { count: number, handle, vector });
                self.give_back(Lines { count, handle, vector });
                if error != sel4_abi::Error::RevokeFirst {
                    return Err(code(error));
                }
                // Which of the two it was the error doesn't say. Each round takes a number out for good, so there is
                // an end to it.
                if remapping {
                    self.entries.mark(entry);
                } else {
                    self.vectors.mark(irq);
                }
                continue 'again;
            }
            return Ok(Lines { count, handle, vector });
        }
    }

    fn unmake(&mut self, index: usize, lines: Lines) {
        let handlers = self.devices[index].holding.handlers;
        for number in 0..lines.count {
            // The copies in `irqs`, and whatever the VMM made of them, go with the original.
            let _ = self.kernel.destroy(handlers.at(number));
        }
        self.give_back(lines);
    }

    fn give_back(&mut self, lines: Lines) {
        self.vectors.give_back(lines.vector, lines.count);
        if self.features.interrupt_remapping {
            self.entries.give_back(lines.handle, lines.count);
        }
    }

    /// Takes domain and interrupts back. DMA ends first, so that there is nothing to interrupt for.
    pub fn detach(&mut self, request: Detach) -> Result<(), Error> {
        let index = self.find(request.vm, request.device)?;
        let mut outcome = Ok(());
        if self.devices[index].attached.is_some() {
            let io_space = self.devices[index].holding.io_space;
            // The I/O space's end empties the context entry as well, so it alone decides.
            let _ = self.kernel.clear(io_space);
            outcome = self.kernel.destroy(io_space);
            if outcome.is_ok() {
                self.devices[index].attached = None;
            }
        }
        if let Some(lines) = self.devices[index].lines.take() {
            self.unmake(index, lines);
        }
        self.end_line(index);
        outcome.map_err(code)
    }

    /// How many domains are in use; remapping entries and interrupt numbers that are free.
    pub fn census(&self) -> (usize, u16, u16) {
        let attached = self.devices.iter().filter(|device| device.attached.is_some()).count();
        (attached, self.entries.left(), self.vectors.left())
    }

    /// Cuts a device off that is attached: its messages are blocked, its domain is emptied; both stay its until it is
    /// detached. False if the requester has no domain. All of it is tried, whatever fails; the first error is told.
    pub fn quarantine(&mut self, requester: RequesterId) -> Result<bool, Error> {
        let Some(device) = self.devices.iter_mut().find(|d| d.attached == Some(requester)) else {
            return Ok(false);
        };
        device.cut = true;
        let Holding { vm, device: number, io_space, .. } = device.holding;
        let blocked = match device.lines {
            Some(_) => self.block(Block { vm, device: number, blocked: true }),
            None => Ok(()),
        };
        self.kernel.clear(io_space).map_err(code).and(blocked).map(|()| true)
    }

    /// Blocks or unblocks all interrupts of a device.
    pub fn block(&mut self, request: Block) -> Result<(), Error> {
        let index = self.find(request.vm, request.device)?;
        let Device { lines, holding, .. } = &self.devices[index];
        let lines = lines.ok_or(Error::NotAttached)?;
        for number in 0..lines.count {
            self.kernel.block(holding.handlers.at(number), request.blocked).map_err(code)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "domains_tests.rs"]
pub(crate) mod tests;
