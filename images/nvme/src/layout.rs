// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which blocks of the disk hold what. The booted test (`tests/src/cases/nvme.rs`) knows the same numbers.

use alloc::vec::Vec;

/// Blocks in a row, and the number from which their bytes are made.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The first block.
    pub first: u64,
    /// How many blocks.
    pub blocks: u64,
    /// The seed of its bytes.
    pub seed: u32,
}

/// What the host has laid there before.
pub const FROM_HOST: Extent = Extent { first: 0, blocks: 64, seed: 1 };
/// One block.
pub const ONE: Extent = Extent { first: 100, blocks: 1, seed: 2 };
/// Eight blocks from the middle of a page in RAM.
pub const ACROSS_PAGES: Extent = Extent { first: 200, blocks: 8, seed: 3 };
/// 32 pages, with a list.
pub const LONG: Extent = Extent { first: 1024, blocks: 256, seed: 4 };
/// Where `steal=` has foreign memory written to; the host's filling otherwise.
pub const STOLEN: Extent = Extent { first: 300, blocks: 1, seed: 0 };
/// The seed of the namespace's last block.
pub const LAST_SEED: u32 = 5;
/// Commands at once.
pub const TOGETHER: u32 = 16;

/// The blocks of one of the commands at once.
pub fn together(index: u32) -> Extent {
    Extent { first: 2048 + 16 * u64::from(index), blocks: 8, seed: 16 + index }
}

/// Bytes that differ from their neighbours, from a shifted copy, and from those of another seed.
pub fn pattern(seed: u32, bytes: usize) -> Vec<u8> {
    let start = seed.wrapping_mul(0x85eb_ca6b);
    (0..bytes as u32).map(|index| (index.wrapping_mul(0x9e37_79b1).wrapping_add(start) >> 13) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_apart() {
        let mut extents: Vec<_> = [FROM_HOST, ONE, ACROSS_PAGES, STOLEN, LONG].to_vec();
        extents.extend((0..TOGETHER).map(together));
        for pair in extents.windows(2) {
            assert!(pair[0].first + pair[0].blocks <= pair[1].first && pair[0].seed != pair[1].seed);
        }
    }

    #[test]
    fn patterns_differ() {
        let one = pattern(1, 4096);
        assert!(one.iter().zip(&pattern(2, 4096)).filter(|(a, b)| a == b).count() < 100);
        assert!(one[512..].iter().zip(&one).filter(|(a, b)| a == b).count() < 100);
    }
}
