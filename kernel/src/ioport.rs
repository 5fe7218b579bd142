// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which I/O ports have been issued.

/// A bit per port.
pub struct PortTable {
    issued: [u64; 1024],
}

impl PortTable {
    /// Nothing issued.
    pub const fn new() -> Self {
        Self { issued: [0; 1024] }
    }
    /// Issues `first..=last`; false, and nothing is issued, if any of them is.
    pub fn issue(&mut self, first: u16, last: u16) -> bool {
        if !self.is_free(first, last) {
            return false;
        }
        for p in first..=last {
            self.issued[usize::from(p / 64)] |= 1 << (p % 64);
        }
        true
    }
    /// True when none of the ports is issued.
    pub fn is_free(&self, first: u16, last: u16) -> bool {
        (first..=last).all(|p| self.issued[usize::from(p / 64)] & 1 << (p % 64) == 0)
    }
    /// Takes ports back.
    pub fn free(&mut self, first: u16, last: u16) {
        for p in first..=last {
            self.issued[usize::from(p / 64)] &= !(1 << (p % 64));
        }
    }
}

impl Default for PortTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::PortTable;

    #[test]
    fn a_range_is_issued_once_and_whole_or_not_at_all() {
        let mut t = PortTable::new();
        assert!(t.issue(0x3f8, 0x3ff));
        assert!(!t.issue(0x3f0, 0x3f8));
        assert!(t.issue(0x3f0, 0x3f7), "the refused range issued nothing");
        t.free(0x3f8, 0x3ff);
        assert!(t.issue(0x3f8, 0x3f8));
        assert!(t.issue(0xffff, 0xffff));
    }
}
