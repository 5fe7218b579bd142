// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VMM asks of `pci-server` (protocol 4), what that one tells the supervisor, and how it is started.
//!
//! A device is named by its place in the VM's part of the description: 0 is the first `[[vm.device]]`. The client's
//! badge says which VM it is.
//!
//! How a VMM uses it, per device:
//! 1. [`Describe`]; choose guest addresses for the BARs and write them with [`ConfigWrite`] to the virtual BAR
//!    registers, as firmware would.
//! 2. [`Attach`]. On [`Error::Resetting`], wait for [`crate::start::signal::VMM_CONTROL`] and call it again.
//! 3. Map the [`FrameRun`]s where the BARs are; bind the interrupt handlers.
//! 4. Pass the guest's configuration accesses on; act on the [`Effect`] that a write's reply names.
//! 5. Accesses to a BAR that no frame covers go through [`BarRead`] and [`BarWrite`], but the MSI-X table itself is the
//!    VMM's: of a guest's writes to it only masking is passed down, with [`MaskVector`].

mod refusal;

use core::fmt;

use heapless::Vec;
use pci::reserved::Policy;
pub use pci::reserved::Ranges;
pub use pci::sriov::Problem;
pub use pci::view::Effect;
use pci::{DevFn, Identity, Location, Match};
pub use refusal::{NotMapped, Refusal, Told};
use serde::{Deserialize, Serialize};

use crate::message::requests;

/// Vectors a device gets at most if the description doesn't say.
pub const DEFAULT_VECTORS: u16 = 32;
/// Devices of all VMs together.
pub const MAX_PROMISED: usize = 12;
/// The name of a VM.
pub type Name = heapless::String<{ crate::start::NAME_BYTES }>;
/// The most entries of `pci.matches`.
pub const MAX_MATCHES: usize = 32;
/// The most entries of `pci.reserve`.
pub const MAX_RESERVED: usize = 32;
/// Runs of frames one device's BARs can come in.
pub const MAX_RUNS: usize = 12;

requests! {
    PCI, Error;
    Describe = 1 -> Description;
    Attach = 2 -> Attached;
    ConfigRead = 3 -> u32;
    ConfigWrite = 4 -> Effect;
    BarRead = 5 -> u64;
    BarWrite = 6 -> ();
    MaskVector = 7 -> ();
    Detach = 8 -> ();
}

/// Where the guest sees the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuestSlot {
    /// Bus number in the guest (0 as long as guests have no bridges).
    pub bus: u8,
    /// Device and function in the guest.
    pub devfn: DevFn,
}

/// Asks what a device is. Reply: [`Description`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Describe {
    /// Index of the device in this VM.
    pub device: u8,
}

/// A BAR as the guest sees it. I/O BARs whose ports pci-server couldn't have are hidden.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bar {
    /// Index 0 to 5 of its first register, at configuration offset 0x10 + 4 * index; 6 is the expansion ROM, at 0x30.
    pub index: u8,
    /// Takes two registers and may lie above 4 GiB.
    pub wide: bool,
    /// Prefetchable. Only then may the guest's accesses be combined.
    pub prefetchable: bool,
    /// Bytes, a power of two. Align the guest address to the larger of it and 4 KiB.
    pub size: u64,
    /// It is an I/O BAR: the device's own first port. `size` ports follow, and guest addresses are ports.
    pub port: Option<u16>,
}

/// How a device interrupts, as the guest sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Interrupts {
    /// Not at all.
    None,
    /// By its line (INTx): its handler is the one that [`Attached::first_vector`] names, and fires again once it is
    /// acknowledged.
    Line {
        /// The pin that the guest sees: 1 is A.
        pin: u8,
    },
    /// MSI: the guest's messages arrive in [`Effect::Msi`].
    Msi,
    /// MSI-X: table and pending bits are in the guest-visible BARs named here; the VMM keeps the table.
    MsiX {
        /// Index of the table's BAR.
        table_bar: u8,
        /// Byte offset of the table in it; 16 bytes per vector.
        table_offset: u32,
        /// Index of the pending bits' BAR.
        pba_bar: u8,
        /// Byte offset of the pending bits in it.
        pba_offset: u32,
        /// Entries of the hardware's table. All of it is withheld, though the guest sees only `vectors`.
        table_size: u16,
    },
}

/// What the guest is to see.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Description {
    /// IDs and class.
    pub identity: Identity,
    /// Where the guest sees it.
    pub slot: GuestSlot,
    /// Its BARs, by index.
    pub bars: Vec<Bar, 7>,
    /// How it interrupts.
    pub interrupts: Interrupts,
    /// Vectors shown to the guest, and handlers that [`Attach`] delivers.
    pub vectors: u16,
    /// Where its DMA doesn't reach the guest's RAM; the VM's RAM lies apart from them.
    pub reserved: Ranges,
}

/// Prepares a device for use: reset, DMA to all the VM's RAM, interrupts, registers. Reply: [`Attached`].
/// Attaching an attached device answers the same again without doing anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attach {
    /// Index of the device in this VM.
    pub device: u8,
}

/// Frames in the `bars` mount that show a contiguous part of one BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FrameRun {
    /// Index of the BAR.
    pub bar: u8,
    /// Byte offset in the BAR of the first frame, a multiple of the frame size.
    pub offset: u64,
    /// Index in the `bars` mount of the first frame; the others follow.
    pub first: u16,
    /// Number of frames.
    pub count: u16,
    /// Frame size: 12 or 21.
    pub size_bits: u8,
}

/// A capability in the `bars` mount for all ports of an I/O BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortRange {
    /// Index of the BAR.
    pub bar: u8,
    /// Index in the `bars` mount.
    pub slot: u16,
}

/// The device is ready. What of a BAR no run covers is to be trapped.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Parts of BARs that can be mapped into the guest.
    pub frames: Vec<FrameRun, MAX_RUNS>,
    /// I/O BARs, whose ports the guest can have where they are the device's own.
    pub ports: Vec<PortRange, 6>,
    /// Index in the `irqs` mount of the handler of vector 0; those of the others follow. It tells the notification bit
    /// as well ([`crate::start::signal::vmm_vector`]).
    pub first_vector: u16,
    /// Number of handlers.
    pub vectors: u16,
}

/// Reads the filtered configuration space. Reply: the bytes, the lowest address in the
/// lowest bits. What isn't there reads zero, whatever the width.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigRead {
    /// Index of the device in this VM.
    pub device: u8,
    /// Byte offset, 0 to 4095.
    pub offset: u16,
    /// Bytes: 1, 2 or 4, and `offset` a multiple of it.
    pub width: u8,
}

/// Writes to the filtered configuration space. Reply: [`Effect`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConfigWrite {
    /// Index of the device in this VM.
    pub device: u8,
    /// Byte offset, 0 to 4095.
    pub offset: u16,
    /// Bytes: 1, 2 or 4, and `offset` a multiple of it.
    pub width: u8,
    /// What to write; bytes beyond `width` are ignored.
    pub value: u32,
}

/// Reads a device register that no mapped frame covers, or ports of an I/O BAR. Reply: the bytes, the lowest address in the lowest bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BarRead {
    /// Index of the device in this VM.
    pub device: u8,
    /// Index of the BAR.
    pub bar: u8,
    /// Byte offset in the BAR.
    pub offset: u64,
    /// Bytes: 1, 2, 4 or 8, and `offset` a multiple of it. Of ports 1, 2 or 4, and any offset.
    pub width: u8,
}

/// Writes a device register that no mapped frame covers, or ports of an I/O BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BarWrite {
    /// Index of the device in this VM.
    pub device: u8,
    /// Index of the BAR.
    pub bar: u8,
    /// Byte offset in the BAR.
    pub offset: u64,
    /// As in [`BarRead`].
    pub width: u8,
    /// What to write.
    pub value: u64,
}

/// Masks or unmasks one vector at the device: MSI-X, or MSI with per-vector masking. With plain MSI it changes nothing.
/// Vectors are masked after [`Attach`] (where the device can mask).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MaskVector {
    /// Index of the device in this VM.
    pub device: u8,
    /// Number of the vector within the device.
    pub vector: u16,
    /// Whether it is to stay silent.
    pub masked: bool,
}

/// Takes a device back: bus mastering off, DMA and interrupts gone, frames taken out of `bars`. For a guest's reboot,
/// followed by [`Attach`], which resets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Detach {
    /// Index of the device in this VM.
    pub device: u8,
}

/// Why `pci-server` didn't do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Error {
    /// See the text.
    UnknownClient,
    /// See the text.
    NoSuchDevice,
    /// See the text.
    Resetting,
    /// See the text.
    ResetFailed,
    /// See the text.
    UsedUp,
    /// See the text.
    NotAttached,
    /// See the text.
    Quarantined,
    /// See the text.
    BadAccess,
    /// See the text.
    NoSuchVector,
    /// See the text.
    Iommu(crate::iommu::Error),
    /// See the text.
    NoAnswer,
    /// See the text.
    Kernel(u8),
    /// See the text.
    Ended,
    /// See the text.
    Lost,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownClient => "the description gives this client no devices",
            Self::NoSuchDevice => "the description gives this VM no device of this number",
            Self::Resetting => "the device is being reset; a signal tells when to ask again",
            Self::ResetFailed => "the device didn't come back after its reset",
            Self::UsedUp => "the device can't be reset (no function-level reset, no D3hot that resets it, others on its bus), and was given out once since \
                 boot. Use a slot that it has to itself",
            Self::NotAttached => "the device isn't attached",
            Self::Quarantined => "the device is quarantined for its DMA faults; a reset gives it back",
            Self::BadAccess => {
                "the access is unaligned, of a width that can't be, or outside what may be accessed this way"
            }
            Self::NoSuchVector => "the device has no vector of this number",
            Self::Iommu(error) => return write!(f, "iommu-server: {error}"),
            Self::NoAnswer => "iommu-server gave no answer that can be read",
            Self::Kernel(error) => return write!(f, "the kernel refused an invocation with error {error}"),
            Self::Ended => "the VM has ended",
            Self::Lost => "pci-server has died and lost what it knew of the devices; they are nobody's to have until the next boot",
        })
    }
}

impl core::error::Error for Error {}

/// The configuration in `pci-server`'s start page. Capabilities come in ranges: `DeviceRegisters` (configuration space,
/// one range for each of `ecam`, in order), `DeviceUntyped` (without children, wherever BARs may lie), `EmptySlots`,
/// `IommuEndpoint`, `TimerEndpoint`, `ClientNotifications` (VMMs, badged `VMM_CONTROL`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PciConfig {
    /// What the ranges of configuration space hold.
    pub ecam: Vec<EcamRange, 4>,
    /// `pci.matches`
    pub matches: Vec<Match, MAX_MATCHES>,
    /// `pci.reserve`
    pub reserve: Vec<Location, MAX_RESERVED>,
    /// The devices of all VMs.
    pub devices: Vec<PciDevice, MAX_PROMISED>,
    /// Memory that firmware wants devices to keep reaching.
    pub regions: Vec<ReservedRegion, MAX_REGIONS>,
    /// There are more of these than have room: nobody knows which devices they are for.
    pub regions_unknown: bool,
    /// `pci.vfs`
    pub virtuals: Vec<Virtuals, { pci::topology::MAX_PHYSICAL }>,
}

/// Virtual functions to be enabled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Virtuals {
    /// The physical function.
    pub location: Location,
    /// How many, at least 1.
    pub count: u8,
}

/// Reserved regions that a configuration has room for.
pub const MAX_REGIONS: usize = 16;

/// Memory that firmware wants a device to keep reaching (RMRR; Intel VT-d, section 8.4).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReservedRegion {
    /// First physical address.
    pub base: u64,
    /// Last physical address.
    pub limit: u64,
    /// The device, or the bridge above the devices: the first hop is on the bus that firmware has given the number `bus`.
    pub device: pci::Path,
    /// Why nobody can have it mapped, if so.
    pub unfit: Option<NotMapped>,
}

/// A part of configuration space: PCI Firmware 3.2, section 4.1.2 (MCFG). 1 MiB per bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EcamRange {
    /// Segment group.
    pub segment: u16,
    /// First bus: its function 0 is at the range's first byte.
    pub first_bus: u8,
    /// Last bus, inclusive.
    pub last_bus: u8,
}

/// A `[[vm.device]]`. Its slots in `bars` and `irqs` are the same as in the VMM's [`crate::config::VmmDevice`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PciDevice {
    /// Number of the VM, 0 to 30: it tells badge, `bars` mount and the bit that signals its end.
    pub vm: u16,
    /// Index in the VM.
    pub index: u8,
    /// The VM's name, for the log.
    pub owner: Name,
    /// Which device.
    pub location: Location,
    /// Where the guest sees it.
    pub slot: GuestSlot,
    /// Most vectors to show; `None`: [`DEFAULT_VECTORS`]. Never more than `irqs_count`.
    pub vectors: Option<u16>,
    /// What is done with memory that firmware reserves for it.
    pub reserved: Reserved,
    /// The guest sees its expansion ROM.
    pub rom: bool,
    /// The description accepts passthrough without interrupt remapping.
    pub unsafe_interrupts: bool,
    /// First slot for its BAR frames in `bars`.
    pub bars_first: u16,
    /// How many.
    pub bars_count: u16,
    /// First slot for its handlers in `irqs`.
    pub irqs_first: u16,
    /// How many.
    pub irqs_count: u16,
    /// Global interrupt of its line, if it is to interrupt by that instead of messages.
    pub intx: Option<u8>,
}

/// What is done with memory that firmware reserves for a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reserved {
    /// What the description wants.
    pub policy: Policy,
    /// Which of [`PciConfig::regions`] iommu-server maps for it, a bit each.
    pub mapped: u16,
    /// Bytes of its VM's RAM.
    pub ram: u64,
}

#[cfg(test)]
mod tests {
    use pci::{Address, reserved};

    use super::*;
    use crate::testing::{fits, fits_a_start_page, full};

    #[test]
    fn largest_encodings_fit_a_message() {
        let (device, offset, width, value) = (u8::MAX, u64::MAX, u8::MAX, u64::MAX);
        fits(Describe { device });
        fits(Attach { device });
        fits(ConfigRead { device, offset: u16::MAX, width });
        fits(ConfigWrite { device, offset: u16::MAX, width, value: u32::MAX });
        fits(BarRead { device, bar: 255, offset, width });
        fits(BarWrite { device, bar: 255, offset, width, value });
        fits(MaskVector { device, vector: u16::MAX, masked: true });
        fits(Detach { device });
        let identity = Identity {
            vendor: u16::MAX,
            device: u16::MAX,
            subvendor: u16::MAX,
            subdevice: u16::MAX,
            class: u32::MAX,
            revision: u8::MAX,
        };
        fits(Description {
            identity,
            slot: GuestSlot { bus: 255, devfn: DevFn(255) },
            bars: full(Bar {
                index: 255,
                wide: true,
                prefetchable: true,
                size: u64::MAX,
                port: Some(u16::MAX),
            }),
            interrupts: Interrupts::MsiX {
                table_bar: 255,
                table_offset: u32::MAX,
                pba_bar: 255,
                pba_offset: u32::MAX,
                table_size: u16::MAX,
            },
            vectors: u16::MAX,
            reserved: {
                let mut ranges = Ranges::default();
                for _ in 0..reserved::MAX_RANGES {
                    ranges.add(reserved::Range { first: u64::MAX, last: u64::MAX, ..reserved::MESSAGES });
                }
                ranges
            },
        });
        let run = FrameRun { bar: 255, offset, first: u16::MAX, count: u16::MAX, size_bits: 255 };
        let ports = PortRange { bar: 255, slot: u16::MAX };
        fits(Attached { frames: full(run), ports: full(ports), first_vector: u16::MAX, vectors: u16::MAX });
        fits(Effect::Msi {
            enabled: true,
            address: u64::MAX,
            data: u16::MAX,
            log2_messages: u8::MAX,
            mask: u32::MAX,
        });
        fits(Effect::Bar { index: 255, base: u64::MAX });
        fits(Error::Iommu(crate::iommu::Error::Kernel(255)));
        let address = Address { segment: u16::MAX, bus: 255, devfn: DevFn(255) };
        let refusal = Refusal::SharedGroup { vm: u16::MAX, member: address, opening: Some(address) };
        fits(refusal);
        let stride = u16::MAX;
        let virtuals = Refusal::Virtual(Problem::Routing { first: stride, stride });
        for refusal in [refusal, virtuals, Refusal::Virtual(Problem::NoRoom(5))] {
            assert!(refusal.to_string().len() <= 180, "a path fits beside it in the root task's line");
        }
    }

    #[test]
    fn a_large_configuration_fits_a_start_page() {
        let path = pci::Path { segment: u16::MAX, bus: 255, hops: full(DevFn(255)) };
        let location = Location::Path(path);
        let device = PciDevice {
            vm: u16::MAX,
            index: u8::MAX,
            owner: "n".repeat(crate::start::NAME_BYTES).as_str().try_into().unwrap(),
            location: location.clone(),
            slot: GuestSlot { bus: 255, devfn: DevFn(255) },
            vectors: Some(u16::MAX),
            reserved: Reserved { policy: Policy::Accept, mapped: u16::MAX, ram: u64::MAX },
            rom: true,
            unsafe_interrupts: true,
            bars_first: u16::MAX,
            bars_count: u16::MAX,
            irqs_first: u16::MAX,
            irqs_count: u16::MAX,
            intx: Some(u8::MAX),
        };
        let config = PciConfig {
            ecam: full(EcamRange { segment: u16::MAX, first_bus: 255, last_bus: 255 }),
            matches: full(Match::Id {
                vendor: u16::MAX,
                device: u16::MAX,
                subsystem: Some((u16::MAX, u16::MAX)),
            }),
            reserve: full(location.clone()),
            devices: full(device),
            regions: full(ReservedRegion {
                base: u64::MAX,
                limit: u64::MAX,
                device: pci::Path { segment: u16::MAX, bus: 255, hops: full(DevFn(255)) },
                unfit: Some(NotMapped::Shared(u16::MAX)),
            }),
            regions_unknown: true,
            virtuals: full(Virtuals { location, count: u8::MAX }),
        };
        fits_a_start_page(config, 80);
    }

    #[test]
    fn texts_are_sentences() {
        assert_eq!(
            Error::Iommu(crate::iommu::Error::NoIommu).to_string(),
            "iommu-server: DMA remapping is off"
        );
    }
}
