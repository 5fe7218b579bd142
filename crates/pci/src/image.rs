// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pictures of configuration space, encoded as bytes: an array as long as these has no encoding of its own.

use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

const SIZE: usize = 256;

/// For `#[serde(with)]`.
pub fn serialize<S: Serializer>(image: &[u8; SIZE], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(image)
}

/// For `#[serde(with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; SIZE], D::Error> {
    struct Image;
    impl Visitor<'_> for Image {
        type Value = [u8; SIZE];
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{SIZE} bytes")
        }
        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }
    deserializer.deserialize_bytes(Image)
}
