// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configurations in the start pages of console-server, timer-server and the VMMs.
//! pci-server's and iommu-server's stand in their modules.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// Most bytes of a VM's command line.
pub const MAX_ARGS: usize = 255;
/// Most devices of one VM.
pub const MAX_DEVICES: usize = 8;

/// console-server's: whose rings the range `LogRings` has, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConsoleConfig {
    /// One entry for each ring.
    pub rings: Vec<RingOwner, { crate::client::MAX_CLIENTS }>,
}

/// Whose ring it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingOwner {
    /// `client::index`, or 0 for the root task: also the bit of console-server's notification.
    pub index: u8,
    /// Set before each line, in brackets.
    pub name: String<{ crate::start::NAME_BYTES }>,
    /// A VM's ring: its lines are a guest's.
    pub is_vm: bool,
}

/// timer-server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimerConfig {
    /// Which comparator of the HPET.
    pub comparator: u8,
    /// The I/O APIC input to route it to; its handler is the range `IrqHandler`.
    pub pin: u8,
    /// Whether the pin's handler is level-triggered.
    pub level: bool,
}

/// A file that the root task put into guest RAM, unparsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePlace {
    /// Guest-physical address, a multiple of 4096.
    pub gpa: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How to boot the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Boot {
    /// From the image itself.
    #[default]
    Auto,
    /// By its PVH note.
    Pvh,
}

/// A VMM's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmConfig {
    /// Which VM this is.
    pub vm: u16,
    /// Guest RAM, bytes, a multiple of 2 MiB. It lies from guest-physical 0 on, without holes.
    pub memory: u64,
    /// The guest's image, at the top of RAM. The VMM takes the RAM back after it has loaded the image.
    pub image: FilePlace,
    /// How to boot it.
    pub boot: Boot,
    /// Command line.
    pub args: String<MAX_ARGS>,
    /// The guest's devices, in the description's order: the index is what pci-server's `Attach` takes.
    pub devices: Vec<VmmDevice, MAX_DEVICES>,
}

/// A passed-through device as its guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmDevice {
    /// The guest's bus, device, function: bus << 8 | device << 3 | function.
    pub slot: u16,
    /// First slot for its BAR frames in `bars`.
    pub bars_first: u16,
    /// How many.
    pub bars_count: u16,
    /// First slot for its handlers in `irqs`.
    pub irqs_first: u16,
    /// How many, which is also the most vectors it can have.
    pub irqs_count: u16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{fits_a_start_page, full};

    #[test]
    fn largest_configurations_fit_a_start_page() {
        let owner = RingOwner { index: 255, name: "n".repeat(32).as_str().try_into().unwrap(), is_vm: true };
        fits_a_start_page(ConsoleConfig { rings: full(owner) }, 16);

        let device =
            VmmDevice { slot: 0xffff, bars_first: 0xffff, bars_count: 1, irqs_first: 1, irqs_count: 1 };
        let place = FilePlace { gpa: u64::MAX, bytes: u64::MAX };
        let vmm = VmmConfig {
            vm: 30,
            memory: u64::MAX,
            image: place,
            boot: Boot::Pvh,
            args: "a".repeat(MAX_ARGS).as_str().try_into().unwrap(),
            devices: full(device),
        };
        fits_a_start_page(vmm, 32);
    }
}
