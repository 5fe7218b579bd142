// SPDX-License-Identifier: MIT OR Apache-2.0
//! Invalidation descriptors, 128 bits (section 6.5.2).

use crate::ADDRESS_MASK;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: u64 = 16;

/// Which entries of the IOTLB go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IotlbScope {
    /// All.
    Global,
    /// Those of one domain.
    Domain(u16),
    /// Those of one domain for the 2^`mask` pages around an IOVA, and with them everything cached of the tables that
    /// lead there.
    Pages {
        /// The domain ID.
        domain: u16,
        /// The IOVA; its lowest 12 + `mask` bits don't count.
        iova: u64,
        /// Logarithm of the number of 4 KiB pages, at most the unit's limit.
        mask: u8,
    },
}

/// A request to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// Forget all context entries (section 6.5.2.1).
    ContextGlobal,
    /// Forget one requester's context entry, cached under a domain ID (section 6.5.2.1). What a unit in caching mode
    /// knows as absent is cached under domain 0 (section 6.1).
    ContextDevice {
        /// The domain ID that the entry had.
        domain: u16,
        /// The requester.
        requester: u16,
    },
    /// Forget translations (section 6.5.2.3).
    Iotlb {
        /// Which.
        scope: IotlbScope,
        /// Wait for reads in flight (DR).
        drain_reads: bool,
        /// Wait for writes in flight (DW).
        drain_writes: bool,
    },
    /// Forget all interrupt remapping entries (section 6.5.2.7).
    InterruptGlobal,
    /// Forget one interrupt remapping entry (section 6.5.2.7).
    InterruptEntry {
        /// The entry's number.
        index: u16,
    },
    /// When all descriptors before have completed, write `data` to the 4-aligned physical address `address`
    /// (section 6.5.2.8).
    Wait {
        /// Where to.
        address: u64,
        /// What.
        data: u32,
    },
}

impl Descriptor {
    /// Bits 0–63 and bits 64–127.
    pub fn encode(self) -> [u64; 2] {
        match self {
            Descriptor::ContextGlobal => [0x1 | 1 << 4, 0],
            Descriptor::ContextDevice { domain, requester } => {
                [0x1 | 3 << 4 | u64::from(domain) << 16 | u64::from(requester) << 32, 0]
            }
            Descriptor::Iotlb { scope, drain_reads, drain_writes } => {
                let drain = u64::from(drain_writes) << 6 | u64::from(drain_reads) << 7;
                match scope {
                    IotlbScope::Global => [0x2 | 1 << 4 | drain, 0],
                    IotlbScope::Domain(domain) => [0x2 | 2 << 4 | drain | u64::from(domain) << 16, 0],
                    IotlbScope::Pages { domain, iova, mask } => {
                        let first = iova & !((1u64 << (12 + u32::from(mask & 0x3f).min(51))) - 1);
                        [0x2 | 3 << 4 | drain | u64::from(domain) << 16, first | u64::from(mask & 0x3f)]
                    }
                }
            }
            Descriptor::InterruptGlobal => [0x4, 0],
            Descriptor::InterruptEntry { index } => [0x4 | 1 << 4 | u64::from(index) << 32, 0],
            Descriptor::Wait { address, data } => {
                [0x5 | 1 << 5 | u64::from(data) << 32, address & (ADDRESS_MASK | 0xffc)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_packed_as_the_specification_has_them() {
        let iotlb = |scope| Descriptor::Iotlb { scope, drain_reads: true, drain_writes: true }.encode();
        assert_eq!(Descriptor::ContextGlobal.encode(), [0x11, 0]);
        assert_eq!(
            Descriptor::ContextDevice { domain: 5, requester: 0x100 }.encode(),
            [0x0000_0100_0005_0031, 0]
        );
        assert_eq!(iotlb(IotlbScope::Global), [0xd2, 0]);
        assert_eq!(iotlb(IotlbScope::Domain(5)), [0x5_00e2, 0]);
        assert_eq!(
            iotlb(IotlbScope::Pages { domain: 5, iova: 0x1234_5678, mask: 9 }),
            [0x5_00f2, 0x1220_0009]
        );
        assert_eq!(Descriptor::InterruptGlobal.encode(), [0x4, 0]);
        assert_eq!(Descriptor::InterruptEntry { index: 7 }.encode(), [0x7_0000_0014, 0]);
        assert_eq!(
            Descriptor::Wait { address: 0x1_0000_0008, data: 1 }.encode(),
            [0x1_0000_0025, 0x1_0000_0008]
        );
    }

    #[test]
    fn draining_is_only_asked_for_where_it_is_there() {
        let plain = Descriptor::Iotlb { scope: IotlbScope::Global, drain_reads: false, drain_writes: false };
        assert_eq!(plain.encode(), [0x12, 0]);
    }
}
