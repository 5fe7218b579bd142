// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the tests of several modules do alike.

use core::fmt::Debug;

use heapless::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::IntoBytes;

use crate::message::{MAX_WORDS, decode, encode};
use crate::start::{self, Facts, StartPage};

/// The value goes through a message and comes out as it was.
pub fn fits<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let mut words = [0; MAX_WORDS];
    let n = encode(&value, &mut words).expect("fits a message");
    assert_eq!(decode(&words[..n]), Some(value));
}

/// A vector of as many as there is room for.
pub fn full<T: Clone, const N: usize>(value: T) -> Vec<T, N> {
    let mut vec = Vec::new();
    while vec.push(value.clone()).is_ok() {}
    vec
}

/// The configuration goes through a start page with so many ranges and comes out as it was.
pub fn fits_a_start_page<T>(config: T, ranges: usize)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let facts = Facts {
        name: "part",
        client: u64::MAX,
        tsc_khz: u64::MAX,
        io_levels: u64::MAX,
        extensions: Default::default(),
    };
    let mut words = std::vec![0u64; start::MAX_BYTES / 8];
    let ranges = std::vec![Default::default(); ranges];
    start::write(words.as_mut_bytes(), &facts, &ranges, &config).expect("fits a start page");
    assert_eq!(StartPage::parse(words.as_bytes()).expect("a start page").config(), Ok(config));
}
