// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matches: what may be given away, by identity.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::{ParseError, hex};

/// What a function says about itself in its header (PCI Local Bus 3.0, section 6.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Subsystem vendor ID.
    pub subvendor: u16,
    /// Subsystem ID.
    pub subdevice: u16,
    /// Class code: base class, subclass, programming interface (24 bits).
    pub class: u32,
    /// Revision.
    pub revision: u8,
}

/// One entry of `pci.matches`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Match {
    /// `vendor:device`, with `:subvendor:subdevice` if it must be one make of it.
    Id {
        /// Vendor ID.
        vendor: u16,
        /// Device ID.
        device: u16,
        /// Subsystem vendor ID and subsystem ID, if they matter.
        subsystem: Option<(u16, u16)>,
    },
    /// `class:0108`: base class and subclass.
    Class(u16),
}

impl Match {
    /// Whether a function of this identity may be reserved.
    pub fn accepts(&self, identity: &Identity) -> bool {
        match *self {
            Self::Id { vendor, device, subsystem } => {
                (vendor, device) == (identity.vendor, identity.device)
                    && subsystem.is_none_or(|wanted| wanted == (identity.subvendor, identity.subdevice))
            }
            Self::Class(class) => u32::from(class) == identity.class >> 8,
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { vendor, device, subsystem: None } => write!(f, "{vendor:04x}:{device:04x}"),
            Self::Id { vendor, device, subsystem: Some((v, d)) } => {
                write!(f, "{vendor:04x}:{device:04x}:{v:04x}:{d:04x}")
            }
            Self::Class(class) => write!(f, "class:{class:04x}"),
        }
    }
}

impl FromStr for Match {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number = |part: Option<&str>| part.and_then(|p| hex(p, 4)).ok_or(ParseError::Match);
        if let Some(class) = text.strip_prefix("class:") {
            return number(Some(class)).map(Self::Class);
        }
        let mut parts = text.split(':');
        let (vendor, device) = (number(parts.next())?, number(parts.next())?);
        let subsystem = match parts.next() {
            None => None,
            sub => Some((number(sub)?, number(parts.next())?)),
        };
        if parts.next().is_some() {
            return Err(ParseError::Match);
        }
        Ok(Self::Id { vendor, device, subsystem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIC: Identity = Identity {
        vendor: 0x1af4,
        device: 0x1041,
        subvendor: 0x1af4,
        subdevice: 0x1100,
        class: 0x020000,
        revision: 1,
    };

    #[test]
    fn matches_accept_what_they_name() {
        for (text, accepted) in [
            ("1af4:1041", true),
            ("1af4:1042", false),
            ("1af4:1041:1af4:1100", true),
            ("1af4:1041:1af4:1101", false),
            ("class:0200", true),
            ("class:0108", false),
        ] {
            let rule: Match = text.parse().unwrap();
            assert_eq!(rule.to_string(), text);
            assert_eq!(rule.accepts(&NIC), accepted, "{text}");
        }
    }

    #[test]
    fn wrong_matches_are_errors() {
        for text in [
            "",
            "1af4",
            "1af4:",
            "1af4:1041:1af4",
            "1af4:1041:1:2",
            "class:02",
            "class:020000",
            "1af4:1041:1:2:3",
        ] {
            assert_eq!(text.parse::<Match>(), Err(ParseError::Match), "{text}");
        }
    }
}
