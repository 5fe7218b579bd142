// SPDX-License-Identifier: MIT OR Apache-2.0
//! The message information word.

use sel4_abi::message;

use crate::Word;

/// Length, extra capabilities, unwrapped capabilities and label of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct MessageInfo(message::MessageInfo);

impl MessageInfo {
    /// A word of the four fields; each is cut to its width.
    #[inline(always)]
    pub const fn new(label: Word, caps_unwrapped: usize, extra_caps: usize, length: usize) -> Self {
        Self(message::MessageInfo::new(label, caps_unwrapped as Word, extra_caps as Word, length as Word))
    }
    /// The word itself.
    #[inline(always)]
    pub const fn into_word(self) -> Word {
        self.0.0
    }
    /// From the word itself.
    #[inline(always)]
    pub const fn from_word(word: Word) -> Self {
        Self(message::MessageInfo(word))
    }
    /// The label: 52 bits.
    #[inline(always)]
    pub const fn label(self) -> Word {
        self.0.label()
    }
    /// Bit i is set when extra capability i arrived as a badge.
    pub const fn caps_unwrapped(self) -> usize {
        self.0.caps_unwrapped() as usize
    }
    /// Number of extra capabilities.
    pub const fn extra_caps(self) -> usize {
        self.0.extra_caps()
    }
    /// Length in words, at most 120.
    #[inline(always)]
    pub const fn length(self) -> usize {
        self.0.length()
    }
}

/// Builds a [`MessageInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageInfoBuilder {
    label: Word,
    caps_unwrapped: usize,
    extra_caps: usize,
    length: usize,
}

impl MessageInfoBuilder {
    /// All fields are 0.
    pub const fn new() -> Self {
        Self { label: 0, caps_unwrapped: 0, extra_caps: 0, length: 0 }
    }
    /// Sets the label.
    pub const fn label(mut self, label: Word) -> Self {
        self.label = label;
        self
    }
    /// Sets the unwrapped capabilities.
    pub const fn caps_unwrapped(mut self, caps_unwrapped: usize) -> Self {
        self.caps_unwrapped = caps_unwrapped;
        self
    }
    /// Sets the number of extra capabilities.
    pub const fn extra_caps(mut self, extra_caps: usize) -> Self {
        self.extra_caps = extra_caps;
        self
    }
    /// Sets the length in words.
    pub const fn length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }
    /// The word.
    pub const fn build(self) -> MessageInfo {
        MessageInfo::new(self.label, self.caps_unwrapped, self.extra_caps, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_places() {
        let info = MessageInfoBuilder::new().label(0x1234).caps_unwrapped(5).extra_caps(3).length(9).build();
        assert_eq!(info.into_word(), 0x1234 << 12 | 5 << 9 | 3 << 7 | 9);
        assert_eq!(
            (info.label(), info.caps_unwrapped(), info.extra_caps(), info.length()),
            (0x1234, 5, 3, 9)
        );
    }

    #[test]
    fn length_is_at_most_a_whole_buffer() {
        assert_eq!(MessageInfo::from_word(127).length(), 120);
    }
}
