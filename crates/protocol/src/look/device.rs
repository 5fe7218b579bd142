// SPDX-License-Identifier: MIT OR Apache-2.0
//! What pci-server shows: the machine's functions, and whose they are.

use heapless::Vec;
use pci::life::State;
use pci::{Address, Identity, Path};
use serde::{Deserialize, Serialize};

use crate::pci::GuestSlot;

/// Most functions of one answer.
pub const MAX_SHOWN: usize = 10;
/// Most addresses of a group that are shown.
pub const MAX_GROUP: usize = 4;

/// Functions of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Devices {
    /// In the order of the enumeration.
    pub devices: Vec<Device, MAX_SHOWN>,
    /// The index to go on with, if that wasn't all.
    pub next: Option<u16>,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where it answers.
    pub address: Address,
    /// Where it sits.
    pub path: Path,
    /// IDs and class.
    pub identity: Identity,
    /// Ways to reset it.
    pub resets: Resets,
    /// Others in its isolation group, the first of them.
    pub group: Vec<Address, MAX_GROUP>,
    /// How many these are altogether.
    pub grouped: u16,
    /// The VM that it was promised to.
    pub owner: Option<Owner>,
}

/// Ways to reset a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resets {
    /// Function-level, by the PCI Express capability.
    pub function: bool,
    /// Function-level, by the Advanced Features capability.
    pub advanced: bool,
    /// D3hot and back.
    pub power: bool,
    /// The bus, which it has to itself.
    pub bus: bool,
}

/// Of a function that was promised to a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Number of the VM.
    pub vm: u16,
    /// Index of the device in the VM.
    pub index: u8,
    /// Where the guest sees it.
    pub slot: GuestSlot,
    /// Interrupt vectors that the guest gets.
    pub vectors: u16,
    /// Where it is in its life.
    pub state: State,
    /// It is being reset.
    pub resetting: bool,
    /// DMA faults since it was last attached; `None` if iommu-server doesn't tell.
    pub faults: Option<u32>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::full;
    use pci::DevFn;

    pub fn largest() -> Devices {
        let address = Address { segment: u16::MAX, bus: u8::MAX, devfn: DevFn(u8::MAX) };
        let n = u16::MAX;
        let class = 0xff_ffff;
        let device = Device {
            address,
            path: Path { segment: n, bus: u8::MAX, hops: full(DevFn(u8::MAX)) },
            identity: Identity { vendor: n, device: n, subvendor: n, subdevice: n, class, revision: u8::MAX },
            resets: Resets { function: true, advanced: true, power: true, bus: true },
            group: full(address),
            grouped: n,
            owner: Some(Owner {
                vm: n,
                index: u8::MAX,
                slot: GuestSlot { bus: u8::MAX, devfn: DevFn(u8::MAX) },
                vectors: n,
                state: State::ResetFailed,
                resetting: true,
                faults: Some(u32::MAX),
            }),
        };
        Devices { devices: full(device), next: Some(n) }
    }
}
