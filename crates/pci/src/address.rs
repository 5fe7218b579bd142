// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a function answers: segment, bus, device and function (PCI Express Base 4.0, section 2.2.6.2).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Device number (5 bits) and function number (3 bits) in one byte, as in a requester ID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DevFn(pub u8);

impl DevFn {
    /// From a device number below 32 and a function number below 8; `None` for others.
    pub const fn new(device: u8, function: u8) -> Option<Self> {
        if device < 32 && function < 8 { Some(Self(device << 3 | function)) } else { None }
    }

    /// Device number, 0 to 31.
    pub const fn device(self) -> u8 {
        self.0 >> 3
    }

    /// Function number, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0 & 7
    }
}

impl fmt::Display for DevFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}.{:x}", self.device(), self.function())
    }
}

impl fmt::Debug for DevFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a memory request bears as its source: bus, device, function. Segments have separate remapping units.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequesterId(pub u16);

impl RequesterId {
    /// Bus number.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// Device and function.
    pub const fn devfn(self) -> DevFn {
        DevFn(self.0 as u8)
    }
}

impl fmt::Display for RequesterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{}", self.bus(), self.devfn())
    }
}

impl fmt::Debug for RequesterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A function's place in configuration space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// Segment group (ACPI's name; a host bridge has one).
    pub segment: u16,
    /// Bus number, as firmware gave it.
    pub bus: u8,
    /// Device and function.
    pub devfn: DevFn,
}

impl Address {
    /// The requester ID that the function itself uses. What arrives at the remapping unit can be another one, see
    /// [`crate::topology`].
    pub const fn requester(self) -> RequesterId {
        RequesterId((self.bus as u16) << 8 | self.devfn.0 as u16)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{}", self.segment, self.bus, self.devfn)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an address, a path or a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParseError {
    /// Not `device.function`.
    DevFn,
    /// Not `[segment:]bus:device.function`.
    Address,
    /// A path must begin with `/`.
    NoSlash,
    /// More bridges than a path can name.
    TooDeep,
    /// Not `vendor:device`, `vendor:device:subvendor:subdevice` or `class:xxxx`.
    Match,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DevFn => "write a device and function as two and one hexadecimal digits, like `02.0`",
            Self::Address => "write an address as [segment:]bus:device.function, like `0000:03:00.0`",
            Self::NoSlash => "a physical path begins with `/`, like `/00:1c.0/00.0`",
            Self::TooDeep => "a physical path passes at most seven bridges",
            Self::Match => "write a match as `vendor:device`, `vendor:device:subvendor:subdevice` or `class:xxxx`, four hexadecimal digits each",
        })
    }
}

impl core::error::Error for ParseError {}

/// `digits` hexadecimal digits, no more and no fewer, no sign.
pub(crate) fn hex(text: &str, digits: usize) -> Option<u16> {
    let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    if plain { u16::from_str_radix(text, 16).ok() } else { None }
}

impl FromStr for DevFn {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (device, function) = text.split_once('.').ok_or(ParseError::DevFn)?;
        let device = hex(device, 2).ok_or(ParseError::DevFn)?;
        let function = hex(function, 1).ok_or(ParseError::DevFn)?;
        Self::new(device as u8, function as u8).ok_or(ParseError::DevFn)
    }
}

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (front, devfn) = text.rsplit_once(':').ok_or(ParseError::Address)?;
        let (segment, bus) = front.split_once(':').unwrap_or(("0000", front));
        Ok(Self {
            segment: hex(segment, 4).ok_or(ParseError::Address)?,
            bus: hex(bus, 2).ok_or(ParseError::Address)? as u8,
            devfn: devfn.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written() {
        for text in ["0000:03:00.0", "0001:ff:1f.7", "00ab:00:02.1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("03:00.0".parse::<Address>().unwrap().to_string(), "0000:03:00.0");
    }

    #[test]
    fn wrong_texts_are_errors() {
        for text in
            ["", "0", "00:20.0", "00:00.8", "+0:00.0", "0:00.0", "000:00:00.0", "00:00", "0000:0000:00:00.0"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn requester_id_is_bus_device_function() {
        let id = "0000:03:1c.5".parse::<Address>().unwrap().requester();
        assert_eq!(id.0, 0x03e5);
        assert_eq!(id.to_string(), "03:1c.5");
    }
}
