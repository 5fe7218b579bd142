// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical paths: a device named by where it sits, not by bus numbers, which firmware may change.
//!
//! `/` and bus:device.function on the root bus, then `/` and device.function behind each bridge: `/00:1c.0/00.0`.

use core::fmt;
use core::str::FromStr;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::address::{Address, DevFn, ParseError, hex};

/// Functions a path can name: seven bridges and the device.
pub const MAX_HOPS: usize = 8;

/// A device's place in the tree of bridges.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Path {
    /// Segment group.
    pub segment: u16,
    /// Number of the root bus.
    pub bus: u8,
    /// The bridges passed, then the device itself; never empty.
    pub hops: Vec<DevFn, MAX_HOPS>,
}

impl Path {
    /// The path of a function on a root bus.
    pub fn root(address: Address) -> Self {
        let mut hops = Vec::new();
        // The capacity is more than one, so this can't fail.
        let _ = hops.push(address.devfn);
        Self { segment: address.segment, bus: address.bus, hops }
    }

    /// The path of `devfn` on the bus behind the bridge that this path names; `None` if that is too deep.
    pub fn behind(&self, devfn: DevFn) -> Option<Self> {
        let mut path = self.clone();
        path.hops.push(devfn).ok()?;
        Some(path)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        if self.segment != 0 {
            write!(f, "{:04x}:", self.segment)?;
        }
        write!(f, "{:02x}:", self.bus)?;
        for (index, hop) in self.hops.iter().enumerate() {
            write!(f, "{}{hop}", if index == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parts = text.strip_prefix('/').ok_or(ParseError::NoSlash)?.split('/');
        let first = parts.next().unwrap_or("");
        let mut path = Self::root(first.parse()?);
        for part in parts {
            path.hops.push(part.parse()?).map_err(|_| ParseError::TooDeep)?;
        }
        Ok(path)
    }
}

/// How a description names a device: by its path, or (accepted with a warning) by its address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Location {
    /// `/00:1c.0/00.0`
    Path(Path),
    /// `0000:03:00.0`
    Address(Address),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Address(address) => fmt::Display::fmt(address, f),
        }
    }
}

impl FromStr for Location {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let looks_like_address =
            text.split(':').next().is_some_and(|first| hex(first, first.len()).is_some());
        if looks_like_address { Ok(Self::Address(text.parse()?)) } else { Ok(Self::Path(text.parse()?)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_read_back_as_written() {
        for text in ["/00:02.0", "/00:02.0/00.0", "/0001:40:1c.7/00.0/1f.3"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        assert_eq!("/0000:00:1c.0/00.0".parse::<Path>().unwrap().to_string(), "/00:1c.0/00.0");
    }

    #[test]
    fn wrong_paths_are_errors() {
        for text in [
            "",
            "/",
            "00:1c.0/00.0",
            "/1c.0",
            "/00:1c.0/",
            "/00:1c.0//00.0",
            "/00:1c.0/01:00.0",
            "/00:1c.0/00.9",
        ] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
        let deep = "/00:1c.0/00.0/00.0/00.0/00.0/00.0/00.0/00.0";
        assert!(deep.parse::<Path>().is_ok());
        assert_eq!(format!("{deep}/00.0").parse::<Path>(), Err(ParseError::TooDeep));
    }

    #[test]
    fn a_location_without_slash_is_an_address() {
        assert!(matches!("03:00.0".parse(), Ok(Location::Address(_))));
        assert_eq!("foo".parse::<Location>(), Err(ParseError::NoSlash));
    }
}
