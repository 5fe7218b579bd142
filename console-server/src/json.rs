// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is shown of the inside, as JSON: one object per line. Addresses and badges are texts, since they have more bits than a
//! number of JSON can be trusted with.

use core::fmt;

use protocol::look::{Mapped, Run};
use sel4_abi::object::tag_name;

/// A text in quotes.
pub struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

const FRAME: u8 = 1;
const UNTYPED: u8 = 2;
const CNODE: u8 = 10;

/// Capabilities of a part.
pub struct Caps<'a> {
    /// The part's name.
    pub part: &'a str,
    /// What it holds.
    pub run: &'a Run,
}

impl fmt::Display for Caps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, run } = self;
        write!(f, "{{\"look\":\"caps\",\"part\":{},\"slot\":\"{:#x}\"", Text(part), run.slot)?;
        write!(f, ",\"count\":{},\"kind\":\"{}\",\"rights\":\"", run.count, tag_name(run.tag))?;
        for (bit, letter) in [(2, "r"), (1, "w"), (4, "g"), (8, "a")] {
            f.write_str(if run.rights & bit != 0 { letter } else { "" })?;
        }
        write!(f, "\",\"address\":\"{:#x}\",\"data\":\"{:#x}\"", run.address, run.word)?;
        match run.tag {
            // From the kernel, by way of the root task: fewer than 64, but nothing hangs on that here.
            FRAME | UNTYPED => write!(f, ",\"bytes\":{}", 1u64.wrapping_shl(run.size_bits.into()))?,
            CNODE => write!(f, ",\"slots\":{}", 1u64.wrapping_shl(run.size_bits.into()))?,
            _ => {}
        }
        if run.device {
            f.write_str(",\"device\":true")?;
        }
        let (space, number, at) = match run.mapped {
            Mapped::Nowhere => return f.write_str("}"),
            Mapped::Vspace(number, at) => ("vspace", number, at),
            Mapped::Nested(number, at) => ("nested", number, at),
            Mapped::Io(number, at) => ("io", number, at),
        };
        write!(f, ",\"mapped\":{{\"in\":\"{space}\",\"number\":{number},\"at\":\"{at:#x}\"}}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_within_their_quotes() {
        assert_eq!(Text("a\"b\\c\n\u{9b}é").to_string(), r#""a\"b\\c\u000a\u009bé""#);
    }

    #[test]
    fn a_capability_is_an_object() {
        let run = Run {
            slot: 0x1a0,
            count: 32,
            tag: FRAME,
            rights: 3,
            size_bits: 21,
            address: 0x400_0000,
            mapped: Mapped::Nested(5, 0x20_0000),
            ..Run::default()
        };
        assert_eq!(
            Caps { part: "web", run: &run }.to_string(),
            r#"{"look":"caps","part":"web","slot":"0x1a0","count":32,"kind":"frame","rights":"rw","address":"0x4000000","data":"0x0","bytes":2097152,"mapped":{"in":"nested","number":5,"at":"0x200000"}}"#
        );
        let endpoint = Run { count: 1, tag: 4, rights: 9, word: 1 << 63 | 1, ..Run::default() };
        assert_eq!(
            Caps { part: "web", run: &endpoint }.to_string(),
            r#"{"look":"caps","part":"web","slot":"0x0","count":1,"kind":"endpoint","rights":"wa","address":"0x0","data":"0x8000000000000001"}"#
        );
    }

    #[test]
    fn the_longest_fits_a_line() {
        let run = Run {
            slot: u32::MAX,
            count: u32::MAX,
            tag: FRAME,
            rights: u8::MAX,
            size_bits: u8::MAX,
            device: true,
            address: u64::MAX,
            word: u64::MAX,
            mapped: Mapped::Io(u16::MAX, u64::MAX),
        };
        let part = "n".repeat(protocol::start::NAME_BYTES);
        assert!(Caps { part: &part, run: &run }.to_string().len() < 512);
    }
}
