// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every rule of a description that can be judged without the machine. The host tool shows all findings, each at its
//! place in the file; the root task runs the same rules over the compiled form before it starts anything.

use core::fmt;

use crate::bundle::MAX_ENTRY_NAME;
use crate::compiled::{
    Device, LINES, MAX_ALL_DEVICES, MAX_ARGS, MAX_MEMORY, MAX_NAME, MAX_PERIOD, MAX_PRIORITY, MAX_VECTORS,
    MEMORY_STEP, MESSAGE_INTERRUPTS, MIN_BUDGET, System, Time, Vm,
};
use crate::path::GuestSlot;

/// Who else has lines in the log.
const PARTS: [&str; 7] =
    ["kernel", "root-task", "pci-server", "iommu-server", "timer-server", "console-server", "vmm-server"];

/// What a finding is about; the host tool turns it into line and column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// `system.name`.
    SystemName,
    /// The whole file.
    Vms,
    /// An entry of `pci.reserve`.
    Reserve(usize),
    /// An entry of `pci.vfs`.
    Virtuals(usize),
    /// An entry of `pci.rmrr`.
    Rmrr(usize),
    /// A key of a VM.
    Vm(usize, Key),
    /// A key of a VM's device.
    Device(usize, usize, Key),
}

/// A key within a VM or device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // Each is the key of the same name.
pub enum Key {
    Name,
    Image,
    Args,
    Memory,
    Priority,
    Budget,
    Path,
    Slot,
    Vectors,
    Intx,
}

/// A rule that a description breaks. The text says what is wrong, [`Problem::help`] what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The text of each is its documentation.
pub enum Problem {
    BadName,
    NoVms,
    NameTwice { first: usize },
    NameOfPart,
    NoImage,
    ImageTooLong { length: usize },
    ArgsTooLong { length: usize },
    ArgsControl,
    MemoryStep { bytes: u64 },
    MemoryRange { bytes: u64 },
    Priority { priority: u8 },
    BudgetRange,
    ReservedTwice,
    PolicyTwice,
    NothingMatches,
    NotReserved,
    PhysicalNotReserved,
    NoVirtuals,
    VirtualsTwice,
    GivenTwice { vm: usize },
    SlotTwice { device: usize },
    SlotBus,
    SlotHostBridge,
    Vectors { vectors: u8 },
    Intx { intx: u8 },
    IntxTwice { vm: usize },
    IntxVectors,
    IntxSlot { device: usize },
    AllVectors { total: u32 },
    AllDevices { total: usize },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("this is no name"),
            Self::NoVms => f.write_str("the description has no VM"),
            Self::NameTwice { first } => write!(f, "two VMs have this name: it is VM {first}'s already"),
            Self::NameOfPart => f.write_str("a part of the system has this name"),
            Self::NoImage => f.write_str("the image's path is empty"),
            Self::ImageTooLong { length } => write!(f, "the image's path has {length} bytes"),
            Self::ArgsTooLong { length } => write!(f, "the command line has {length} bytes"),
            Self::ArgsControl => f.write_str("the command line has a control character"),
            Self::MemoryStep { bytes } => write!(f, "{bytes} bytes of memory is no multiple of 2M"),
            Self::MemoryRange { bytes } => write!(f, "{bytes} bytes of memory is out of range"),
            Self::Priority { priority } => write!(f, "priority {priority} is above the VMs' highest"),
            Self::BudgetRange => f.write_str("the budget doesn't fit the period"),
            Self::ReservedTwice => f.write_str("this device is reserved twice"),
            Self::PolicyTwice => f.write_str("this device's reserved memory is spoken of twice"),
            Self::NothingMatches => f.write_str("devices are reserved, but pci.matches allows none"),
            Self::NotReserved => f.write_str("this device is not reserved"),
            Self::PhysicalNotReserved => {
                f.write_str("a device with virtual functions to be enabled is not reserved")
            }
            Self::VirtualsTwice => f.write_str("this device's virtual functions are spoken of twice"),
            Self::NoVirtuals => f.write_str("no virtual function is to be enabled"),
            Self::GivenTwice { vm } => write!(f, "this device is given twice: VM {vm} has it already"),
            Self::SlotTwice { device } => {
                write!(f, "this slot is used twice: device {device} of this VM has it")
            }
            Self::SlotBus => f.write_str("a guest has one PCI bus, 00"),
            Self::SlotHostBridge => f.write_str("slot 00:00.0 is the guest's host bridge"),
            Self::Vectors { vectors } => write!(f, "{vectors} vectors is out of range"),
            Self::Intx { intx } => write!(f, "global interrupt {intx} is no PCI device's"),
            Self::IntxTwice { vm } => {
                write!(f, "this interrupt line is given twice: a device of VM {vm} has it")
            }
            Self::IntxVectors => f.write_str("a device interrupts by its line or by messages, not both"),
            Self::IntxSlot { device } => {
                write!(f, "device {device} of this VM has the same interrupt pin in the guest")
            }
            Self::AllVectors { total } => write!(f, "all devices together ask for {total} vectors"),
            Self::AllDevices { total } => write!(f, "the VMs have {total} devices together"),
        }
    }
}

impl Problem {
    /// What would be right.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::BadName => {
                "a name has 1 to 31 of the characters a-z, 0-9, `-` and `_`, and begins with a letter"
            }
            Self::NoVms => "add at least one [[vm]]",
            Self::NameTwice { .. } => "give each VM a name of its own",
            Self::NameOfPart => "choose another: the guest's lines in the log must not pass for the part's",
            Self::NoImage => "write a folder of this workspace (\"images/hello\") or a path to an ELF file",
            Self::ImageTooLong { .. } => "at most 40 bytes",
            Self::ArgsTooLong { .. } => "at most 255 bytes",
            Self::ArgsControl => "write it in one line, without tabs",
            Self::MemoryStep { .. } => "write a multiple of 2M, for example \"64M\"",
            Self::MemoryRange { .. } => "from 2M to 3G",
            Self::Priority { .. } => "at most 200; the servers lie above",
            Self::BudgetRange => "the budget is at least 20us and at most the period, the period at most 1s",
            Self::ReservedTwice => "name each device once",
            Self::PolicyTwice | Self::VirtualsTwice => "say it once",
            Self::NothingMatches => "add the device's identity to pci.matches, for example \"1af4:1041\"",
            Self::NotReserved => "add the same path to pci.reserve",
            Self::PhysicalNotReserved => {
                "add the same path to pci.reserve: nobody else may use the physical function"
            }
            Self::NoVirtuals => "from 1 to 255, or leave the entry out",
            Self::GivenTwice { .. } => "a device belongs to one VM",
            Self::SlotTwice { .. } => "choose another, or leave the slot out",
            Self::SlotBus => "write 00:01.0 to 00:1f.7",
            Self::SlotHostBridge => "write 00:01.0 to 00:1f.7",
            Self::Vectors { .. } => "from 1 to 32",
            Self::Intx { .. } => "from 16 to 239",
            Self::IntxTwice { .. } => {
                "a line is one device's alone; leave `intx` out where a device has messages (MSI)"
            }
            Self::IntxVectors => "leave out `vectors` or `intx`",
            Self::IntxSlot { .. } => "functions 0 and 4, 1 and 5 and so on share a pin: use another slot",
            Self::AllVectors { .. } => "the machine has 92; show the guests fewer",
            Self::AllDevices { .. } => "at most 12",
        }
    }
}

/// A problem and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// Judges a system by every rule and hands each finding to `report`, in the file's order as far as that is known.
pub fn check(system: &System<'_>, report: &mut dyn FnMut(Finding)) {
    let mut say = |place, problem| report(Finding { place, problem });
    if !is_name(system.name) {
        say(Place::SystemName, Problem::BadName);
    }
    for (index, path) in system.pci.reserve.iter().enumerate() {
        if system.pci.reserve[..index].contains(path) {
            say(Place::Reserve(index), Problem::ReservedTwice);
        }
    }
    for (index, (path, _)) in system.pci.rmrr.iter().enumerate() {
        if !system.pci.reserve.contains(path) {
            say(Place::Rmrr(index), Problem::NotReserved);
        }
        if system.pci.rmrr[..index].iter().any(|(other, _)| other == path) {
            say(Place::Rmrr(index), Problem::PolicyTwice);
        }
    }
    if !system.pci.reserve.is_empty() && system.pci.matches.is_empty() {
        say(Place::Reserve(0), Problem::NothingMatches);
    }
    for (index, (path, count)) in system.pci.vfs.iter().enumerate() {
        if !system.pci.reserve.contains(path) {
            say(Place::Virtuals(index), Problem::PhysicalNotReserved);
        }
        if *count == 0 {
            say(Place::Virtuals(index), Problem::NoVirtuals);
        }
        if system.pci.vfs[..index].iter().any(|(other, _)| other == path) {
            say(Place::Virtuals(index), Problem::VirtualsTwice);
        }
    }
    if system.vms.is_empty() {
        say(Place::Vms, Problem::NoVms);
    }
    for (index, vm) in system.vms.iter().enumerate() {
        if let Some(first) = system.vms[..index].iter().position(|other| other.name == vm.name) {
            say(Place::Vm(index, Key::Name), Problem::NameTwice { first });
        }
        check_vm(vm, &mut |key, problem| say(Place::Vm(index, key), problem));
        check_devices(system, index, &mut |device, key, problem| {
            say(Place::Device(index, device, key), problem)
        });
    }
    let total = (system.vms.iter().flat_map(|vm| &vm.devices))
        .map(|device| u32::from(device.vectors.unwrap_or(0)))
        .sum();
    if total > MESSAGE_INTERRUPTS {
        say(Place::Vms, Problem::AllVectors { total });
    }
    let total = system.vms.iter().map(|vm| vm.devices.len()).sum();
    if total > MAX_ALL_DEVICES {
        say(Place::Vms, Problem::AllDevices { total });
    }
}

fn check_vm(vm: &Vm<'_>, say: &mut dyn FnMut(Key, Problem)) {
    if !is_name(vm.name) {
        say(Key::Name, Problem::BadName);
    } else if PARTS.contains(&vm.name) {
        say(Key::Name, Problem::NameOfPart);
    }
    if vm.image.is_empty() {
        say(Key::Image, Problem::NoImage);
    } else if vm.image.len() > MAX_ENTRY_NAME {
        say(Key::Image, Problem::ImageTooLong { length: vm.image.len() });
    }
    if vm.args.len() > MAX_ARGS {
        say(Key::Args, Problem::ArgsTooLong { length: vm.args.len() });
    }
    if vm.args.chars().any(char::is_control) {
        say(Key::Args, Problem::ArgsControl);
    }
    if vm.memory == 0 || vm.memory > MAX_MEMORY {
        say(Key::Memory, Problem::MemoryRange { bytes: vm.memory });
    } else if !vm.memory.is_multiple_of(MEMORY_STEP) {
        say(Key::Memory, Problem::MemoryStep { bytes: vm.memory });
    }
    if vm.priority > MAX_PRIORITY {
        say(Key::Priority, Problem::Priority { priority: vm.priority });
    }
    let fits =
        |time: &Time| MIN_BUDGET <= time.budget && time.budget <= time.period && time.period <= MAX_PERIOD;
    if !vm.time.as_ref().is_none_or(fits) {
        say(Key::Budget, Problem::BudgetRange);
    }
}

fn check_devices(system: &System<'_>, vm: usize, say: &mut dyn FnMut(usize, Key, Problem)) {
    let devices = &system.vms[vm].devices;
    for (index, device) in devices.iter().enumerate() {
        if !system.pci.reserve.contains(&device.path) {
            say(index, Key::Path, Problem::NotReserved);
        }
        let earlier = (system.vms[..vm].iter().enumerate())
            .find(|(_, other)| other.devices.iter().any(|owned| owned.path == device.path))
            .map(|(owner, _)| owner)
            .or_else(|| devices[..index].iter().any(|owned| owned.path == device.path).then_some(vm));
        if let Some(owner) = earlier {
            say(index, Key::Path, Problem::GivenTwice { vm: owner });
        }
        if let Some(device) = devices[..index].iter().position(|other| other.slot == device.slot) {
            say(index, Key::Slot, Problem::SlotTwice { device });
        }
        let GuestSlot { bus, function } = device.slot;
        if bus != 0 {
            say(index, Key::Slot, Problem::SlotBus);
        } else if function.device() == 0 {
            say(index, Key::Slot, Problem::SlotHostBridge);
        }
        if let Some(intx) = device.intx {
            check_line(system, vm, index, intx, &mut |key, problem| say(index, key, problem));
        }
        if let Some(vectors) = device.vectors.filter(|vectors| !(1..=MAX_VECTORS).contains(vectors)) {
            say(index, Key::Vectors, Problem::Vectors { vectors });
        }
    }
}

fn check_line(system: &System<'_>, vm: usize, index: usize, intx: u8, say: &mut dyn FnMut(Key, Problem)) {
    let devices = &system.vms[vm].devices;
    let device = &devices[index];
    if !LINES.contains(&intx) {
        say(Key::Intx, Problem::Intx { intx });
    }
    let has = |devices: &[Device]| devices.iter().any(|other| other.intx == Some(intx));
    let earlier = system.vms[..vm].iter().position(|other| has(&other.devices));
    if let Some(vm) = earlier.or_else(|| has(&devices[..index]).then_some(vm)) {
        say(Key::Intx, Problem::IntxTwice { vm });
    }
    if device.vectors.is_some() {
        say(Key::Intx, Problem::IntxVectors);
    }
    let pin = |device: &Device| (device.slot.function.device(), device.slot.function.function() % 4);
    let same =
        |other: &Device| other.intx.is_some() && other.slot != device.slot && pin(other) == pin(device);
    if let Some(other) = devices[..index].iter().position(same) {
        say(Key::Slot, Problem::IntxSlot { device: other });
    }
}

/// Whether a text can name a system or VM: it goes into log lines and file names.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte))
}
