// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a passed-through device's life needs of the machine and of others.

use core::fmt;

use pci::ConfigSpace;
use protocol::iommu;
use protocol::pci::Error;

use crate::recover::{Found, Record, Spoilt};

/// Configuration space, clocks, other parts, frames.
pub trait Platform {
    /// The machine's configuration space.
    type Config: ConfigSpace;
    /// The machine's configuration space.
    fn config(&self) -> &Self::Config;

    /// Ticks of the time-stamp counter.
    fn now(&self) -> u64;
    /// Ticks of so many milliseconds.
    fn ticks(&self, milliseconds: u64) -> u64;
    /// Asks for a signal at this time; replaces the one asked for before.
    fn set_deadline(&mut self, tsc: u64);

    /// Gives a device its domain.
    fn iommu_attach(&mut self, request: iommu::Attach) -> Result<(), Error>;
    /// Gets remapping entries, and handlers into `irqs`.
    fn iommu_vectors(&mut self, request: iommu::Vectors) -> Result<iommu::Granted, Error>;
    /// Gets the handler of the device's line into `irqs`.
    fn iommu_line(&mut self, request: iommu::Line) -> Result<(), Error>;
    /// Takes domain and handlers back.
    fn iommu_detach(&mut self, request: iommu::Detach) -> Result<(), Error>;

    /// What DMA faults a device has caused since it was attached.
    fn iommu_faults(&mut self, request: iommu::Faults) -> Result<iommu::FaultCount, Error>;

    /// Copies a capability, for a frame or for ports, into slot `slot` of a VM's `bars`.
    fn show_frame(&mut self, vm: u16, slot: u16, frame: u64) -> Result<(), Error>;
    /// Takes all copies of such a capability away, and with them their mappings.
    fn hide_frame(&mut self, frame: u64) -> Result<(), Error>;
    /// Reads a register in a page that is forwarded; `None` if that can't be.
    fn read_page(&self, page: u16, offset: u16, width: u8) -> Option<u64>;
    /// Writes a register in a page that is forwarded; `None` if that can't be.
    fn write_page(&self, page: u16, offset: u16, width: u8, value: u64) -> Option<()>;

    /// Reads a port by a capability for it; `None` if that can't be.
    fn read_port(&self, capability: u64, port: u16, width: u8) -> Option<u64>;
    /// Writes a port by a capability for it; `None` if that can't be.
    fn write_port(&self, capability: u64, port: u16, width: u8, value: u64) -> Option<()>;

    /// Keeps a device for the life after this one, at one of [`MAX_PROMISED`](protocol::pci::MAX_PROMISED) places.
    fn keep(&mut self, place: usize, record: &Record);
    /// What the life before this one has kept there, if anything.
    fn kept(&self, place: usize) -> Result<Option<Found>, Spoilt>;
    /// Whether the capability of a frame or of ports that the life before had lies there.
    fn holds(&self, capability: u64) -> bool;

    /// Tells a VMM to ask again.
    fn signal(&mut self, vm: u16);
    /// Tells the root task that an ended VM's devices are quiet. True if it has taken note of that, and the VM's memory back.
    fn quieted(&mut self, vm: u16) -> bool;
    /// A line for the log.
    fn log(&mut self, line: fmt::Arguments);
}
