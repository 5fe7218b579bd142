// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guest-physical addresses, as `docs/guest-abi.md` promises them. All in bytes.

/// End of the usable RAM below the tables.
pub const LOW_RAM_END: u64 = 0x9_fc00;
/// ACPI tables, start information, memory map and command line begin here.
pub const TABLES: u64 = 0xe_0000;
/// End of the tables, and first address where an image may lie.
pub const IMAGE_START: u64 = 0x10_0000;
/// The most RAM a guest can have: what lies below the PCI window.
pub const MAX_RAM: u64 = PCI_WINDOW;
/// PCI memory window: the virtual BARs.
pub const PCI_WINDOW: u64 = 0xc000_0000;
/// End of the PCI memory window.
pub const PCI_WINDOW_END: u64 = 0xe000_0000;
/// Window for 64-bit BARs above all else.
pub const HIGH_WINDOW: u64 = 1 << 32;
/// End of that window: what one top-level entry of the nested tables reaches.
pub const HIGH_WINDOW_END: u64 = 1 << 39;
/// First port where an I/O BAR can lie; those below are older than PCI.
pub const PORTS: u64 = 0x1000;
/// End of the ports.
pub const PORTS_END: u64 = 0x1_0000;
/// Configuration space (ECAM) of bus 0.
pub const ECAM: u64 = 0xe000_0000;
/// Bytes of configuration space: one bus.
pub const ECAM_BYTES: u64 = 0x10_0000;
/// The local APIC's page.
pub const APIC: u64 = 0xfee0_0000;
/// Bytes of the local APIC's page.
pub const APIC_BYTES: u64 = 0x1000;
/// The I/O APIC's page.
pub const IO_APIC: u64 = 0xfec0_0000;
/// Bytes of the I/O APIC's page.
pub const IO_APIC_BYTES: u64 = 0x1000;
/// Longest command line, without its NUL.
pub const MAX_COMMAND_LINE: usize = 2047;

/// Where things lie within [`TABLES`]..[`IMAGE_START`].
pub mod tables {
    /// RSDP; on a 16-byte boundary in 0xe0000..0x100000 (ACPI 6.5, section 5.2.5.1).
    pub const RSDP: u64 = super::TABLES;
    /// The other ACPI tables follow one another from here.
    pub const ACPI: u64 = super::TABLES + 0x100;
    /// `hvm_start_info`.
    pub const START_INFO: u64 = super::TABLES + 0x4000;
    /// Memory map.
    pub const MEMORY_MAP: u64 = super::TABLES + 0x4100;
    /// Command line.
    pub const COMMAND_LINE: u64 = super::TABLES + 0x5000;
}
