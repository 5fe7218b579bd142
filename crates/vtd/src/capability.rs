// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a unit can do (sections 11.4.2 and 11.4.3).

/// The capability register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability(pub u64);

impl Capability {
    fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    fn field(self, low: u32, bits: u32) -> u64 {
        self.0 >> low & ((1 << bits) - 1)
    }

    /// How many domain IDs there are, counting 0 (ND).
    pub fn domains(self) -> u32 {
        // The value 7 is reserved.
        1 << (4 + 2 * self.field(0, 3).min(6))
    }

    /// Whether software has to drain the write buffer after changing tables (RWBF).
    pub fn needs_write_buffer_flush(self) -> bool {
        self.bit(4)
    }

    /// Whether there is a protected region in low memory (PLMR).
    pub fn protected_low_memory(self) -> bool {
        self.bit(5)
    }

    /// Whether there is a protected region in high memory (PHMR).
    pub fn protected_high_memory(self) -> bool {
        self.bit(6)
    }

    /// Whether absent entries may be cached too, so that making one present needs an invalidation (CM).
    pub fn caching_mode(self) -> bool {
        self.bit(7)
    }

    /// Whether second-level tables of this many levels are supported (SAGAW): 3 levels for 39 bits, 4 for 48, 5 for
    /// 57.
    pub fn supports_levels(self, levels: u8) -> bool {
        match levels {
            3 => self.bit(9),
            4 => self.bit(10),
            5 => self.bit(11),
            _ => false,
        }
    }

    /// Bits of the largest IOVA that the unit takes (MGAW).
    pub fn address_bits(self) -> u8 {
        self.field(16, 6) as u8 + 1
    }

    /// Byte offset of the fault records in the register space (FRO).
    pub fn fault_records_offset(self) -> u64 {
        self.field(24, 10) * 16
    }

    /// How many fault records there are (NFR).
    pub fn fault_records(self) -> u64 {
        self.field(40, 8) + 1
    }

    /// Whether a second-level leaf can be 2 MiB (SLLPS, bit 0).
    pub fn pages_2m(self) -> bool {
        self.bit(34)
    }

    /// Whether a second-level leaf can be 1 GiB (SLLPS, bit 1).
    pub fn pages_1g(self) -> bool {
        self.bit(35)
    }

    /// The largest range, as the logarithm of its 4 KiB pages, that one page-selective invalidation takes; `None` if
    /// there are no page-selective invalidations (PSI, MAMV).
    pub fn page_selective(self) -> Option<u8> {
        self.bit(39).then_some(self.field(48, 6) as u8)
    }

    /// Whether invalidations can wait for writes in flight (DWD).
    pub fn write_draining(self) -> bool {
        self.bit(54)
    }

    /// Whether invalidations can wait for reads in flight (DRD).
    pub fn read_draining(self) -> bool {
        self.bit(55)
    }
}

/// The extended capability register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedCapability(pub u64);

impl ExtendedCapability {
    fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }

    /// Whether the unit's reads of tables see the processors' caches (C). If not, every change of a table has to be
    /// flushed to memory before the unit may look.
    pub fn coherent_walks(self) -> bool {
        self.bit(0)
    }

    /// Whether there is an invalidation queue (QI).
    pub fn queued_invalidation(self) -> bool {
        self.bit(1)
    }

    /// Whether devices' own translation caches are supported (DT).
    pub fn device_tlbs(self) -> bool {
        self.bit(2)
    }

    /// Whether interrupts can be remapped (IR).
    pub fn interrupt_remapping(self) -> bool {
        self.bit(3)
    }

    /// Whether remapped interrupts can have 32-bit destinations (EIM).
    pub fn extended_interrupt_mode(self) -> bool {
        self.bit(4)
    }

    /// Whether a context entry can let everything pass (PT). Never used here.
    pub fn pass_through(self) -> bool {
        self.bit(6)
    }

    /// Whether a leaf can force snooping (SC). Where it can't, the bit is reserved and setting it is a fault.
    pub fn snoop_control(self) -> bool {
        self.bit(7)
    }

    /// Byte offset of the IOTLB registers in the register space (IRO).
    pub fn iotlb_offset(self) -> u64 {
        (self.0 >> 8 & 0x3ff) * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemus_unit_with_48_bits_is_decoded() {
        let cap = Capability(0x00d2_008c_222f_0606);
        assert_eq!(cap.domains(), 65536);
        assert!(cap.supports_levels(3) && cap.supports_levels(4) && !cap.supports_levels(5));
        assert!(!cap.supports_levels(2));
        assert_eq!(cap.address_bits(), 48);
        assert_eq!((cap.fault_records_offset(), cap.fault_records()), (0x220, 1));
        assert!(cap.pages_2m() && cap.pages_1g());
        assert_eq!(cap.page_selective(), Some(18));
        assert!(cap.read_draining() && cap.write_draining());
        assert!(!cap.caching_mode() && !cap.needs_write_buffer_flush());
        assert!(!cap.protected_low_memory() && !cap.protected_high_memory());
        let ext = ExtendedCapability(0xf0_0f4a);
        assert!(!ext.coherent_walks() && ext.queued_invalidation() && ext.interrupt_remapping());
        assert!(!ext.extended_interrupt_mode() && !ext.snoop_control() && ext.pass_through());
        assert!(!ext.device_tlbs());
        assert_eq!(ext.iotlb_offset(), 0xf0);
    }

    #[test]
    fn qemus_unit_with_39_bits_has_three_levels_only() {
        let cap = Capability(0x00d2_008c_2226_0206);
        assert!(cap.supports_levels(3) && !cap.supports_levels(4));
        assert_eq!(cap.address_bits(), 39);
    }

    #[test]
    fn a_unit_without_page_selection_says_so() {
        assert_eq!(Capability(0).page_selective(), None);
        assert_eq!(Capability(7).domains(), 65536);
        assert_eq!(Capability(0).domains(), 16);
    }
}
