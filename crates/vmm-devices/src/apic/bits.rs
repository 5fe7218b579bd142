// SPDX-License-Identifier: MIT OR Apache-2.0
//! One bit for each of the 256 vectors: the shape of IRR, ISR and TMR.

/// 256 bits, with a summary of the words that aren't zero so that finding the highest is short.
#[derive(Clone, Default)]
pub struct Vectors {
    words: [u32; 8],
    summary: u8,
}

impl Vectors {
    /// Sets a bit; whether it was clear.
    pub fn set(&mut self, vector: u8) -> bool {
        let (word, bit) = (usize::from(vector >> 5), 1 << (vector & 31));
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.summary |= 1 << word;
        new
    }

    /// Clears a bit.
    pub fn clear(&mut self, vector: u8) {
        let word = usize::from(vector >> 5);
        self.words[word] &= !(1 << (vector & 31));
        if self.words[word] == 0 {
            self.summary &= !(1 << word);
        }
    }

    /// Whether a bit is set.
    #[must_use]
    pub fn has(&self, vector: u8) -> bool {
        self.words[usize::from(vector >> 5)] & 1 << (vector & 31) != 0
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.summary == 0
    }

    /// The highest bit that is set.
    #[must_use]
    pub fn highest(&self) -> Option<u8> {
        let word = 7u32.checked_sub(self.summary.leading_zeros())?;
        let bit = 31u32.checked_sub(self.words[word as usize].leading_zeros())?;
        Some((word * 32 + bit) as u8)
    }

    /// Word `index` (0..8), as its register shows it.
    #[must_use]
    pub fn word(&self, index: usize) -> u32 {
        self.words.get(index).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn highest_follows_every_change() {
        let mut vectors = Vectors::default();
        assert_eq!(vectors.highest(), None);
        for vector in 0..=255u8 {
            assert!(vectors.set(vector));
            assert!(!vectors.set(vector));
            assert_eq!(vectors.highest(), Some(vector));
            assert!(vectors.has(vector) && !vectors.is_empty());
        }
        for vector in (1..=255u8).rev() {
            vectors.clear(vector);
            assert_eq!(vectors.highest(), Some(vector - 1));
        }
        vectors.clear(0);
        assert!(!vectors.has(0) && vectors.is_empty());
        assert_eq!(vectors.highest(), None);
    }
}
