// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers (section 11.4): where they are and what their bits mean.

use bitflags::bitflags;

/// Byte offsets in a unit's register space. Fault records and IOTLB registers are where the capabilities say.
pub mod offset {
    /// Version, 32 bits.
    pub const VERSION: u64 = 0x00;
    /// Capability, 64 bits.
    pub const CAPABILITY: u64 = 0x08;
    /// Extended capability, 64 bits.
    pub const EXTENDED_CAPABILITY: u64 = 0x10;
    /// Global command, 32 bits, write only.
    pub const GLOBAL_COMMAND: u64 = 0x18;
    /// Global status, 32 bits, read only.
    pub const GLOBAL_STATUS: u64 = 0x1c;
    /// Root table address, 64 bits.
    pub const ROOT_TABLE: u64 = 0x20;
    /// Fault status, 32 bits.
    pub const FAULT_STATUS: u64 = 0x34;
    /// Fault event control, 32 bits.
    pub const FAULT_EVENT_CONTROL: u64 = 0x38;
    /// Fault event message data, 32 bits.
    pub const FAULT_EVENT_DATA: u64 = 0x3c;
    /// Fault event message address, 32 bits.
    pub const FAULT_EVENT_ADDRESS: u64 = 0x40;
    /// Upper half of the fault event message address, 32 bits.
    pub const FAULT_EVENT_UPPER_ADDRESS: u64 = 0x44;
    /// Protected memory enable, 32 bits.
    pub const PROTECTED_MEMORY: u64 = 0x64;
    /// Invalidation queue head, 64 bits, read only.
    pub const QUEUE_HEAD: u64 = 0x80;
    /// Invalidation queue tail, 64 bits.
    pub const QUEUE_TAIL: u64 = 0x88;
    /// Invalidation queue address, 64 bits.
    pub const QUEUE_ADDRESS: u64 = 0x90;
    /// Interrupt remapping table address, 64 bits.
    pub const INTERRUPT_TABLE: u64 = 0xb8;
}

/// Whether the version register (section 11.4.1) can be a unit's: a major version from 1 on, and its reserved bits are zero.
pub const fn is_version(value: u32) -> bool {
    value >> 8 == 0 && value >> 4 != 0
}

bitflags! {
    /// Bits that the global command (section 11.4.4.1) and the global status (section 11.4.4.2) share.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Global: u32 {
        /// DMA remapping (TE, TES).
        const TRANSLATION = 1 << 31;
        /// Take the root table's address over (SRTP, RTPS).
        const ROOT_TABLE = 1 << 30;
        /// Drain the write buffer (WBF, WBFS).
        const WRITE_BUFFER = 1 << 27;
        /// The invalidation queue (QIE, QIES).
        const QUEUE = 1 << 26;
        /// Interrupt remapping (IRE, IRES).
        const INTERRUPT_REMAPPING = 1 << 25;
        /// Take the interrupt table's address over (SIRTP, IRTPS).
        const INTERRUPT_TABLE = 1 << 24;
        /// Let messages of the compatibility format pass (CFI, CFIS). Never set here.
        const COMPATIBILITY_FORMAT = 1 << 23;
    }
}

impl Global {
    /// What stays on until it is switched off. The other bits are one-shot and must be 0 in a later command.
    pub const LASTING: Global = Global::TRANSLATION
        .union(Global::QUEUE)
        .union(Global::INTERRUPT_REMAPPING)
        .union(Global::COMPATIBILITY_FORMAT);

    /// The command that sets `bits` and leaves everything else as `status` has it.
    pub fn command_to_set(status: Global, bits: Global) -> Global {
        status.intersection(Global::LASTING).union(bits)
    }

    /// The command that clears `bits` and leaves everything else as `status` has it.
    pub fn command_to_clear(status: Global, bits: Global) -> Global {
        status.intersection(Global::LASTING).difference(bits)
    }
}

bitflags! {
    /// Fault status (section 11.4.5.1). Bits are cleared by writing them, but the pending bit, which follows the
    /// records.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FaultStatus: u32 {
        /// A fault found no free record (PFO); until this is cleared, none is recorded.
        const OVERFLOW = 1 << 0;
        /// A record is waiting (PPF).
        const PENDING = 1 << 1;
        /// The invalidation queue has a descriptor that the unit can't use (IQE).
        const QUEUE_ERROR = 1 << 4;
        /// A device answered an invalidation wrongly (ICE).
        const COMPLETION_ERROR = 1 << 5;
        /// A device didn't answer an invalidation (ITE).
        const TIME_OUT = 1 << 6;
    }
}

impl FaultStatus {
    /// All errors that stop or have stopped the queue.
    pub const QUEUE_ERRORS: FaultStatus =
        FaultStatus::QUEUE_ERROR.union(FaultStatus::COMPLETION_ERROR).union(FaultStatus::TIME_OUT);
}

/// Fault status: which record was filled when the pending bit was set (FRI).
pub const fn first_fault(status: u32) -> u64 {
    (status >> 8 & 0xff) as u64
}

/// Fault event control (section 11.4.5.2): the mask bit.
pub const FAULT_EVENT_MASKED: u32 = 1 << 31;

/// Protected memory enable (section 11.4.7.1): whether the regions are on.
pub const PROTECTED_MEMORY_ENABLE: u32 = 1 << 31;
/// Protected memory enable: whether protection is in effect.
pub const PROTECTED_MEMORY_STATUS: u32 = 1;

/// The root table address register for a legacy-mode table (section 11.4.5, TTM = 0).
pub fn root_table(table: u64) -> u64 {
    table & crate::ADDRESS_MASK
}

/// The invalidation queue address register for a queue of 4096 bytes with 128-bit descriptors (section 11.4.9.3).
pub fn queue_address(queue: u64) -> u64 {
    queue & crate::ADDRESS_MASK
}

/// Descriptors in a queue of 4096 bytes.
pub const QUEUE_DESCRIPTORS: u64 = 256;

/// The queue tail register for the next free descriptor's number (section 11.4.9.2).
pub fn queue_tail(index: u64) -> u64 {
    (index % QUEUE_DESCRIPTORS) << 4
}

/// The interrupt table address register (section 11.4.10.1) for a table of 2^`entries_log2` entries (1–16), with
/// 8-bit destinations (EIME = 0).
pub fn interrupt_table(table: u64, entries_log2: u32) -> u64 {
    table & crate::ADDRESS_MASK | u64::from(entries_log2.clamp(1, 16) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_what_lasts_and_drops_what_is_one_shot() {
        let status = Global::QUEUE | Global::ROOT_TABLE | Global::INTERRUPT_TABLE;
        assert_eq!(Global::command_to_set(status, Global::TRANSLATION), Global::QUEUE | Global::TRANSLATION);
        let status = status | Global::TRANSLATION;
        assert_eq!(Global::command_to_clear(status, Global::TRANSLATION), Global::QUEUE);
    }

    #[test]
    fn versions_are_told_from_other_things() {
        assert!(is_version(0x10) && is_version(0x60));
        for other in [0, 0x0f, u32::MAX, 0x0100_00ed, 0x29c0_8086] {
            assert!(!is_version(other), "{other:#x}");
        }
    }

    #[test]
    fn addresses_and_sizes_are_packed() {
        assert_eq!(interrupt_table(0x1234_5000, 10), 0x1234_5009);
        assert_eq!(interrupt_table(0x1234_5000, 16), 0x1234_500f);
        assert_eq!(queue_tail(255), 0xff0);
        assert_eq!(queue_tail(256), 0);
        assert_eq!(queue_address(0x7000), 0x7000);
        assert_eq!(root_table(0x1_0000_0000), 0x1_0000_0000);
        assert_eq!(first_fault(0x00ab_cd02), 0xcd);
    }
}
