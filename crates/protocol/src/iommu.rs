// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `pci-server` asks of `iommu-server` (protocol 3), and how that one is started.
//!
//! `iommu-server` has one client, `pci-server`, which names VMs by their numbers and devices by their places in the VM.
//! Which requester ID belongs to a device `pci-server` says, since only it sees the buses.

use core::fmt;

use heapless::Vec;
use pci::RequesterId;
use serde::{Deserialize, Serialize};

use crate::client::MAX_DEVICE_VMS;
use crate::config::MAX_DEVICES;
use crate::message::requests;

/// First user interrupt number of messages.
pub const FIRST_VECTOR: u8 = 16;
/// Last user interrupt number of messages.
pub const LAST_VECTOR: u8 = 107;
/// First user interrupt number of devices' lines; those before are the system's own.
pub const FIRST_LINE: u8 = 6;
/// Last user interrupt number of devices' lines.
pub const LAST_LINE: u8 = 15;

requests! {
    IOMMU, Error;
    Attach = 1 -> ();
    Detach = 2 -> ();
    Vectors = 3 -> Granted;
    Block = 4 -> ();
    Faults = 5 -> FaultCount;
    Probe = 6 -> Coverage;
    ProbeLine = 7 -> ();
    Line = 8 -> ();
}

/// Gives a device its domain: all the VM's RAM at IOVA = guest-physical address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attach {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
    /// What the device's requests bear as their source.
    pub requester: RequesterId,
}

/// Allocates remapping entries for a device with a domain, and puts handlers into the device's slots of the VM's `irqs`
/// mount, from its first on. Reply: [`Granted`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vectors {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
    /// Vectors, at least 1.
    pub count: u16,
}

/// What the device is to be programmed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Granted {
    /// Handles of remapping entries: vector `i` has `first + i`. `first` is a multiple of the next power of two of the
    /// count, so that MSI can number its messages in the low bits.
    Remapped {
        /// Handle of vector 0.
        first: u16,
    },
    /// No remapping: CPU vectors, vector `i` has `first + i`, destination APIC 0. Aligned in the same way.
    Plain {
        /// CPU vector of vector 0.
        first: u8,
    },
}

/// Takes domain and vectors of a device back: I/O space cleared, handlers deleted. Detaching a device that has none
/// succeeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Detach {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
}

/// Blocks or unblocks all interrupts of a device by its remapping entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
    /// Whether they are to be dropped.
    pub blocked: bool,
}

/// Asks what DMA faults a device has caused since it was last attached. Reply: [`FaultCount`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Faults {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
}

/// The DMA faults of a requester.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FaultCount {
    /// Faults recorded.
    pub count: u32,
    /// The last one, if any.
    pub last: Option<Fault>,
    /// There were too many since the device was attached: its messages are blocked, and its domain is empty.
    pub quarantined: bool,
}

/// A DMA fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Whose request.
    pub requester: RequesterId,
    /// Address it asked for, its low 12 bits zero.
    pub iova: u64,
    /// A write to memory; otherwise a read.
    pub write: bool,
    /// Fault reason (Intel VT-d, chapter "Fault Conditions").
    pub reason: u8,
    /// The unit had no room for further faults.
    pub lost: bool,
}

/// Asks whether a remapping unit covers a requester, for a refusal before its VM starts. Reply: [`Coverage`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probe {
    /// Segment group.
    pub segment: u16,
    /// The requester.
    pub requester: RequesterId,
}

/// What the IOMMU can do for a requester.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Coverage {
    /// DMA remapping is on at all.
    pub dma_remapping: bool,
    /// Interrupt remapping is on.
    pub interrupt_remapping: bool,
    /// A unit covers this requester.
    pub covered: bool,
}

/// Asks whether the interrupt line that the description names for a device can be had, for a refusal before its VM starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProbeLine {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
}

/// Makes the handler of the interrupt line (INTx) of a device with a domain, level-triggered and active low, and puts it into
/// the device's first slot of the VM's `irqs` mount. Which line it is the description has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub device: u8,
}

/// Why `iommu-server` didn't do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Error {
    /// See the text.
    UnknownClient,
    /// See the text.
    NoSuchDevice,
    /// See the text.
    NoIommu,
    /// See the text.
    NotCovered,
    /// See the text.
    RequesterTaken,
    /// See the text.
    AlreadyAttached,
    /// See the text.
    NotAttached,
    /// See the text.
    NotEnoughTables,
    /// See the text.
    NoVectors,
    /// See the text.
    BadRange,
    /// See the text.
    NoLine,
    /// See the text.
    NoSuchPin,
    /// See the text.
    PinTaken,
    /// See the text.
    Kernel(u8),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownClient => "only pci-server may ask iommu-server",
            Self::NoSuchDevice => "the description gives this VM no device of this number",
            Self::NoIommu => "DMA remapping is off",
            Self::NotCovered => "no DMA remapping unit covers this requester",
            Self::RequesterTaken => "another device has this requester ID",
            Self::AlreadyAttached => "the device has a domain already",
            Self::NotAttached => "the device has no domain",
            Self::NotEnoughTables => "the VM's I/O page tables don't suffice for its memory",
            Self::NoVectors => "no interrupt vectors or remapping entries are left",
            Self::BadRange => "the vectors don't fit in the VM's interrupt slots",
            Self::NoLine => "the description names no interrupt line for the device",
            Self::NoSuchPin => "no I/O APIC of this machine has that interrupt",
            Self::PinTaken => "the system itself or another device has that interrupt",
            Self::Kernel(error) => return write!(f, "the kernel refused an invocation with error {error}"),
        })
    }
}

impl core::error::Error for Error {}

/// The configuration in `iommu-server`'s start page. Capabilities come in ranges: `IoSpaceMaster`, `IrqControl`,
/// `DmaFaultControl` (none of the three on a kernel without an IOMMU), `EmptySlots` (one for each device's IOSpace, two
/// more to try things), `ClientNotifications` (VMMs, badged `VMM_DMA_FAULT`; pci-server, badged `DMA_FAULT`), and for each device `DmaTables`,
/// `DmaFrames` (several if guest RAM has holes), `DmaHandlers`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct IommuConfig {
    /// VMs with devices.
    pub vms: Vec<IommuVm, MAX_DEVICE_VMS>,
    /// DMA faults after which a device is quarantined, at least 1.
    pub fault_limit: u16,
}

/// A VM with devices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IommuVm {
    /// Number of the VM, 0 to 30: it tells the mounts of its `dma` and `irqs`.
    pub vm: u16,
    /// Its devices, in the description's order.
    pub devices: Vec<IommuDevice, MAX_DEVICES>,
}

/// A device of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IommuDevice {
    /// Domain ID, at least 1, of no other device.
    pub domain: u16,
    /// First slot for copies of its handlers in `irqs`.
    pub irqs_first: u16,
    /// How many.
    pub irqs_count: u16,
    /// Its interrupt line, if it interrupts by that.
    pub line: Option<Pin>,
}

/// An input of an I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pin {
    /// The I/O APIC, by its place in firmware's table.
    pub io_apic: u8,
    /// The input.
    pub input: u8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fits, fits_a_start_page, full};

    #[test]
    fn largest_encodings_fit_a_message() {
        let (vm, device, requester) = (u16::MAX, u8::MAX, RequesterId(u16::MAX));
        fits(Attach { vm, device, requester });
        fits(Detach { vm, device });
        fits(Vectors { vm, device, count: u16::MAX });
        fits(Block { vm, device, blocked: true });
        fits(Faults { vm, device });
        fits(Line { vm, device });
        fits(ProbeLine { vm, device });
        fits(Probe { segment: u16::MAX, requester });
        fits(Coverage { dma_remapping: true, interrupt_remapping: true, covered: true });
        fits(Granted::Remapped { first: u16::MAX });
        fits(Granted::Plain { first: u8::MAX });
        let fault = Fault { requester, iova: u64::MAX, write: true, reason: u8::MAX, lost: true };
        fits(FaultCount { count: u32::MAX, last: Some(fault), quarantined: true });
        fits(Error::Kernel(u8::MAX));
    }

    #[test]
    fn the_largest_configuration_fits_a_start_page() {
        let line = Some(Pin { io_apic: u8::MAX, input: u8::MAX });
        let device = IommuDevice { domain: u16::MAX, irqs_first: u16::MAX, irqs_count: u16::MAX, line };
        let vm = IommuVm { vm: u16::MAX, devices: full(device) };
        // Eight ranges, and three for each of eighty devices.
        fits_a_start_page(IommuConfig { vms: full(vm), fault_limit: u16::MAX }, 8 + 240);
    }
}
