// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt messages as devices and I/O APICs send them (section 5.1).

/// An MSI: what goes into a device's message address and message data registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Message address; the upper half is 0.
    pub address: u32,
    /// Message data.
    pub data: u32,
}

/// The remappable message that selects entry `handle` (section 5.1.5.2; SHV = 0, so the data doesn't count).
pub fn remappable(handle: u16) -> Message {
    Message { address: remappable_address(handle), data: 0 }
}

/// The remappable message for a device with several plain MSI vectors: the device counts them in the low bits of the
/// data, which are added to `first` (SHV = 1).
pub fn remappable_block(first: u16) -> Message {
    Message { address: remappable_address(first) | 1 << 3, data: 0 }
}

fn remappable_address(handle: u16) -> u32 {
    let handle = u32::from(handle);
    // Bits 0–14 of the handle go to 5–19, bit 15 to bit 2; bit 4 says remappable.
    0xfee0_0000 | (handle & 0x7fff) << 5 | 1 << 4 | handle >> 15 << 2
}

/// A message in the compatibility format to one processor, edge-triggered, fixed: as the units' own fault events are
/// (section 5.1.4), which are never remapped, and MSIs of a machine without remapping.
pub fn compatibility(vector: u8, destination: u8) -> Message {
    Message { address: 0xfee0_0000 | u32::from(destination) << 12, data: u32::from(vector) }
}

/// An I/O APIC's redirection entry in the remappable format (section 5.1.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectionEntry {
    /// The entry of the interrupt remapping table.
    pub handle: u16,
    /// The vector, which has to be the remapping entry's: level-triggered interrupts are acknowledged by it.
    pub vector: u8,
    /// Whether the pin is level-triggered.
    pub level_triggered: bool,
    /// Whether the pin is active low.
    pub active_low: bool,
    /// Whether the pin is masked.
    pub masked: bool,
}

impl RedirectionEntry {
    /// The 64 bits of the I/O APIC's register pair.
    pub fn bits(self) -> u64 {
        let handle = u64::from(self.handle);
        u64::from(self.vector)
            | handle >> 15 << 11
            | u64::from(self.active_low) << 13
            | u64::from(self.level_triggered) << 15
            | u64::from(self.masked) << 16
            | 1 << 48
            | (handle & 0x7fff) << 49
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_spread_over_the_address() {
        assert_eq!(remappable(0), Message { address: 0xfee0_0010, data: 0 });
        assert_eq!(remappable(3).address, 0xfee0_0070);
        assert_eq!(remappable(0x7fff).address, 0xfeef_fff0);
        assert_eq!(remappable(0x8000).address, 0xfee0_0014);
        assert_eq!(remappable_block(4).address, 0xfee0_0098);
    }

    #[test]
    fn compatibility_messages_name_vector_and_processor() {
        assert_eq!(compatibility(156, 3), Message { address: 0xfee0_3000, data: 156 });
    }

    #[test]
    fn redirection_entries_hold_the_handle_in_two_pieces() {
        let entry = RedirectionEntry {
            handle: 0x8005,
            vector: 0x34,
            level_triggered: true,
            active_low: true,
            masked: true,
        };
        assert_eq!(entry.bits(), 5 << 49 | 1 << 48 | 0x1_a834);
    }
}
