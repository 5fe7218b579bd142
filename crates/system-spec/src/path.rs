// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a PCI function sits: physical paths and addresses (of the crate `pci`), and guest slots.

use core::fmt;
use core::str::FromStr;

pub use pci::{Address, DevFn, Identity, Location, Match, Path};
use serde::{Deserialize, Serialize};

/// Where a guest sees a device, `00:08.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GuestSlot {
    /// Bus number in the guest.
    pub bus: u8,
    /// Device and function in the guest.
    pub function: DevFn,
}

/// A text is no `bus:device.function`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotASlot;

impl fmt::Display for GuestSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{}", self.bus, self.function)
    }
}

impl FromStr for GuestSlot {
    type Err = NotASlot;

    fn from_str(text: &str) -> Result<Self, NotASlot> {
        let (bus, function) = text.split_once(':').ok_or(NotASlot)?;
        let plain = bus.len() == 2 && bus.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plain {
            return Err(NotASlot);
        }
        let bus = u8::from_str_radix(bus, 16).map_err(|_| NotASlot)?;
        Ok(Self { bus, function: function.parse().map_err(|_| NotASlot)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_read_back_as_written() {
        assert_eq!("00:08.0".parse::<GuestSlot>().unwrap().to_string(), "00:08.0");
        assert_eq!("ff:1f.7".parse::<GuestSlot>().unwrap().to_string(), "ff:1f.7");
        for text in ["", "8", "00:8", "00:20.0", "0:08.0", "+0:08.0", "0000:00:08.0"] {
            assert_eq!(text.parse::<GuestSlot>(), Err(NotASlot), "{text}");
        }
    }
}
