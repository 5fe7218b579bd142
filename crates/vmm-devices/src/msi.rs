// SPDX-License-Identifier: MIT OR Apache-2.0
//! Message-signalled interrupts as a guest programs them. What the real device sends is fixed at attach; the guest's messages
//! only say what its virtual CPU gets (PCI Express Base 5.0, sections 7.7.1 and 7.7.2; message format: AMD64 manual, volume 2, section 16.11).

/// Most vectors of one device.
pub const MAX_VECTORS: usize = 64;
const WORDS: usize = MAX_VECTORS / 64;
/// Bytes of a table entry.
pub const ENTRY_BYTES: u64 = 16;

/// The interrupt vector of a message, if it reaches CPU 0: fixed delivery, edge, physical destination 0 or broadcast.
#[must_use]
pub fn vector(address: u64, data: u32) -> Option<u8> {
    const WINDOW: u64 = 0xfee;
    const LOGICAL: u64 = 1 << 2;
    const DELIVERY_AND_LEVEL: u32 = 0x8700;
    let destination = (address >> 12) & 0xff;
    let reaches = address >> 20 == WINDOW && address & LOGICAL == 0 && matches!(destination, 0 | 0xff);
    (reaches && data & DELIVERY_AND_LEVEL == 0 && data & 0xf0 != 0).then_some(data as u8)
}

#[derive(Clone, Copy)]
struct Message {
    address: u64,
    data: u32,
    masked: bool,
}

/// What an interrupt of the device, or a change by the guest, leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Deliver this vector to the local APIC.
    Deliver(u8),
    /// It is masked: pending until the guest unmasks it.
    Pending,
    /// The guest's message reaches nobody.
    Dropped,
}

/// The messages of one device: an MSI-X table, or an MSI capability.
pub struct Messages {
    entries: heapless::Vec<Message, MAX_VECTORS>,
    pending: [u64; WORDS],
    enabled: bool,
    all_masked: bool,
    /// What the device has been told: masked or not.
    told: [u64; WORDS],
}

impl Messages {
    /// `count` vectors, each masked, as after reset; the device has been told so.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut entries = heapless::Vec::new();
        let _ = entries.resize(count.min(MAX_VECTORS), Message { address: 0, data: 0, masked: true });
        Self { entries, pending: [0; WORDS], enabled: false, all_masked: false, told: [u64::MAX; WORDS] }
    }

    /// Number of vectors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The MSI-X control word was written.
    pub fn set_control(&mut self, enabled: bool, all_masked: bool) {
        self.enabled = enabled;
        self.all_masked = all_masked;
    }

    /// The MSI capability was written: `1 << log2` messages, numbered in the low bits of `data`; `mask` one bit each. The device
    /// sends as many as it has; what the guest didn't enable comes as one that it did.
    pub fn set_msi(&mut self, enabled: bool, address: u64, data: u16, log2: u8, mask: u32) {
        let count = 1usize << log2.min(5);
        self.enabled = enabled;
        for (n, entry) in self.entries.iter_mut().enumerate() {
            let number = (n & (count - 1)) as u32;
            let data = u32::from(data) & !(count as u32 - 1) | number;
            let masked = mask & 1 << number != 0;
            *entry = Message { address, data, masked };
        }
    }

    /// Whether interrupts of vector `n` are held back.
    #[must_use]
    pub fn is_masked(&self, n: usize) -> bool {
        !self.enabled || self.all_masked || self.entries.get(n).is_none_or(|entry| entry.masked)
    }

    /// The device's vector `n` has interrupted.
    pub fn arrive(&mut self, n: usize) -> Arrival {
        if self.is_masked(n) {
            if let Some(word) = self.pending.get_mut(n / 64) {
                *word |= 1 << (n % 64);
            }
            return Arrival::Pending;
        }
        match self.entries.get(n).and_then(|entry| vector(entry.address, entry.data)) {
            Some(vector) => Arrival::Deliver(vector),
            None => Arrival::Dropped,
        }
    }

    /// After a change by the guest: the next vector whose masking the device must be told, and how. Repeat until `None`.
    pub fn next_to_tell(&mut self) -> Option<(u16, bool)> {
        for n in 0..self.entries.len() {
            let (word, bit) = (n / 64, 1 << (n % 64));
            let masked = self.is_masked(n);
            if masked != (self.told[word] & bit != 0) {
                self.told[word] ^= bit;
                return Some((n as u16, masked));
            }
        }
        None
    }

    /// After a change by the guest: the next vector that was pending and isn't masked any more. Repeat until `None`.
    pub fn next_unmasked(&mut self) -> Option<usize> {
        let n = (0..self.entries.len())
            .find(|&n| self.pending[n / 64] & 1 << (n % 64) != 0 && !self.is_masked(n))?;
        self.pending[n / 64] &= !(1 << (n % 64));
        Some(n)
    }

    /// Reads `width` bytes (4 or 8, aligned) at byte `offset` of the MSI-X table. What isn't there reads 0.
    #[must_use]
    pub fn read_table(&self, offset: u64, width: u8) -> u64 {
        match width {
            4 => self.read_word(offset).into(),
            8 => {
                u64::from(self.read_word(offset)) | u64::from(self.read_word(offset.saturating_add(4))) << 32
            }
            _ => 0,
        }
    }

    fn read_word(&self, offset: u64) -> u32 {
        let Some(entry) = self.entries.get((offset / ENTRY_BYTES) as usize) else { return 0 };
        match offset % ENTRY_BYTES {
            0 => entry.address as u32,
            4 => (entry.address >> 32) as u32,
            8 => entry.data,
            12 => entry.masked.into(),
            _ => 0,
        }
    }

    /// Writes `width` bytes (4 or 8, aligned) at byte `offset` of the MSI-X table. Anything else does nothing.
    pub fn write_table(&mut self, offset: u64, width: u8, value: u64) {
        match width {
            4 => self.write_word(offset, value as u32),
            8 => {
                self.write_word(offset, value as u32);
                self.write_word(offset.saturating_add(4), (value >> 32) as u32);
            }
            _ => {}
        }
    }

    fn write_word(&mut self, offset: u64, value: u32) {
        let Some(entry) = self.entries.get_mut((offset / ENTRY_BYTES) as usize) else { return };
        match offset % ENTRY_BYTES {
            0 => entry.address = entry.address & !0xffff_ffff | u64::from(value),
            4 => entry.address = entry.address & 0xffff_ffff | u64::from(value) << 32,
            8 => entry.data = value,
            12 => entry.masked = value & 1 != 0,
            _ => {}
        }
    }

    /// Reads `width` bytes at byte `offset` of the pending-bit array.
    #[must_use]
    pub fn read_pending(&self, offset: u64, width: u8) -> u64 {
        let word = self.pending.get((offset / 8) as usize).copied().unwrap_or(0);
        (word >> (8 * (offset % 8))) & crate::decode::mask(width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_reach_the_cpu() {
        assert_eq!(vector(0xfee0_0000, 0x41), Some(0x41));
        assert_eq!(vector(0xfeef_f000, 0x41), Some(0x41));
        assert_eq!(vector(0xfee0_1000, 0x41), None, "another CPU");
        assert_eq!(vector(0xfee0_0004, 0x41), None, "logical");
        assert_eq!(vector(0x1_fee0_0000, 0x41), None);
        assert_eq!(vector(0xfee0_0000, 0x141), None, "lowest priority");
        assert_eq!(vector(0xfee0_0000, 0x8041), None, "level");
        assert_eq!(vector(0xfee0_0000, 0x0f), None);
    }

    fn program(messages: &mut Messages, n: u64, data: u32) {
        messages.write_table(n * 16, 8, 0xfee0_0000);
        messages.write_table(n * 16 + 8, 8, u64::from(data));
    }

    #[test]
    fn msix_masking_and_pending() {
        let mut messages = Messages::new(3);
        assert_eq!(messages.next_to_tell(), None);
        program(&mut messages, 1, 0x51);
        assert_eq!(messages.arrive(1), Arrival::Pending, "not enabled");
        assert_eq!(messages.read_pending(0, 8), 2);
        messages.set_control(true, true);
        assert_eq!((messages.next_to_tell(), messages.next_unmasked()), (None, None));
        messages.set_control(true, false);
        assert_eq!(messages.next_to_tell(), Some((1, false)));
        assert_eq!(messages.next_to_tell(), None);
        assert_eq!(messages.next_unmasked(), Some(1));
        assert_eq!((messages.next_unmasked(), messages.read_pending(0, 4)), (None, 0));
        assert_eq!(messages.arrive(1), Arrival::Deliver(0x51));
        messages.write_table(16 + 12, 4, 1);
        assert_eq!(messages.next_to_tell(), Some((1, true)));
        assert_eq!(messages.arrive(1), Arrival::Pending);
        messages.write_table(16 + 12, 4, 0);
        assert_eq!(messages.next_unmasked(), Some(1));
        assert_eq!(messages.arrive(0), Arrival::Pending);
        messages.write_table(12, 4, 0);
        assert_eq!(messages.next_unmasked(), Some(0));
        assert_eq!(messages.arrive(0), Arrival::Dropped, "no message programmed");
        assert_eq!(messages.arrive(500), Arrival::Pending);
    }

    #[test]
    fn table_reads_back_and_ends() {
        let mut messages = Messages::new(2);
        messages.write_table(16, 4, 0xfee0_0000);
        messages.write_table(20, 4, 7);
        messages.write_table(24, 4, 0x1234);
        assert_eq!(messages.read_table(16, 8), 0x7_fee0_0000);
        assert_eq!(messages.read_table(24, 8), 0x1_0000_1234);
        messages.write_table(32, 8, u64::MAX);
        assert_eq!(messages.read_table(32, 8), 0);
        messages.write_table(u64::MAX - 3, 4, 1);
        assert_eq!(messages.read_table(18, 4), 0);
        assert_eq!(messages.read_table(16, 2), 0);
    }

    #[test]
    fn msi_numbers_its_messages() {
        let mut messages = Messages::new(4);
        messages.set_msi(true, 0xfee0_0000, 0x43, 1, 0);
        assert_eq!(messages.arrive(0), Arrival::Deliver(0x42));
        assert_eq!(messages.arrive(1), Arrival::Deliver(0x43));
        assert_eq!(messages.arrive(2), Arrival::Deliver(0x42), "more than the guest enabled");
        messages.set_msi(true, 0xfee0_0000, 0x43, 1, 2);
        assert_eq!((messages.arrive(3), messages.arrive(2)), (Arrival::Pending, Arrival::Deliver(0x42)));
        messages.set_msi(true, 0xfee0_0000, 0x43, 1, 0);
        assert_eq!(messages.next_unmasked(), Some(3));
        messages.set_msi(true, 0xfee0_0000, 0x43, 0, 1);
        assert_eq!(messages.arrive(0), Arrival::Pending);
        messages.set_msi(false, 0xfee0_0000, 0x43, 99, 0);
        assert_eq!(messages.arrive(0), Arrival::Pending);
    }

    /// A guest writes the table's words in any order and width, masks, enables; the device interrupts in between: each
    /// interrupt is delivered or waits, the device knows what is masked, and what may come doesn't wait.
    #[test]
    fn writes_in_odd_orders_lose_nothing() {
        const COUNT: usize = 5;
        let mut random = crate::random::Random(0x1234_5678_9abc_def1);
        for _ in 0..200 {
            let mut messages = Messages::new(COUNT);
            let mut words = [[0u32, 0, 0, 1]; COUNT];
            let (mut control, mut told, mut waits) = ((false, false), [true; COUNT], [false; COUNT]);
            for _ in 0..300 {
                let n = random.below(COUNT as u64) as usize;
                let value = match random.below(4) {
                    0 => random.next() as u32,
                    1 => 0xfee0_0000,
                    _ => random.below(0x100) as u32,
                };
                match random.below(8) {
                    0..=3 => {
                        let word = random.below(4) as usize;
                        messages.write_table((n * 16 + word * 4) as u64, 4, value.into());
                        words[n][word] = if word == 3 { value & 1 } else { value };
                    }
                    4 => {
                        let half = random.below(2) as usize;
                        let high = random.next() as u32;
                        messages.write_table(
                            (n * 16 + half * 8) as u64,
                            8,
                            u64::from(high) << 32 | u64::from(value),
                        );
                        words[n][half * 2] = value;
                        words[n][half * 2 + 1] = if half == 1 { high & 1 } else { high };
                    }
                    5 => {
                        control = (random.below(4) != 0, random.below(4) == 0);
                        messages.set_control(control.0, control.1);
                    }
                    _ => {
                        let masked = !control.0 || control.1 || words[n][3] != 0;
                        let address = u64::from(words[n][1]) << 32 | u64::from(words[n][0]);
                        let expected = match (masked, vector(address, words[n][2])) {
                            (true, _) => Arrival::Pending,
                            (false, Some(vector)) => Arrival::Deliver(vector),
                            (false, None) => Arrival::Dropped,
                        };
                        assert_eq!(messages.arrive(n), expected);
                        waits[n] |= masked;
                    }
                }
                while let Some((n, masked)) = messages.next_to_tell() {
                    told[usize::from(n)] = masked;
                }
                while let Some(n) = messages.next_unmasked() {
                    assert!(core::mem::take(&mut waits[n]), "{n} comes without having waited");
                }
                for n in 0..COUNT {
                    let masked = !control.0 || control.1 || words[n][3] != 0;
                    assert_eq!((told[n], messages.is_masked(n)), (masked, masked));
                    assert!(masked || !waits[n]);
                    assert_eq!(messages.read_pending(0, 4) & 1 << n != 0, waits[n]);
                    let read = |word: usize| messages.read_table((n * 16 + word * 4) as u64, 4) as u32;
                    assert_eq!([0, 1, 2, 3].map(read), words[n]);
                }
            }
        }
    }
}
