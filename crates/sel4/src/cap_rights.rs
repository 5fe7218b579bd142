// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rights and CNode guards.

use crate::Word;

/// Rights of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CapRights(Word);

impl CapRights {
    /// The rights given.
    pub const fn new(grant_reply: bool, grant: bool, read: bool, write: bool) -> Self {
        Self((grant_reply as Word) << 3 | (grant as Word) << 2 | (read as Word) << 1 | write as Word)
    }
    /// None.
    pub const fn none() -> Self {
        Self(0)
    }
    /// All four.
    pub const fn all() -> Self {
        Self(15)
    }
    /// Read and write.
    pub const fn read_write() -> Self {
        Self::new(false, false, true, true)
    }
    /// Read.
    pub const fn read_only() -> Self {
        Self::new(false, false, true, false)
    }
    /// Write.
    pub const fn write_only() -> Self {
        Self::new(false, false, false, true)
    }
    /// The word itself.
    pub const fn into_word(self) -> Word {
        self.0
    }
}

/// Builds [`CapRights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapRightsBuilder {
    grant_reply: bool,
    grant: bool,
    read: bool,
    write: bool,
}

impl CapRightsBuilder {
    /// Begins with none.
    pub const fn none() -> Self {
        Self { grant_reply: false, grant: false, read: false, write: false }
    }
    /// Begins with all.
    pub const fn all() -> Self {
        Self { grant_reply: true, grant: true, read: true, write: true }
    }
    /// May send so that it can be replied to.
    pub const fn grant_reply(mut self, can: bool) -> Self {
        self.grant_reply = can;
        self
    }
    /// May send capabilities.
    pub const fn grant(mut self, can: bool) -> Self {
        self.grant = can;
        self
    }
    /// May receive; may read.
    pub const fn read(mut self, can: bool) -> Self {
        self.read = can;
        self
    }
    /// May send; may write.
    pub const fn write(mut self, can: bool) -> Self {
        self.write = can;
        self
    }
    /// The rights.
    pub const fn build(self) -> CapRights {
        CapRights::new(self.grant_reply, self.grant, self.read, self.write)
    }
}

/// Guard of a CNode capability, as badge of `mint` and `mutate` and as data of a thread's CSpace root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct CNodeCapData(Word);

impl CNodeCapData {
    /// A guard of `guard_size` bits with the value `guard`.
    pub const fn new(guard: Word, guard_size: usize) -> Self {
        Self(guard << 6 | (guard_size as Word & 63))
    }
    /// A guard of `num_bits` zero bits.
    pub const fn skip(num_bits: usize) -> Self {
        Self::new(0, num_bits)
    }
    /// A guard of zero bits that makes a CNode of 2^`radix` slots resolve all 64 bits of an address.
    pub const fn skip_high_bits(radix: usize) -> Self {
        Self::skip(crate::WORD_SIZE - radix)
    }
    /// The word itself.
    pub const fn into_word(self) -> Word {
        self.0
    }
}

/// What `mint` makes of the master I/O space capability: the DMA space of a requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct IOSpaceCapData(Word);

impl IOSpaceCapData {
    /// Domain `domain_id` for the function with requester ID `requester` (bus, device, function: 8, 5 and 3 bits).
    pub const fn new(domain_id: u16, requester: u16) -> Self {
        Self((domain_id as Word) << 16 | requester as Word)
    }
    /// The word itself.
    pub const fn into_word(self) -> Word {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_have_their_bits() {
        assert_eq!(CapRights::write_only().into_word(), 1);
        assert_eq!(CapRights::read_only().into_word(), 2);
        assert_eq!(CapRightsBuilder::none().grant(true).build().into_word(), 4);
        assert_eq!(CapRightsBuilder::none().grant_reply(true).build().into_word(), 8);
        assert_eq!(CapRightsBuilder::all().build(), CapRights::all());
        assert_eq!(CapRights::read_write().into_word(), 3);
    }

    #[test]
    fn guards_have_their_bits() {
        assert_eq!(CNodeCapData::new(0x2a, 8).into_word(), 0x2a << 6 | 8);
        assert_eq!(CNodeCapData::skip_high_bits(12).into_word(), 52);
    }

    #[test]
    fn io_space_data_have_their_bits() {
        assert_eq!(IOSpaceCapData::new(7, 0x0123).into_word(), 0x7_0123);
    }
}
