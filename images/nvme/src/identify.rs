// SPDX-License-Identifier: MIT OR Apache-2.0
//! What controller and namespace say about themselves (NVM Express Base Specification 1.4, section 5.15.2).

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of each of the two structures.
pub const BYTES: usize = 4096;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).into()
}

/// A controller.
#[derive(Debug, PartialEq, Eq)]
pub struct Controller {
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// The longest transfer in bytes, with pages of 4 KiB; `None` without a limit.
    pub longest_transfer: Option<u64>,
}

impl Controller {
    /// Reads the controller's structure.
    pub fn decode(data: &[u8; BYTES]) -> Self {
        let longest = data[77];
        Self {
            model: text(&data[24..64]),
            serial: text(&data[4..24]),
            longest_transfer: (longest != 0).then(|| 4096 << longest.min(32)),
        }
    }
}

/// A namespace.
#[derive(Debug, PartialEq, Eq)]
pub struct Namespace {
    /// How many blocks it has.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_bytes: u64,
}

impl Namespace {
    /// Reads the namespace's structure; `None` if there is no such namespace, or its blocks are longer than a page or carry metadata.
    pub fn decode(data: &[u8; BYTES]) -> Option<Self> {
        let blocks = u64::from_le_bytes(data[..8].try_into().ok()?);
        let format = 128 + 4 * usize::from(data[26] & 0xf);
        let metadata = u16::from_le_bytes([data[format], data[format + 1]]);
        let shift = data[format + 2];
        (blocks != 0 && metadata == 0 && (9..=12).contains(&shift))
            .then_some(Self { blocks, block_bytes: 1 << shift })
    }
}

/// The controllers of virtual functions.
#[derive(Debug, PartialEq, Eq)]
pub struct Secondary {
    /// The controller's identifier.
    pub controller: u16,
    /// Its virtual function's number, from 1 on; 0 if that isn't enabled.
    pub function: u16,
}

impl Secondary {
    /// Reads the list of secondary controllers (section 5.15.2.12).
    pub fn decode(data: &[u8; BYTES]) -> Vec<Self> {
        const ENTRY: usize = 32;
        let word = |entry: &[u8], at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        let entries = data[ENTRY..].chunks_exact(ENTRY).take(data[0].into());
        entries.map(|entry| Self { controller: word(entry, 0), function: word(entry, 8) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controller() {
        let mut data = [0; BYTES];
        data[4..24].copy_from_slice(b"serial              ");
        data[24..34].copy_from_slice(b"some model");
        data[77] = 7;
        let expected = Controller {
            model: "some model".into(),
            serial: "serial".into(),
            longest_transfer: Some(512 << 10),
        };
        assert_eq!(Controller::decode(&data), expected);
        data[77] = 0;
        assert_eq!(Controller::decode(&data).longest_transfer, None);
    }

    #[test]
    fn namespace() {
        let mut data = [0; BYTES];
        assert_eq!(Namespace::decode(&data), None);
        data[0] = 200;
        data[26] = 2;
        data[138] = 12;
        assert_eq!(Namespace::decode(&data), Some(Namespace { blocks: 200, block_bytes: 4096 }));
        data[138] = 13;
        assert_eq!(Namespace::decode(&data), None);
        (data[138], data[136]) = (9, 8);
        assert_eq!(Namespace::decode(&data), None, "metadata");
    }
}
