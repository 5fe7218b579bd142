// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compiled description: what the host tool writes into the bundle (postcard) and the root task reads.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::path::{GuestSlot, Identity, Location, Match};
pub use pci::reserved::Policy;

/// The most VMs of a system.
pub const MAX_VMS: usize = 16;
/// The most devices of one VM.
pub const MAX_DEVICES: usize = 8;
/// The most devices of all VMs together.
pub const MAX_ALL_DEVICES: usize = 12;
/// The most entries of `pci.matches`.
pub const MAX_MATCHES: usize = 32;
/// The most entries of `pci.reserve`.
pub const MAX_RESERVED: usize = 32;
/// The most entries of `pci.vfs`.
pub const MAX_PHYSICAL: usize = 4;
/// The longest name of a system or VM, in bytes.
pub const MAX_NAME: usize = 31;
/// The longest command line of a guest, in bytes.
pub const MAX_ARGS: usize = 255;
/// The step of guest RAM, in bytes: one 2 MiB page.
pub const MEMORY_STEP: u64 = 2 << 20;
/// The most guest RAM of one VM, in bytes: what fits below the guest's 32-bit device window.
pub const MAX_MEMORY: u64 = 3 << 30;
/// The highest priority of a VM; the servers lie above.
pub const MAX_PRIORITY: u8 = 200;
/// The priority of a VM that says none.
pub const DEFAULT_PRIORITY: u8 = 100;
/// Processors that the kernel uses at most.
pub const MAX_CPUS: i64 = 16;
/// The least budget, in microseconds: the kernel's.
pub const MIN_BUDGET: u64 = 20;
/// The longest period, in microseconds.
pub const MAX_PERIOD: u64 = 1_000_000;
/// The most interrupt vectors of one device.
pub const MAX_VECTORS: u8 = 32;
/// The global interrupts that lines of PCI devices have: those below are ISA's.
pub const LINES: core::ops::RangeInclusive<u8> = 16..=239;
/// User interrupt numbers for messages on the whole machine (16..=107).
pub const MESSAGE_INTERRUPTS: u32 = 92;

/// A whole system. Texts are borrowed from the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System<'a> {
    /// Shown in the boot log.
    pub name: &'a str,
    /// What may be given away, and what is.
    pub pci: Pci,
    /// What to do when a server fails, in the order of [`SERVERS`].
    pub servers: [OnServerFault; SERVERS.len()],
    /// The VMs; a VM's number *k* is its index here.
    #[serde(borrow)]
    pub vms: Vec<Vm<'a>, MAX_VMS>,
}

/// The servers that a description can speak of: client numbers 1 to 4 are theirs.
pub const SERVERS: [&str; 4] = ["pci-server", "iommu-server", "console-server", "timer-server"];

/// What follows the failure of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnServerFault {
    /// It is started anew, and finds what it holds again.
    #[default]
    Restart,
    /// The whole machine stops.
    Halt,
}

/// DMA faults after which a device is quarantined, where the description says nothing else.
pub const DEFAULT_FAULT_LIMIT: u16 = 16;

/// What is said of all PCI devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pci {
    /// Identities that may be given away.
    pub matches: Vec<Match, MAX_MATCHES>,
    /// Places that are taken away from the system and kept for VMs.
    pub reserve: Vec<Location, MAX_RESERVED>,
    /// What is done with memory that firmware reserves for a device; `refuse` where nothing is said.
    pub rmrr: Vec<(Location, Policy), MAX_RESERVED>,
    /// DMA faults after which a device is quarantined, at least 1.
    pub fault_limit: u16,
    /// Physical functions, and how many virtual functions of each are enabled, at least 1.
    pub vfs: Vec<(Location, u8), MAX_PHYSICAL>,
}

impl Default for Pci {
    fn default() -> Self {
        Self {
            matches: Vec::new(),
            reserve: Vec::new(),
            rmrr: Vec::new(),
            fault_limit: DEFAULT_FAULT_LIMIT,
            vfs: Vec::new(),
        }
    }
}

impl Pci {
    /// What is done with memory that firmware reserves for this device.
    #[must_use]
    pub fn policy(&self, device: &Location) -> Policy {
        let said = self.rmrr.iter().find(|(location, _)| location == device);
        said.map(|(_, policy)| *policy).unwrap_or_default()
    }

    /// Whether a function of this identity may be given away at all.
    #[must_use]
    pub fn may_give(&self, identity: &Identity) -> bool {
        self.matches.iter().any(|entry| entry.accepts(identity))
    }
}

/// One VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vm<'a> {
    /// Unique; names the guest's lines in the log.
    pub name: &'a str,
    /// Name of the bundle's guest entry that it boots.
    pub image: &'a str,
    /// Command line; may be empty.
    pub args: &'a str,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// Priority of its VMM's thread.
    pub priority: u8,
    /// Number of the processor on which it runs, as the kernel counts them; 0 is the one that boots.
    pub cpu: u8,
    /// Limit on its CPU time; none if absent.
    pub time: Option<Time>,
    /// What to do when the guest ends by itself.
    pub on_exit: Action,
    /// What to do when the guest or its VMM fails.
    pub on_fault: Action,
    /// What entering its guest does against speculation.
    pub entry_flush: EntryFlush,
    /// Where its serial port goes.
    pub console: Console,
    /// Its devices.
    pub devices: Vec<Device, MAX_DEVICES>,
}

/// At most `budget` of CPU time in every `period`, both in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// CPU time of guest and VMM together, in microseconds.
    pub budget: u64,
    /// In every so many microseconds.
    pub period: u64,
}

/// What follows the end of a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Its device is quieted, its memory taken back; the others run on.
    #[default]
    Stop,
    /// It starts anew.
    Restart,
    /// The whole machine stops.
    Halt,
}

/// What entering a guest does, so that it finds nothing of others in the processor: flush the L1 data cache, clear buffers, forget
/// branch predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryFlush {
    /// What the processor needs.
    #[default]
    Auto,
    /// Everything that it can do.
    On,
    /// Nothing: the guest is trusted with what is in the processor.
    Off,
}

/// Where a guest's serial port goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Console {
    /// Line by line into the system log, with the VM's name.
    #[default]
    Log,
    /// COM1 is this guest's alone.
    Serial,
}

/// A device of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The physical device.
    pub path: Location,
    /// Where the guest sees it.
    pub slot: GuestSlot,
    /// Vectors shown to the guest; the device's, [`MAX_VECTORS`] at most, if absent.
    pub vectors: Option<u8>,
    /// Global interrupt of its line (INTx), if it is to interrupt by that instead of messages.
    pub intx: Option<u8>,
    /// The guest sees its expansion ROM.
    pub rom: bool,
}

impl<'a> System<'a> {
    /// What follows the failure of the server with this client number.
    #[must_use]
    pub fn on_server_fault(&self, client: u64) -> OnServerFault {
        let place = usize::try_from(client).ok().and_then(|client| client.checked_sub(1));
        place.and_then(|place| self.servers.get(place)).copied().unwrap_or(OnServerFault::Halt)
    }

    /// Decodes a compiled description and judges it by every rule of [`crate::check`].
    ///
    /// # Errors
    /// [`ReadError::Malformed`] if the bytes are none, [`ReadError::Unsound`] with the first rule it breaks.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let system: Self = postcard::from_bytes(bytes).map_err(|_| ReadError::Malformed)?;
        let mut first = None;
        crate::check::check(&system, &mut |finding| {
            first.get_or_insert(finding.problem);
        });
        first.map_or(Ok(system), |problem| Err(ReadError::Unsound(problem)))
    }
}

/// Why a compiled description can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The bytes are no compiled description of this version.
    Malformed,
    /// It breaks a rule.
    Unsound(crate::check::Problem),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => {
                f.write_str("the compiled description is malformed: tool and root task differ")
            }
            Self::Unsound(problem) => write!(f, "the compiled description breaks a rule: {problem}"),
        }
    }
}
