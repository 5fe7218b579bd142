// SPDX-License-Identifier: MIT OR Apache-2.0
//! The capability list of a configuration space.

use crate::mmio::Mmio;

/// Walks the list: (capability ID, offset). Ends at a pointer into the header and after more steps than can be right.
pub struct Capabilities<'a> {
    config: &'a Mmio,
    next: usize,
    steps_left: u8,
}

impl<'a> Capabilities<'a> {
    pub(super) fn new(config: &'a Mmio) -> Self {
        const STATUS: usize = 0x06;
        const LIST_PRESENT: u16 = 1 << 4;
        const POINTER: usize = 0x34;
        let next =
            if config.read16(STATUS) & LIST_PRESENT != 0 { usize::from(config.read8(POINTER)) } else { 0 };
        // 48 capabilities of four bytes fill the space after the header.
        Self { config, next, steps_left: 48 }
    }

    /// The offset of the first capability with this ID.
    pub fn find_id(mut self, id: u8) -> Option<usize> {
        self.find(|(found, _)| *found == id).map(|(_, offset)| offset)
    }
}

impl Iterator for Capabilities<'_> {
    type Item = (u8, usize);

    fn next(&mut self) -> Option<(u8, usize)> {
        let offset = self.next & !0b11;
        if offset < 0x40 || self.steps_left == 0 {
            return None;
        }
        self.steps_left -= 1;
        let header = self.config.read16(offset);
        self.next = usize::from(header >> 8);
        Some((header as u8, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &mut [u8; 256]) -> alloc::vec::Vec<(u8, usize)> {
        // SAFETY: an array of this test, long enough, borrowed for as long.
        let config = unsafe { Mmio::new(bytes.as_mut_ptr() as u64, 256) };
        Capabilities::new(&config).collect()
    }

    #[repr(align(8))]
    struct Aligned([u8; 256]);

    #[test]
    fn list_and_its_ends() {
        let mut space = Aligned([0; 256]);
        space.0[0x34] = 0x40;
        assert!(walk(&mut space.0).is_empty(), "without the status bit there is no list");
        space.0[6] = 0x10;
        space.0[0x40..0x42].copy_from_slice(&[0x11, 0x63]);
        space.0[0x60..0x62].copy_from_slice(&[0x05, 0]);
        assert_eq!(walk(&mut space.0), [(0x11, 0x40), (0x05, 0x60)]);
        space.0[0x61] = 0x40;
        assert_eq!(walk(&mut space.0).len(), 48, "a loop ends");
    }
}
