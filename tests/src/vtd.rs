// SPDX-License-Identifier: MIT OR Apache-2.0
//! The remapping unit, read from outside through QEMU's monitor (Intel VT-d specification 3.4, chapters 9 and 10).

use crate::qmp::Monitor;

/// The unit's registers.
pub const BASE: u64 = 0xfed9_0000;
/// The requester ID of QEMU's I/O APIC, as its DMAR table has it.
pub const IO_APIC: u16 = 0xff00;
const GSTS: u64 = BASE + 0x1c;
const RTADDR: u64 = BASE + 0x20;
const IRTA: u64 = BASE + 0xb8;
const PAGE_MASK: u64 = 0xffff_ffff_f000;

/// Bits of the global status register.
pub mod status {
    /// Translation enabled.
    pub const TES: u64 = 1 << 31;
    /// Queued invalidation enabled.
    pub const QIES: u64 = 1 << 26;
    /// Interrupt remapping enabled.
    pub const IRES: u64 = 1 << 25;
    /// Compatibility-format interrupts enabled.
    pub const CFIS: u64 = 1 << 23;
}

/// The global status register.
///
/// # Errors
/// The monitor's.
pub fn global_status(monitor: &mut Monitor) -> Result<u64, String> {
    Ok(monitor.dwords(GSTS, 1)?[0])
}

/// An interrupt remapping entry (section 9.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Irte {
    /// Bits 0..64.
    pub low: u64,
    /// Bits 64..128.
    pub high: u64,
}

impl Irte {
    /// The entry is present.
    #[must_use]
    pub const fn present(self) -> bool {
        self.low & 1 != 0
    }

    /// Vector of the interrupt.
    #[must_use]
    pub const fn vector(self) -> u8 {
        (self.low >> 16) as u8
    }

    /// The requester that may raise it, if [`Irte::verifies_requester`].
    #[must_use]
    pub const fn source(self) -> u16 {
        self.high as u16
    }

    /// Source validation type 01 with source qualifier 00: all 16 bits of the requester ID are compared.
    #[must_use]
    pub const fn verifies_requester(self) -> bool {
        self.high >> 16 & 3 == 0 && self.high >> 18 & 3 == 1
    }
}

/// Physical address of the remapping table, and how many entries it has.
///
/// # Errors
/// The monitor's.
pub fn remapping_table_at(monitor: &mut Monitor) -> Result<(u64, usize), String> {
    let register = monitor.words(IRTA, 1)?[0];
    Ok((register & PAGE_MASK, 2 << (register & 0xf)))
}

/// The whole remapping table, by index.
///
/// # Errors
/// The monitor's.
pub fn remapping_table(monitor: &mut Monitor) -> Result<Vec<Irte>, String> {
    let (table, entries) = remapping_table_at(monitor)?;
    let words = monitor.words(table, entries * 2)?;
    Ok(words.as_chunks::<2>().0.iter().map(|&[low, high]| Irte { low, high }).collect())
}

/// A context entry that is present: a requester with DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Requester ID.
    pub requester: u16,
    /// Domain ID.
    pub domain: u16,
    /// Physical address of its root page table.
    pub table: u64,
    /// Levels of the tables.
    pub levels: u32,
}

/// Physical address of the root table.
///
/// # Errors
/// The monitor's.
pub fn root_table(monitor: &mut Monitor) -> Result<u64, String> {
    Ok(monitor.words(RTADDR, 1)?[0] & PAGE_MASK)
}

/// All context entries that are present (sections 9.1 and 9.3).
///
/// # Errors
/// The monitor's.
pub fn contexts(monitor: &mut Monitor) -> Result<Vec<Context>, String> {
    let root = root_table(monitor)?;
    let mut contexts = Vec::new();
    for (bus, entry) in monitor.words(root, 512)?.as_chunks::<2>().0.iter().enumerate() {
        if entry[0] & 1 == 0 {
            continue;
        }
        for (devfn, pair) in monitor.words(entry[0] & PAGE_MASK, 512)?.as_chunks::<2>().0.iter().enumerate() {
            if pair[0] & 1 != 0 {
                contexts.push(Context {
                    requester: (bus << 8 | devfn) as u16,
                    domain: (pair[1] >> 8) as u16,
                    table: pair[0] & PAGE_MASK,
                    levels: (pair[1] & 7) as u32 + 2,
                });
            }
        }
    }
    Ok(contexts)
}

/// A leaf of a second-stage table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First address that the device uses, bytes.
    pub iova: u64,
    /// Host-physical address, bytes.
    pub hpa: u64,
    /// Bytes.
    pub size: u64,
    /// Bit 0: read, bit 1: write.
    pub rights: u64,
}

/// All leaves of a requester's tables (section 9.8).
///
/// # Errors
/// The monitor's.
pub fn leaves(monitor: &mut Monitor, context: &Context) -> Result<Vec<Leaf>, String> {
    let mut leaves = Vec::new();
    walk(monitor, context.table, context.levels, 0, &mut leaves)?;
    Ok(leaves)
}

fn walk(
    monitor: &mut Monitor,
    table: u64,
    level: u32,
    iova: u64,
    leaves: &mut Vec<Leaf>,
) -> Result<(), String> {
    let shift = 12 + 9 * (level - 1);
    for (index, entry) in monitor.words(table, 512)?.into_iter().enumerate() {
        let iova = iova | (index as u64) << shift;
        if entry & 3 == 0 {
            continue;
        }
        if level == 1 || entry & 1 << 7 != 0 {
            let size = 1 << shift;
            leaves.push(Leaf { iova, hpa: entry & PAGE_MASK & !(size - 1), size, rights: entry & 3 });
        } else {
            walk(monitor, entry & PAGE_MASK, level - 1, iova, leaves)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn irte_fields() {
        // Present, vector 0x41; SVT 01, SQ 00, source 01:00.0.
        let entry = Irte { low: 0x41_0001, high: 0x4_0100 };
        assert!(entry.present() && entry.verifies_requester());
        assert_eq!((entry.vector(), entry.source()), (0x41, 0x100));
        assert!(!Irte { low: 1, high: 0x100 }.verifies_requester());
        assert!(!Irte { low: 1, high: 0x5_0100 }.verifies_requester());
    }
}
