// SPDX-License-Identifier: MIT OR Apache-2.0
//! Base address registers.

use crate::mmio::Mmio;

/// A function's memory range.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// First guest-physical address.
    pub address: u64,
    /// Length in bytes.
    pub bytes: u64,
}

const FIRST: usize = 0x10;
const COMMAND: usize = 0x04;
const DECODING: u16 = 0b11;

/// What a register's value says: `None` for I/O and reserved types, else whether the next register is its upper half.
fn is_wide_memory(low: u32) -> Option<bool> {
    match low & 0b111 {
        0b000 => Some(false),
        0b100 => Some(true),
        _ => None,
    }
}

/// The length from the value read back after writing all ones; 0 for a register that holds nothing.
fn length(mask: u64) -> u64 {
    let mask = mask & !0xf;
    if mask == 0 { 0 } else { (!mask).wrapping_add(1) }
}

impl Bar {
    /// Reads, sizes and restores a BAR. Decoding is off meanwhile, as PCI wants it.
    pub(super) fn probe(config: &Mmio, index: u8) -> Option<Self> {
        let offset = (index < 6).then_some(FIRST + 4 * usize::from(index))?;
        let low = config.read32(offset);
        let wide = is_wide_memory(low)?;
        if wide && index == 5 {
            return None;
        }
        let high = if wide { config.read32(offset + 4) } else { 0 };
        let address = u64::from(high) << 32 | u64::from(low & !0xf);
        if address == 0 {
            return None;
        }
        let command = config.read16(COMMAND);
        config.write16(COMMAND, command & !DECODING);
        config.write32(offset, u32::MAX);
        let mut mask = 0xffff_ffff_0000_0000 | u64::from(config.read32(offset));
        config.write32(offset, low);
        if wide {
            config.write32(offset + 4, u32::MAX);
            mask = mask & 0xffff_ffff | u64::from(config.read32(offset + 4)) << 32;
            config.write32(offset + 4, high);
        }
        config.write16(COMMAND, command);
        let bytes = length(mask);
        (bytes != 0 && address.checked_add(bytes)? <= 1 << 32).then_some(Self { address, bytes })
    }

    /// The registers in it.
    pub fn registers(&self) -> Mmio {
        // SAFETY: a PCI function's own memory, mapped one to one below 4 GiB. DMA that a device is told to do by its registers is its driver's
        // responsibility.
        unsafe { Mmio::new(self.address, self.bytes as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        assert_eq!(is_wide_memory(0xfe00_0000), Some(false));
        assert_eq!(is_wide_memory(0xfe00_000c), Some(true));
        assert_eq!(is_wide_memory(0xc001), None);
        assert_eq!(is_wide_memory(0xfe00_0002), None);
    }

    #[test]
    fn lengths() {
        assert_eq!(length(0xffff_ffff_fff0_0000), 1 << 20);
        assert_eq!(length(0xffff_ffff_ffff_c00c), 16 << 10);
        assert_eq!(length(0), 0);
    }

    #[test]
    fn register_that_keeps_all_bits_is_no_device() {
        let mut memory = [0u32; 1024];
        memory[4] = 0xc000_0000;
        // SAFETY: an array of this test, long enough, borrowed for as long.
        let config = unsafe { Mmio::new(memory.as_mut_ptr() as u64, 4096) };
        // Plain memory reads back all ones: a length of 16 bytes, and the old value is put back.
        assert_eq!(Bar::probe(&config, 0).map(|bar| (bar.address, bar.bytes)), Some((0xc000_0000, 16)));
        assert_eq!(config.read32(0x10), 0xc000_0000);
        assert!(Bar::probe(&config, 1).is_none());
        assert!(Bar::probe(&config, 6).is_none());
    }
}
