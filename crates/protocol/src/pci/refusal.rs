// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a device can't be given to a VM: what speaks against it, with the evidence, and what would help.

use core::fmt;

use pci::bar::Name;
use pci::reserved::{self, Policy};
use pci::sriov::Problem;
use pci::topology::MAX_FUNCTIONS;
use pci::{Address, Identity};
use serde::{Deserialize, Serialize};

use super::{Error, PciDevice};

/// Why a device can't be given to a VM. The texts say more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Nothing remaps DMA.
    NoIommu,
    /// Nothing remaps interrupts.
    NoInterruptRemapping,
    /// The DMAR table leaves it out.
    NotCovered,
    /// A BAR without an address.
    BarUnassigned {
        /// Its index; [`pci::bar::ROM`] is the expansion ROM.
        bar: u8,
        /// Bytes.
        size: u64,
    },
    /// A BAR where nobody can reach it.
    BarUnreachable {
        /// Its index.
        bar: u8,
        /// Its address.
        base: u64,
    },
    /// A BAR over another.
    BarShared {
        /// Its index.
        bar: u8,
        /// The function that has the other.
        other: Address,
        /// The other's index.
        other_bar: u8,
    },
    /// The description wants its expansion ROM.
    NoRom,
    /// The description allows no device like it.
    NotMatched(Identity),
    /// The description doesn't take it from everybody else.
    NotReserved,
    /// No bridge at this element of the path, counted from 0.
    PathAbsent(u8),
    /// Nothing at the end of the path.
    NoSuchDevice,
    /// It is a bridge, of a host or of PCI.
    Bridge,
    /// This VM has it.
    Taken(u16),
    /// This function makes requests with the same ID.
    SharedRequester(Address),
    /// Another VM's device can reach it.
    SharedGroup {
        /// The other VM.
        vm: u16,
        /// Its device in the group.
        member: Address,
        /// The function without access control by which they reach each other.
        opening: Option<Address>,
    },
    /// Memory that firmware wants it to keep reaching: first and last address.
    ReservedMemory(u64, u64),
    /// Such memory, which can't be mapped for it as the description wants.
    NotMapped(u64, u64, NotMapped),
    /// The VM's RAM, of so many bytes, lies where the device reaches something else.
    RamConflict(reserved::Range, u64),
    /// Such memory isn't all known.
    RegionsUnknown,
    /// The offset in configuration space, and the four bytes there.
    BadCapabilities(u16, u32),
    /// Too many frames.
    NoRoom,
    /// Too many functions.
    TooManyDevices,
    /// It would be a virtual function; why its physical one has none.
    Virtual(Problem),
    /// The description wants its line, and it has none.
    NoPin,
    /// Where its line ends isn't known.
    LineUnknown,
    /// This function has the same line.
    LineShared(Address),
    /// iommu-server's word on its line.
    Line(Error),
}

/// Why reserved memory can't be mapped for a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NotMapped {
    /// See the text.
    Unaligned,
    /// See the text.
    Ram,
    /// See the text.
    NotReserved,
    /// See the text.
    Registers,
    /// See the text.
    Overlaps,
    /// See the text.
    TooLarge,
    /// See the text.
    TooMany,
    /// See the text.
    Taken,
    /// See the text.
    NotByPath,
    /// A device of this VM has it as well.
    Shared(u16),
}

impl NotMapped {
    fn tell(&self, f: &mut fmt::Formatter<'_>, devices: &[PciDevice]) -> fmt::Result {
        f.write_str(match self {
            Self::Unaligned => "it doesn't consist of whole pages",
            Self::Ram => "a part of it is RAM by the memory map",
            Self::NotReserved => "the memory map doesn't reserve all of it",
            Self::Registers => "it holds registers",
            Self::Overlaps => "it overlaps another such region",
            Self::TooLarge => "it is too large: 512 pages of 4 KiB, or of 2 MiB where it is aligned to that",
            Self::TooMany => "the device has more such regions than 3",
            Self::Taken => "something else has a part of it",
            Self::NotByPath => {
                "firmware or the description names the device by a bus number, not by its path"
            }
            Self::Shared(vm) => return write!(f, "a device of {} has it as well", Vm(*vm, devices)),
        })
    }
}

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(f, &[])
    }
}

impl core::error::Error for NotMapped {}

impl Refusal {
    /// What speaks against the device, with what shows it.
    fn what(&self, f: &mut fmt::Formatter<'_>, devices: &[PciDevice]) -> fmt::Result {
        f.write_str(match self {
            Self::NoIommu => "no IOMMU: the device's DMA could not be confined",
            Self::NoInterruptRemapping => "no interrupt remapping: the device could forge interrupts",
            Self::NotCovered => "no DMA remapping unit covers the device: it could reach all memory",
            Self::BarUnassigned { bar, size } => {
                return write!(f, "firmware left {} of {size:#x} bytes unassigned", Name(*bar));
            }
            Self::BarUnreachable { bar, base } => {
                return write!(
                    f,
                    "{} at {base:#x} lies outside the memory that is left for devices, or a bridge doesn't pass it on",
                    Name(*bar)
                );
            }
            Self::BarShared { bar, other, other_bar } => {
                return write!(f, "{} overlaps {} of {other}", Name(*bar), Name(*other_bar));
            }
            Self::NoRom => "it has no expansion ROM",
            Self::NotMatched(_) => "no entry of `pci.matches` names its identity",
            Self::NotReserved => "it isn't reserved",
            Self::PathAbsent(element) => {
                return write!(f, "path absent: no bridge at element {} of the path", u16::from(*element) + 1);
            }
            Self::NoSuchDevice => "no such device: nothing answers there",
            Self::Bridge => "it is a bridge; only endpoints can be passed through",
            Self::Taken(vm) => return write!(f, "{} has it already", Vm(*vm, devices)),
            Self::SharedRequester(other) => {
                return write!(f, "{other} bears the same requester ID: a bridge to PCI speaks for both");
            }
            Self::SharedGroup { vm, member, opening } => {
                write!(f, "its isolation group holds {member} of {}", Vm(*vm, devices))?;
                return opening.map_or(Ok(()), |opening| {
                    write!(f, ", since {opening} has no access control (ACS)")
                });
            }
            Self::ReservedMemory(base, limit) => {
                return write!(
                    f,
                    "firmware wants it to keep reaching the memory {base:#x} to {limit:#x} (RMRR)"
                );
            }
            Self::NotMapped(base, limit, why) => {
                write!(f, "the memory {base:#x} to {limit:#x} (RMRR) can't be mapped for it: ")?;
                return why.tell(f, devices);
            }
            Self::RamConflict(reserved::Range { first, last, kind }, ram) => {
                return write!(
                    f,
                    "at {first:#x} to {last:#x} it reaches {kind}, and its VM's RAM ends at {ram:#x}"
                );
            }
            Self::RegionsUnknown => "firmware reserves more memory for devices (RMRR) than is understood",
            Self::BadCapabilities(offset, bytes) => {
                return write!(
                    f,
                    "its capability list or BARs make no sense: {bytes:#010x} at {offset:#x} of configuration space"
                );
            }
            Self::NoRoom => "there is no room left for its BAR frames",
            Self::TooManyDevices => {
                return write!(
                    f,
                    "the machine has more PCI functions than {MAX_FUNCTIONS}, or more BARs than twice that: who shares what isn't known"
                );
            }
            Self::Virtual(problem) => {
                return write!(f, "its physical function has no virtual ones: {problem}");
            }
            Self::NoPin => "it has no interrupt line",
            Self::LineUnknown => {
                "firmware gave its interrupt line (INTx) no input, so who shares it isn't known"
            }
            Self::LineShared(other) => {
                return write!(
                    f,
                    "{other} has the same interrupt line (INTx), or nobody can say that it hasn't"
                );
            }
            Self::Line(error) => return write!(f, "its interrupt line (INTx): {error}"),
        })
    }

    /// What would help.
    fn help(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoIommu => "Turn it on (VT-d) in the firmware's settings",
            Self::NoInterruptRemapping => "Turn it on in the firmware's settings",
            Self::NotCovered => "Use another slot",
            Self::BarUnassigned { .. } | Self::BarUnreachable { .. } => {
                "Give devices more room in the firmware's settings, or use another slot"
            }
            Self::BarShared { .. } => "Use another slot, or newer firmware",
            Self::NoRom => "Leave `rom` out",
            Self::NotMatched(Identity { vendor, device, subvendor, subdevice, class, .. }) => {
                return write!(
                    f,
                    "Add \"{vendor:04x}:{device:04x}\", with \":{subvendor:04x}:{subdevice:04x}\" for this make of it, or \"class:{:04x}\"",
                    class >> 8
                );
            }
            Self::NotReserved => "Add its path to `pci.reserve`",
            Self::PathAbsent(_) | Self::NoSuchDevice => "Take a path that the log shows",
            Self::Bridge => "Name a device behind it",
            Self::Taken(_) => "Name it once",
            Self::SharedRequester(_) => "Use a slot of PCI Express",
            Self::SharedGroup { opening: None, .. } => "Give both to one VM",
            Self::SharedGroup { opening: Some(_), .. } => "Give both to one VM, or use ports that have it",
            Self::ReservedMemory(..) => "Turn that off in the firmware's settings, or set `pci.rmrr`",
            Self::NotMapped(..) => {
                let accept = Policy::Accept.word();
                return write!(f, "Turn that off in the firmware's settings, or set `pci.rmrr` to \"{accept}\"");
            }
            Self::RamConflict(reserved::Range { first, .. }, _) => {
                return write!(f, "Give the VM at most {} MiB", first >> 21 << 1);
            }
            Self::RegionsUnknown | Self::TooManyDevices => {
                "Turn devices off in the firmware's settings that aren't needed"
            }
            Self::BadCapabilities(..) => "Give the device newer firmware, or use another",
            Self::NoRoom => "Use a device with smaller BARs, or fewer devices",
            Self::Virtual(problem) => match problem {
                Problem::NoCapability | Problem::Dependent | Problem::PageSize | Problem::BadBar(_) => {
                    "Leave it out of `pci.vfs`"
                }
                Problem::TooMany { .. } | Problem::Routing { .. } => "Ask for fewer",
                Problem::NoRoom(_) => "Turn SR-IOV on in the firmware's settings, or ask for fewer",
                Problem::ResetFailed | Problem::Absent(_) => {
                    "Turn the machine off and on, or give the device newer firmware"
                }
                Problem::Full => "Ask for fewer, or turn devices off in the firmware's settings",
            },
            Self::NoPin => "Leave `intx` out",
            Self::LineUnknown | Self::Line(_) => "Leave `intx` out if the device has messages (MSI)",
            Self::LineShared(_) => {
                "Use another slot, or leave `intx` out if the device has messages (MSI)"
            }
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Told { refusal: *self, devices: &[] }.fmt(f)
    }
}

impl core::error::Error for Refusal {}

/// A refusal as the log has it: VMs by their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told<'a> {
    /// The refusal.
    pub refusal: Refusal,
    /// The devices of all VMs, which know their owners' names.
    pub devices: &'a [PciDevice],
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.what(f, self.devices)?;
        f.write_str(". ")?;
        self.refusal.help(f)
    }
}

/// A VM, by its name if one of these devices is its.
struct Vm<'a>(u16, &'a [PciDevice]);

impl fmt::Display for Vm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.iter().find(|device| device.vm == self.0) {
            Some(device) => write!(f, "vm {}", device.owner),
            None => write!(f, "VM {}", self.0),
        }
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
