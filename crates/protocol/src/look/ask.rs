// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a question gets to those beneath the asker. console-server tells the root task ([`Ask`]), which signals the part and answers at
//! once. The part fetches the question ([`WhatIsAsked`]) when it gets to it, and shows ([`Show`]). The root task signals console-server, which
//! fetches that ([`GetShown`]). So a part that never shows anything keeps nobody from anything; its question stays unanswered.

use serde::{Deserialize, Serialize};

use super::device::Devices;
use super::guest::{Exits, Map, Registers};

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// pci-server: the machine's functions from this index on.
    Devices(u16),
    /// A VMM: what its guest exited for.
    Exits,
    /// A VMM: its guest's registers and control block.
    Registers,
    /// A VMM: what lies where for its guest, from this guest-physical address on.
    Memory(u64),
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// To [`Question::Devices`].
    Devices(Devices),
    /// To [`Question::Exits`].
    Exits(Exits),
    /// To [`Question::Registers`].
    Registers(Registers),
    /// To [`Question::Memory`].
    Memory(Map),
}

impl View {
    /// Whether it can be an answer to `question`.
    pub const fn answers(&self, question: Question) -> bool {
        matches!(
            (self, question),
            (Self::Devices(_), Question::Devices(_))
                | (Self::Exits(_), Question::Exits)
                | (Self::Registers(_), Question::Registers)
                | (Self::Memory(_), Question::Memory(_))
        )
    }
}

/// From console-server: asks a part. What it asked before is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The part, as `client::index` counts.
    pub part: u8,
    /// What.
    pub question: Question,
}

/// From the part: what is it asked? Reply: the question, if there is one that it hasn't answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhatIsAsked;

/// From the part: the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show(pub View);

/// From console-server: fetches the answer. Reply: [`Shown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetShown;

/// What has become of a question.
#[expect(clippy::large_enum_variant, reason = "servers have no allocator to box it with")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// No answer yet.
    NotYet,
    /// The part has ended.
    Gone,
    /// The answer.
    View(View),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::device;
    use crate::look::guest;
    use crate::testing::fits;

    #[test]
    fn the_largest_answers_fit() {
        for view in [
            View::Devices(device::tests::largest()),
            View::Exits(guest::tests::largest_exits()),
            View::Registers(guest::tests::largest_registers()),
            View::Memory(guest::tests::largest_map()),
        ] {
            fits(Show(view.clone()));
            fits(Shown::View(view));
        }
        fits(Ask { part: u8::MAX, question: Question::Memory(u64::MAX) });
    }

    #[test]
    fn answers_belong_to_questions() {
        assert!(View::Exits(Exits::default()).answers(Question::Exits));
        assert!(!View::Exits(Exits::default()).answers(Question::Devices(0)));
        assert!(View::Registers(Registers::default()).answers(Question::Registers));
        assert!(View::Memory(Map::default()).answers(Question::Memory(7)));
        assert!(!View::Memory(Map::default()).answers(Question::Registers));
        assert!(View::Devices(Devices::default()).answers(Question::Devices(7)));
    }
}
