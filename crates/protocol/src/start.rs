// SPDX-License-Identifier: MIT OR Apache-2.0
//! The start page: what a part finds at the address in RDI. Header, ranges, then the part's configuration as postcard.

use serde::{Serialize, de::DeserializeOwned};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most bytes of a start page.
pub const MAX_BYTES: usize = 16 * 1024;
/// `PSTNPART`, little-endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"PSTNPART");
/// Version of the layout.
pub const VERSION: u32 = 1;
/// Most bytes of a part's name.
pub const NAME_BYTES: usize = 32;

/// Fixed slots of a part's own CNode (mount 0).
pub mod slot {
    /// Its TCB.
    pub const TCB: u64 = 1;
    /// Its root CNode, with the guard of its CSpace: any capability address resolves in it at depth 64.
    pub const CNODE: u64 = 2;
    /// Its VSpace.
    pub const VSPACE: u64 = 3;
    /// The supervisor endpoint, badged.
    pub const SUPERVISOR: u64 = 4;
    /// The endpoint it serves (servers).
    pub const SERVED: u64 = 5;
    /// Its reply object.
    pub const REPLY: u64 = 6;
    /// Its notification, bound to its TCB.
    pub const NOTIFICATION: u64 = 7;
    /// Its untyped memory.
    pub const UNTYPED: u64 = 8;
    /// Its scheduling context.
    pub const SCHED_CONTEXT: u64 = 9;
    /// The first that the ranges describe.
    pub const FIRST_DYNAMIC: u64 = 10;
}

/// Mounts: second-level CNodes of a capability space.
pub mod mount {
    /// The part's own.
    pub const OWN: u64 = 0;
    /// `bars`, in a VMM.
    pub const VMM_BARS: u64 = 1;
    /// `irqs`, in a VMM.
    pub const VMM_IRQS: u64 = 2;
    /// `bars` of VM `k`, in pci-server.
    pub const fn pci_bars(k: u16) -> u64 {
        1 + k as u64
    }
    /// `dma` of VM `k`, in iommu-server.
    pub const fn iommu_dma(k: u16) -> u64 {
        1 + k as u64
    }
    /// `irqs` of VM `k`, in iommu-server.
    pub const fn iommu_irqs(k: u16) -> u64 {
        32 + k as u64
    }
}

/// The capability address of `index` in the CNode at `mount`.
pub const fn cptr(mount: u64, index: u64) -> u64 {
    mount << 16 | index
}

/// Bits of the parts' bound notifications.
pub mod signal {
    /// timer-server and console-server: their device's interrupt.
    pub const DEVICE: u64 = 1 << 62;
    /// pci-server, iommu-server: the deadline they set has come.
    pub const TIMER: u64 = 1 << 61;
    /// iommu-server: DMA faults are waiting.
    pub const DMA_FAULT: u64 = 1 << 60;
    /// A server's log ring has space again.
    pub const LOG_SPACE: u64 = 1 << 59;
    /// pci-server: somebody wants to look; what, `look::ask::WhatIsAsked` tells.
    pub const LOOK: u64 = 1 << 58;
    /// console-server: what it asked for is there, or won't come (`look::ask::GetShown`).
    pub const SHOWN: u64 = 1 << 61;
    /// pci-server: VM `k` has ended. Bits 0 to 30.
    pub const fn vm_ended(k: u16) -> u64 {
        1 << k
    }
    /// console-server: the part of index `client::index` has written lines, or the root task (0).
    pub const fn log_lines(index: usize) -> u64 {
        1 << index
    }
    /// VMM: the deadline it set has come.
    pub const VMM_TIMER: u64 = 1 << 0;
    /// VMM: reserved for control.
    pub const VMM_CONTROL: u64 = 1 << 1;
    /// VMM: its log ring has space again.
    pub const VMM_LOG_SPACE: u64 = 1 << 2;
    /// VMM: one of its devices caused DMA faults; iommu-server signals.
    pub const VMM_DMA_FAULT: u64 = 1 << 3;
    /// VMM: as [`LOOK`].
    pub const VMM_LOOK: u64 = 1 << 4;
    /// VMM: its handler in slot `v` of `irqs` (slots modulo 56; with more vectors several share a bit).
    pub const fn vmm_vector(v: usize) -> u64 {
        1 << (8 + v % 56)
    }
}

/// What a [`Range`] is. "Indexed by client" means that the capability of client `c` is at `first + client::index(c)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum RangeKind {
    /// Notification capabilities with the right badge, by which this part signals others. Indexed by client.
    ClientNotifications = 1,
    /// timer-server's endpoint, badged.
    TimerEndpoint = 2,
    /// iommu-server's endpoint, badged.
    IommuEndpoint = 3,
    /// pci-server's endpoint, badged.
    PciEndpoint = 4,
    /// console-server's notification, badged with this part's bit.
    ConsoleNotification = 5,
    /// Handler of an interrupt pin; `physical` is the I/O APIC's input.
    IrqHandler = 6,
    /// I/O ports; `physical` is the first, `bytes` how many.
    IoPorts = 7,
    /// Frames of device registers, `count` of `bytes` each, mapped at `address`, physical address `physical`.
    DeviceRegisters = 8,
    /// Log rings, `count` of `bytes` each, mapped at `address`. console-server's; `physical` is 0.
    LogRings = 9,
    /// An untyped of device memory, `bytes` long, at `physical`. `count` is 1. Sorted by `physical`.
    DeviceUntyped = 10,
    /// Empty slots that the part may fill.
    EmptySlots = 11,
    /// The IOSpace master.
    IoSpaceMaster = 12,
    /// IRQControl.
    IrqControl = 13,
    /// The DMA-fault control.
    DmaFaultControl = 14,
    /// Frames of guest RAM, `count` of `bytes` each, mapped at `address` in guest-physical order; the capabilities
    /// are unmapped copies, for the nested tables. `physical` is the guest-physical address of the first.
    GuestRam = 15,
    /// I/O page tables of one device: `physical` is `vm << 16 | device`.
    DmaTables = 16,
    /// Frame copies of all RAM, or of a region that firmware reserves, for one device, `count` of `bytes` each, in
    /// guest-physical order; `address` is the IOVA of the first; `physical` is `vm << 16 | device`.
    DmaFrames = 17,
    /// Empty slots for the original handlers of one device's interrupts; `physical` is `vm << 16 | device`.
    DmaHandlers = 18,
    /// Slots of a VM's `bars` CNode; `physical` is the VM.
    Bars = 19,
    /// Slots of a VM's `irqs` CNode; `physical` is the VM.
    Irqs = 20,
    /// A VMM's: the top-level nested table (EPTPML4) of its guest, empty, with its ASID, and set as the EPT root of the
    /// VMM's TCB. The VMM makes the VCPU and the lower tables from its untyped memory.
    NestedRoot = 21,
    /// Pages that the root task leaves as they are when it starts this server anew ([`crate::kept`]), mapped at `address`. `count` is 1.
    Kept = 22,
}

impl RangeKind {
    /// The kind with number `n`.
    pub const fn from_number(n: u32) -> Option<Self> {
        use RangeKind::*;
        Some(match n {
            1 => ClientNotifications,
            2 => TimerEndpoint,
            3 => IommuEndpoint,
            4 => PciEndpoint,
            5 => ConsoleNotification,
            6 => IrqHandler,
            7 => IoPorts,
            8 => DeviceRegisters,
            9 => LogRings,
            10 => DeviceUntyped,
            11 => EmptySlots,
            12 => IoSpaceMaster,
            13 => IrqControl,
            14 => DmaFaultControl,
            15 => GuestRam,
            16 => DmaTables,
            17 => DmaFrames,
            18 => DmaHandlers,
            19 => Bars,
            20 => Irqs,
            21 => NestedRoot,
            22 => Kept,
            _ => return None,
        })
    }
}

/// A run of capabilities, and memory that belongs to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Range {
    /// A [`RangeKind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// Capability address of the first, 0 if there is none.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Virtual address of the first, 0 if it isn't mapped.
    pub address: u64,
    /// Bytes of each.
    pub bytes: u64,
    /// Physical address, or what the kind says.
    pub physical: u64,
}

impl Range {
    /// A range of capabilities without memory.
    pub const fn new(kind: RangeKind, first: u64, count: u64) -> Self {
        Self { kind: kind as u32, reserved: 0, first, count, address: 0, bytes: 0, physical: 0 }
    }
    /// With memory: `bytes` each, from virtual address `address` on.
    pub const fn mapped(self, address: u64, bytes: u64) -> Self {
        Self { address, bytes, ..self }
    }
    /// With a physical address, or what the kind says.
    pub const fn at(self, physical: u64) -> Self {
        Self { physical, ..self }
    }
    /// Its kind, `None` for one that this build doesn't know.
    pub const fn kind(&self) -> Option<RangeKind> {
        RangeKind::from_number(self.kind)
    }
}

/// The kernel's extension chunk (X0), all zero on a kernel without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Extensions {
    /// 1, or 0 without the chunk.
    pub version: u32,
    /// `sel4_abi::bootinfo::FEATURE_*`.
    pub features: u32,
    /// `sel4_abi::bootinfo::BACKEND_*`.
    pub vcpu_backend: u32,
    /// Entries of the interrupt remapping table.
    pub irte_count: u32,
    /// First invocation label of the extensions.
    pub first_label: u32,
    /// First object type of the extensions.
    pub first_type: u32,
    /// Whether there is a DMA-fault control (the slot is the root task's).
    pub dma_fault_slot: u64,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    /// Bytes of header, ranges and configuration.
    length: u32,
    name: [u8; NAME_BYTES],
    client: u64,
    /// Frequency of the time-stamp counter, kHz.
    tsc_khz: u64,
    /// Levels of I/O page tables, 0 without an IOMMU.
    io_levels: u64,
    extensions: Extensions,
    range_count: u32,
    config_length: u32,
}

const _: () = assert!(size_of::<Header>() == 16 + 32 + 24 + 32 + 8);

/// What is wrong with a start page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError {
    /// It is none: wrong magic, or too short.
    NotAStartPage,
    /// It has another version.
    Version,
    /// Its lengths don't fit it.
    Lengths,
    /// It doesn't fit [`MAX_BYTES`].
    TooLong,
    /// The configuration isn't what this part takes.
    Config,
}

/// Facts that every start page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The part's name, for the log: `pci-server`, or the VM's name.
    pub name: &'a str,
    /// The part's own client number ([`crate::client`]).
    pub client: u64,
    /// Frequency of the time-stamp counter, kHz.
    pub tsc_khz: u64,
    /// Levels of I/O page tables, 0 without an IOMMU.
    pub io_levels: u64,
    /// The kernel's extensions.
    pub extensions: Extensions,
}

/// A start page, read.
#[derive(Debug, Clone, Copy)]
pub struct StartPage<'a> {
    header: &'a Header,
    ranges: &'a [Range],
    config: &'a [u8],
}

impl<'a> StartPage<'a> {
    /// Reads the page; `bytes` may be longer than it. They must be aligned to 8.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, StartError> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| StartError::NotAStartPage)?;
        if header.magic != MAGIC {
            return Err(StartError::NotAStartPage);
        }
        if header.version != VERSION {
            return Err(StartError::Version);
        }
        let (ranges, rest) = <[Range]>::ref_from_prefix_with_elems(rest, header.range_count as usize)
            .map_err(|_| StartError::Lengths)?;
        let config = rest.get(..header.config_length as usize).ok_or(StartError::Lengths)?;
        if header.length as usize != size_of::<Header>() + size_of_val(ranges) + config.len() {
            return Err(StartError::Lengths);
        }
        Ok(Self { header, ranges, config })
    }

    /// What every start page has.
    pub fn facts(&self) -> Facts<'a> {
        let name = &self.header.name;
        let end = name.iter().position(|b| *b == 0).unwrap_or(NAME_BYTES);
        Facts {
            name: core::str::from_utf8(&name[..end]).unwrap_or("?"),
            client: self.header.client,
            tsc_khz: self.header.tsc_khz,
            io_levels: self.header.io_levels,
            extensions: self.header.extensions,
        }
    }

    /// All ranges.
    pub fn ranges(&self) -> &'a [Range] {
        self.ranges
    }

    /// The ranges of one kind.
    pub fn all(&self, kind: RangeKind) -> impl Iterator<Item = &'a Range> + use<'a> {
        self.ranges.iter().filter(move |r| r.kind == kind as u32)
    }

    /// The first range of one kind.
    pub fn find(&self, kind: RangeKind) -> Option<&'a Range> {
        self.all(kind).next()
    }

    /// The part's configuration.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, StartError> {
        match postcard::take_from_bytes(self.config) {
            Ok((config, [])) => Ok(config),
            _ => Err(StartError::Config),
        }
    }
}

/// Writes a start page into `out`; returns its length in bytes.
pub fn write<T: Serialize>(
    out: &mut [u8],
    facts: &Facts,
    ranges: &[Range],
    config: &T,
) -> Result<usize, StartError> {
    let limit = out.len().min(MAX_BYTES);
    let out = &mut out[..limit];
    let ranges_bytes = ranges.as_bytes();
    let config_at = size_of::<Header>() + ranges_bytes.len();
    let room = out.get_mut(config_at..).ok_or(StartError::TooLong)?;
    let config_length = postcard::to_slice(config, room).map_err(|_| StartError::TooLong)?.len();
    let mut name = [0; NAME_BYTES];
    let bytes = facts.name.as_bytes();
    name.get_mut(..bytes.len()).ok_or(StartError::TooLong)?.copy_from_slice(bytes);
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        length: (config_at + config_length) as u32,
        name,
        client: facts.client,
        tsc_khz: facts.tsc_khz,
        io_levels: facts.io_levels,
        extensions: facts.extensions,
        range_count: ranges.len() as u32,
        config_length: config_length as u32,
    };
    out[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    out[size_of::<Header>()..config_at].copy_from_slice(ranges_bytes);
    Ok(config_at + config_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts<'static> {
        Facts {
            name: "pci-server",
            client: crate::client::PCI,
            tsc_khz: 1_000_000,
            io_levels: 3,
            extensions: Extensions { version: 1, irte_count: 256, ..Default::default() },
        }
    }
    fn ranges() -> [Range; 3] {
        [
            Range::new(RangeKind::IommuEndpoint, 10, 1),
            Range::new(RangeKind::DeviceUntyped, 11, 1).mapped(0, 1 << 20).at(0xfe00_0000),
            Range::new(RangeKind::DeviceUntyped, 12, 1).mapped(0, 1 << 12).at(0xfe10_0000),
        ]
    }
    // Aligned storage, as the page is on the machine.
    fn page() -> (Vec<u64>, usize) {
        let mut words = vec![0u64; MAX_BYTES / 8];
        let n = write(words.as_mut_bytes(), &facts(), &ranges(), &(5u16, true)).unwrap();
        (words, n)
    }

    #[test]
    fn round_trip() {
        let (words, n) = page();
        for bytes in [words.as_bytes(), &words.as_bytes()[..n]] {
            let page = StartPage::parse(bytes).unwrap();
            assert_eq!(page.facts(), facts());
            assert_eq!(page.ranges(), ranges());
            assert_eq!(page.find(RangeKind::IommuEndpoint).unwrap().first, 10);
            assert_eq!(page.all(RangeKind::DeviceUntyped).count(), 2);
            assert!(page.find(RangeKind::IrqControl).is_none());
            assert_eq!(page.config(), Ok((5u16, true)));
            assert_eq!(page.config::<u8>(), Err(StartError::Config), "bytes left over");
            assert_eq!(page.config::<(u64, u64, u64)>(), Err(StartError::Config));
        }
    }

    #[test]
    fn damage_is_found() {
        let (words, n) = page();
        for cut in 0..n {
            assert!(StartPage::parse(&words.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..n * 8 {
            let mut words = words.clone();
            words[bit / 64] ^= 1 << (bit % 64);
            if let Ok(page) = StartPage::parse(words.as_bytes()) {
                let _ = (page.facts(), page.ranges().len(), page.config::<(u16, bool)>());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let mut small = [0u64; 20];
        assert_eq!(write(small.as_mut_bytes(), &facts(), &ranges(), &0u8), Err(StartError::TooLong));
        let mut words = vec![0u64; 4 * MAX_BYTES / 8];
        let many = [ranges()[0]; 400];
        assert_eq!(write(words.as_mut_bytes(), &facts(), &many, &0u8), Err(StartError::TooLong));
        let long = Facts { name: "a name of more than thirty-two bytes", ..facts() };
        assert_eq!(write(words.as_mut_bytes(), &long, &[], &0u8), Err(StartError::TooLong));
    }

    #[test]
    fn kinds_have_their_numbers() {
        for n in 0..64 {
            if let Some(kind) = RangeKind::from_number(n) {
                assert_eq!(kind as u32, n);
            }
        }
    }
}
