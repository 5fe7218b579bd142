// SPDX-License-Identifier: MIT OR Apache-2.0
//! PCI by memory-mapped configuration space: finding functions, their memory, their capabilities, their messages.
//! PCI Express Base Specification 6.0, chapter 7; PCI Local Bus 3.0, chapter 6.

mod bar;
mod capability;
mod function;
mod message;

pub use bar::Bar;
pub use capability::Capabilities;
pub use function::{Address, Function, Ids};
pub use message::{Message, Msi, MsiX};

use crate::acpi::Ecam;
use crate::cell::IrqCell;

/// Capability IDs.
pub mod capability_id {
    /// Message signalled interrupts.
    pub const MSI: u8 = 0x05;
    /// Vendor-specific.
    pub const VENDOR: u8 = 0x09;
    /// PCI Express.
    pub const EXPRESS: u8 = 0x10;
    /// MSI-X.
    pub const MSI_X: u8 = 0x11;
}

static ECAM: IrqCell<Option<Ecam>> = IrqCell::new(None);

#[cfg(target_os = "none")]
pub(crate) fn init() {
    // The page tables reach up to 4 GiB.
    ECAM.with(|ecam| {
        *ecam = crate::acpi::ecam()
            .filter(|found| found.base + ((u64::from(found.last_bus) + 1) << 20) <= 1 << 32)
    });
}

/// Calls `visit` with every function on bus 0 and behind its bridges, in order.
pub fn for_each(mut visit: impl FnMut(Function)) {
    if let Some(ecam) = ECAM.with(|ecam| *ecam) {
        visit_bus(ecam, ecam.first_bus, 0, &mut visit);
    }
}

/// The first function with this vendor and device ID.
pub fn find(vendor: u16, device: u16) -> Option<Function> {
    let mut found = None;
    for_each(|function| {
        if found.is_none() && function.ids().vendor == vendor && function.ids().device == device {
            found = Some(function);
        }
    });
    found
}

/// More bridges in a row than this are a loop.
const MAX_DEPTH: u8 = 16;

fn visit_bus(ecam: Ecam, bus: u8, depth: u8, visit: &mut dyn FnMut(Function)) {
    for device in 0..32 {
        for function in 0..8 {
            let Some(found) = Function::at(ecam, Address { bus, device, function }) else {
                if function == 0 {
                    break;
                }
                continue;
            };
            if let Some(secondary) = found.secondary_bus()
                && (bus + 1..=ecam.last_bus).contains(&secondary)
                && depth < MAX_DEPTH
            {
                visit_bus(ecam, secondary, depth + 1, visit);
            }
            let alone = function == 0 && !found.is_multifunction();
            visit(found);
            if alone {
                break;
            }
        }
    }
}
