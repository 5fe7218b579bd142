// SPDX-License-Identifier: MIT OR Apache-2.0
//! Root entries and context entries (sections 9.1 and 9.3), legacy mode.

use crate::ADDRESS_MASK;

/// Bytes of a root entry and of a context entry.
pub const ENTRY_BYTES: u64 = 16;

/// A root entry's lower half: the context table of a bus. The upper half is reserved and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootEntry(pub u64);

impl RootEntry {
    /// A present entry for the context table at a physical address.
    pub fn new(context_table: u64) -> RootEntry {
        RootEntry(context_table & ADDRESS_MASK | 1)
    }

    /// The context table's physical address, if the entry is present.
    pub fn context_table(self) -> Option<u64> {
        (self.0 & 1 != 0).then_some(self.0 & ADDRESS_MASK)
    }

    /// The entry's physical address in the root table at `root_table`.
    pub fn address(root_table: u64, requester: u16) -> u64 {
        root_table + u64::from(requester >> 8) * ENTRY_BYTES
    }
}

/// A context entry: the tables of one requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextEntry {
    /// Bits 0–63.
    pub low: u64,
    /// Bits 64–127.
    pub high: u64,
}

impl ContextEntry {
    /// An entry that blocks everything.
    pub const ABSENT: ContextEntry = ContextEntry { low: 0, high: 0 };

    /// A present entry: untranslated requests only (TT = 0) go through the tables at `root`, which have `levels`
    /// levels, 3 to 5.
    pub fn new(domain: u16, root: u64, levels: u8) -> ContextEntry {
        // AW: 1 for 3 levels, 2 for 4, 3 for 5.
        let width = u64::from(levels.saturating_sub(2)) & 7;
        ContextEntry { low: root & ADDRESS_MASK | 1, high: u64::from(domain) << 8 | width }
    }

    /// Whether the entry is present.
    pub fn is_present(self) -> bool {
        self.low & 1 != 0
    }

    /// The domain ID and the root table's physical address, if the entry is present.
    pub fn target(self) -> Option<(u16, u64)> {
        self.is_present().then_some(((self.high >> 8) as u16, self.low & ADDRESS_MASK))
    }

    /// The entry's physical address in the context table at `context_table`.
    pub fn address(context_table: u64, requester: u16) -> u64 {
        context_table + u64::from(requester & 0xff) * ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_packed_as_the_specification_has_them() {
        assert_eq!(RootEntry::new(0x1_2345_6000).0, 0x1_2345_6001);
        assert_eq!(RootEntry(0x1_2345_6000).context_table(), None);
        assert_eq!(RootEntry::new(0x5000).context_table(), Some(0x5000));
        let entry = ContextEntry::new(0xabcd, 0x7000, 3);
        assert_eq!((entry.low, entry.high), (0x7001, 0xab_cd01));
        assert_eq!(ContextEntry::new(1, 0x7000, 4).high, 0x102);
        assert_eq!(entry.target(), Some((0xabcd, 0x7000)));
        assert_eq!(ContextEntry::ABSENT.target(), None);
    }

    #[test]
    fn a_requester_finds_its_entries() {
        assert_eq!(RootEntry::address(0x1000, 0x0320), 0x1030);
        assert_eq!(ContextEntry::address(0x2000, 0x0320), 0x2200);
    }
}
