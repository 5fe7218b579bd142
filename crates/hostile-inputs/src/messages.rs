// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of every protocol, start pages, and log rings whose other side is hostile.

use crate::bytes::Bytes;
use console_server::collector::{Collector, Next};
use console_server::text::Text;
use core::fmt::Debug;
use protocol::config::RingOwner;
use protocol::message::{MAX_WORDS, Request, decode, decode_outcome, encode};
use protocol::ring::Ring;
use protocol::start::StartPage;
use protocol::{Protocol, iommu, pci, supervisor, timer};
use serde::{Serialize, de::DeserializeOwned};

/// What is accepted is what its encoding says: it comes out of a message of its own as it went in.
fn accepted<T: Serialize + DeserializeOwned + PartialEq + Debug>(words: &[u64]) {
    let Some(value) = decode::<T>(words) else { return };
    let mut again = [0; MAX_WORDS];
    let length = encode(&value, &mut again).expect("what came in a message fits one");
    assert_eq!(decode(&again[..length]), Some(value));
}

fn request<R: Request + PartialEq + Debug>(label: u64, words: &[u64])
where
    R::Reply: PartialEq + Debug,
    R::Error: PartialEq + Debug,
{
    accepted::<R>(words);
    accepted::<R::Reply>(words);
    accepted::<R::Error>(words);
    let _ = decode_outcome::<R>(label, words);
}

/// A label and a message, for all that there are.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let label = bytes.number();
    for protocol in [Protocol::SUPERVISOR, Protocol::TIMER, Protocol::IOMMU, Protocol::PCI] {
        let operation = protocol.operation(label);
        assert!(operation.is_err() || protocol.label(operation.unwrap_or(0)) == label);
    }
    // Lengths that fit are rare in noise.
    let honest = bytes.u8() & 1 == 0;
    let length = if honest { bytes.0.len().min((MAX_WORDS - 1) * 8) as u64 } else { bytes.number() };
    let mut words = vec![length];
    while bytes.more() && words.len() < MAX_WORDS {
        let mut word = [0; 8];
        let taken = bytes.take(8);
        word[..taken.len()].copy_from_slice(taken);
        words.push(u64::from_le_bytes(word));
    }
    let words = &words[..];
    request::<supervisor::Ready>(label, words);
    request::<supervisor::Refused>(label, words);
    request::<supervisor::Exited>(label, words);
    request::<supervisor::Quieted>(label, words);
    request::<timer::SetDeadline>(label, words);
    request::<timer::Cancel>(label, words);
    request::<iommu::Attach>(label, words);
    request::<iommu::Detach>(label, words);
    request::<iommu::Vectors>(label, words);
    request::<iommu::Block>(label, words);
    request::<iommu::Faults>(label, words);
    request::<iommu::Probe>(label, words);
    request::<pci::Describe>(label, words);
    request::<pci::Attach>(label, words);
    request::<pci::ConfigRead>(label, words);
    request::<pci::ConfigWrite>(label, words);
    request::<pci::BarRead>(label, words);
    request::<pci::BarWrite>(label, words);
    request::<pci::MaskVector>(label, words);
    request::<pci::Detach>(label, words);
    if let Ok(page) = StartPage::parse(input) {
        let _ = (page.facts(), page.ranges().len());
        let _ = (page.config::<pci::PciConfig>(), page.config::<iommu::IommuConfig>());
    }
}

/// Lines of two producers, one of which writes what it likes, as the console shows them.
pub fn log(input: &[u8]) {
    let rings = [Ring::new(), Ring::new()];
    let owner =
        |index, name: &str| RingOwner { index, name: name.try_into().unwrap_or_default(), is_vm: true };
    let owners = [owner(8, "honest"), owner(9, "hostile")];
    let mut collector = Collector::new(&rings, &owners);
    let (mut bytes, mut text) = (Bytes(input), Text::new());
    while bytes.more() {
        let mut line = rings[1].line();
        let length = bytes.u16().into();
        line.push(bytes.take(length));
        let _ = line.finish();
        let mut line = rings[0].line();
        line.push(b"a line");
        assert!(line.finish(), "there is room for an honest one");
        collector.signalled(bytes.number() | 1 << 8);
        let mut honest = 0;
        while collector.next(&mut text) != Next::Nothing {
            let shown = text.bytes().strip_suffix(b"\r\n").expect("a whole line");
            let shown = str::from_utf8(shown).expect("text");
            assert!(!shown.contains(|one: char| one.is_control() && one != '\t'), "{shown:?}");
            honest += usize::from(shown == "[honest] a line");
        }
        assert_eq!(honest, 1, "the honest line is whole");
    }
}
