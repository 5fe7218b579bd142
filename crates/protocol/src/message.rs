// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framing: the label says protocol, version and operation; MR0 the length in bytes; postcard follows from MR1.

use serde::{Serialize, de::DeserializeOwned};
use zerocopy::IntoBytes;

/// Words of the longest message.
pub const MAX_WORDS: usize = 120;
/// Bytes of the longest encoding.
pub const MAX_BYTES: usize = (MAX_WORDS - 1) * 8;
/// Reply label: done; the reply's encoding follows.
pub const OK: u64 = 0;
/// Reply label: an error of the protocol; its encoding follows.
pub const FAILED: u64 = 16;

/// A protocol and the version of it that this build speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Bits 32 to 48 of the label, never 0: labels below 2^32 are the kernel's faults.
    pub number: u16,
    /// Bits 16 to 32.
    pub version: u16,
}

impl Protocol {
    /// The supervisor's: parts to the root task.
    pub const SUPERVISOR: Self = Self { number: 1, version: 1 };
    /// timer-server's.
    pub const TIMER: Self = Self { number: 2, version: 1 };
    /// iommu-server's.
    pub const IOMMU: Self = Self { number: 3, version: 1 };
    /// pci-server's.
    pub const PCI: Self = Self { number: 4, version: 1 };

    /// The label of a request.
    pub const fn label(self, operation: u16) -> u64 {
        (self.number as u64) << 32 | (self.version as u64) << 16 | operation as u64
    }

    /// The operation that `label` asks for, if it speaks this protocol and version.
    pub const fn operation(self, label: u64) -> Result<u16, Refusal> {
        if label >> 32 != self.number as u64 {
            return Err(Refusal::UnknownOperation);
        }
        if (label >> 16) as u16 != self.version {
            return Err(Refusal::UnsupportedVersion);
        }
        Ok(label as u16)
    }
}

/// What any server may answer, whatever was asked. The number is the reply's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Refusal {
    /// The message's bytes are not what the operation takes.
    Malformed = 1,
    /// The server speaks another version of the protocol.
    UnsupportedVersion = 2,
    /// The server doesn't know the operation or the protocol, or this client may not use it.
    UnknownOperation = 3,
    /// The server failed while it had the request, and starts again: the request may have been done or not. The root task answers in its
    /// place.
    Restarted = 4,
}

impl Refusal {
    /// The refusal that a reply's label stands for.
    pub const fn from_label(label: u64) -> Option<Self> {
        match label {
            1 => Some(Self::Malformed),
            2 => Some(Self::UnsupportedVersion),
            3 => Some(Self::UnknownOperation),
            4 => Some(Self::Restarted),
            _ => None,
        }
    }
}

/// A request: its encoding, its place in a protocol, and what comes back.
pub trait Request: Serialize + DeserializeOwned {
    /// The protocol it belongs to.
    const PROTOCOL: Protocol;
    /// Its operation number there.
    const OPERATION: u16;
    /// What comes back on success.
    type Reply: Serialize + DeserializeOwned;
    /// What comes back otherwise.
    type Error: Serialize + DeserializeOwned;
    /// The label of the request.
    const LABEL: u64 = Self::PROTOCOL.label(Self::OPERATION);
}

/// Says of requests which protocol they belong to: `PROTOCOL, Error; Request = operation -> Reply; …`.
macro_rules! requests {
    ($protocol:ident, $error:ty; $($request:ident = $operation:literal -> $reply:ty;)*) => {
        $(impl $crate::message::Request for $request {
            const PROTOCOL: $crate::message::Protocol = $crate::message::Protocol::$protocol;
            const OPERATION: u16 = $operation;
            type Reply = $reply;
            type Error = $error;
        })*
    };
}
pub(crate) use requests;

/// Why a call gave no reply of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError<E> {
    /// The request does not fit a message; nothing was sent.
    TooLong,
    /// The server took it for none of its requests.
    Refused(Refusal),
    /// The server's own error.
    Failed(E),
    /// The reply can't be read.
    BadReply,
}

/// Writes `value` as MR0 and following; returns the message's length in words, or `None` if it doesn't fit.
///
/// ```
/// let mut words = [0; protocol::message::MAX_WORDS];
/// assert_eq!(protocol::message::encode(&(1u8, 300u16), &mut words), Some(2));
/// assert_eq!(protocol::message::decode(&words[..2]), Some((1u8, 300u16)));
/// ```
pub fn encode<T: Serialize>(value: &T, words: &mut [u64]) -> Option<usize> {
    let limit = words.len().min(MAX_WORDS);
    let (first, rest) = words[..limit].split_first_mut()?;
    let bytes = rest.as_mut_bytes();
    let used = postcard::to_slice(value, bytes).ok()?.len();
    let padded = used.next_multiple_of(8);
    // What was in the last word before is nobody else's business.
    bytes[used..padded].fill(0);
    *first = used as u64;
    Some(1 + padded / 8)
}

/// Reads what [`encode`] wrote. `words` is the whole message. `None` for a length that doesn't match the words,
/// bytes left over, padding that isn't zero, or an encoding that isn't a `T`.
pub fn decode<T: DeserializeOwned>(words: &[u64]) -> Option<T> {
    let (&length, rest) = words.split_first()?;
    let bytes = rest.as_bytes();
    let length = usize::try_from(length).ok().filter(|n| *n <= MAX_BYTES)?;
    if length.next_multiple_of(8) != bytes.len() || bytes[length..].iter().any(|b| *b != 0) {
        return None;
    }
    let (value, left) = postcard::take_from_bytes(&bytes[..length]).ok()?;
    left.is_empty().then_some(value)
}

/// Writes the outcome of a request; returns label and length in words.
pub fn encode_outcome<R: Request>(outcome: &Result<R::Reply, R::Error>, words: &mut [u64]) -> (u64, usize) {
    let written = match outcome {
        Ok(reply) => encode(reply, words).map(|n| (OK, n)),
        Err(error) => encode(error, words).map(|n| (FAILED, n)),
    };
    // A test asserts for each message that its largest encoding fits; a caller still gets an answer if one doesn't.
    written.unwrap_or((Refusal::Malformed as u64, 0))
}

/// Reads the outcome of a request from the reply's label and words.
pub fn decode_outcome<R: Request>(label: u64, words: &[u64]) -> Result<R::Reply, CallError<R::Error>> {
    match label {
        OK => decode(words).ok_or(CallError::BadReply),
        FAILED => Err(decode(words).map_or(CallError::BadReply, CallError::Failed)),
        other => Err(Refusal::from_label(other).map_or(CallError::BadReply, CallError::Refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ask {
        number: u64,
        name: heapless::String<16>,
        list: heapless::Vec<u16, 4>,
    }
    impl Request for Ask {
        const PROTOCOL: Protocol = Protocol::PCI;
        const OPERATION: u16 = 7;
        type Reply = u32;
        type Error = bool;
    }

    fn ask() -> Ask {
        Ask {
            number: u64::MAX,
            name: "abcdefghijklmnop".try_into().unwrap(),
            list: heapless::Vec::from_slice(&[1, 2, 3, 65535]).unwrap(),
        }
    }

    #[test]
    fn round_trip() {
        let mut words = [u64::MAX; MAX_WORDS];
        let n = encode(&ask(), &mut words).unwrap();
        assert_eq!(words[0].div_ceil(8) + 1, n as u64);
        assert_eq!(decode::<Ask>(&words[..n]), Some(ask()));
    }

    #[test]
    fn nothing_takes_one_word() {
        let mut words = [7; 2];
        assert_eq!(encode(&(), &mut words), Some(1));
        assert_eq!(words[0], 0);
        assert_eq!(decode::<()>(&words[..1]), Some(()));
        assert_eq!(decode::<()>(&[]), None);
    }

    #[test]
    fn truncations_extensions_and_flips_never_panic() {
        let mut words = [0; MAX_WORDS];
        let n = encode(&ask(), &mut words).unwrap();
        for cut in 0..n {
            assert_eq!(decode::<Ask>(&words[..cut]), None);
        }
        assert_eq!(decode::<Ask>(&words[..n + 1]), None, "a word too many");
        for length in (0..2000u64).chain([u64::MAX, 1 << 63, u64::MAX - 6]) {
            let mut other = words;
            other[0] = length;
            if length != words[0] {
                assert_eq!(decode::<Ask>(&other[..n]), None, "length {length}");
                assert_eq!(decode::<Ask>(&other), None);
            }
        }
        for bit in 0..n * 64 {
            let mut other = words;
            other[bit / 64] ^= 1 << (bit % 64);
            let _ = decode::<Ask>(&other[..n]);
        }
    }

    #[test]
    fn padding_must_be_zero() {
        let mut words = [0; 4];
        let n = encode(&5u8, &mut words).unwrap();
        assert_eq!((n, words[0], words[1]), (2, 1, 5));
        words[1] |= 1 << 40;
        assert_eq!(decode::<u8>(&words[..n]), None);
    }

    #[test]
    fn longest() {
        let mut words = [0; MAX_WORDS];
        let fits: heapless::Vec<u8, 1000> = core::iter::repeat_n(9, 950).collect();
        assert_eq!(encode(&fits, &mut words), Some(MAX_WORDS));
        assert_eq!(decode::<heapless::Vec<u8, 1000>>(&words), Some(fits));
        let long: heapless::Vec<u8, 1000> = core::iter::repeat_n(9, 951).collect();
        assert_eq!(encode(&long, &mut words), None);
        assert_eq!(encode(&0u8, &mut []), None);
    }

    #[test]
    fn labels() {
        assert_eq!(Ask::LABEL, 4 << 32 | 1 << 16 | 7);
        assert_eq!(Protocol::PCI.operation(Ask::LABEL), Ok(7));
        assert_eq!(Protocol::PCI.operation(Ask::LABEL | 2 << 16), Err(Refusal::UnsupportedVersion));
        assert_eq!(Protocol::PCI.operation(6), Err(Refusal::UnknownOperation), "a kernel fault");
        assert_eq!(Protocol::TIMER.operation(Ask::LABEL), Err(Refusal::UnknownOperation));
    }

    #[test]
    fn outcomes() {
        let mut words = [0; MAX_WORDS];
        let (label, n) = encode_outcome::<Ask>(&Ok(77), &mut words);
        assert_eq!(decode_outcome::<Ask>(label, &words[..n]), Ok(77));
        let (label, n) = encode_outcome::<Ask>(&Err(true), &mut words);
        assert_eq!(decode_outcome::<Ask>(label, &words[..n]), Err(CallError::Failed(true)));
        assert_eq!(decode_outcome::<Ask>(2, &[]), Err(CallError::Refused(Refusal::UnsupportedVersion)));
        assert_eq!(decode_outcome::<Ask>(99, &[]), Err(CallError::BadReply));
        assert_eq!(decode_outcome::<Ask>(OK, &[]), Err(CallError::BadReply));
    }
}
