// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's own page tables, walked to find the bytes of an instruction that exited (AMD64 manual, volume 2, chapter 5).
//!
//! Permissions aren't checked: the processor has just fetched the instruction through the same tables. A guest that changed them
//! since without invalidating gets an instruction decoded that it could have had executed.
use crate::memory::GuestMemory;

/// How linear addresses become guest-physical ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paging {
    /// Paging off: the same.
    Off,
    /// 32-bit, two levels; 4 MiB pages if `large`.
    Legacy {
        /// CR4.PSE.
        large: bool,
    },
    /// PAE, three levels.
    Pae,
    /// Long mode, four levels.
    Long,
}

impl Paging {
    /// From the control registers and EFER.
    #[must_use]
    pub fn from_registers(cr0: u64, cr4: u64, efer: u64) -> Self {
        if cr0 & CR0_PG == 0 {
            Self::Off
        } else if cr4 & CR4_PAE == 0 {
            Self::Legacy { large: cr4 & CR4_PSE != 0 }
        } else if efer & EFER_LME == 0 {
            Self::Pae
        } else {
            Self::Long
        }
    }
}

const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The guest-physical address of a linear one; `None` if it isn't mapped or a table lies outside RAM.
///
/// `cr3` as the guest has it, flags and all.
#[must_use]
pub fn translate(memory: &impl GuestMemory, paging: Paging, cr3: u64, linear: u64) -> Option<u64> {
    match paging {
        Paging::Off => Some(linear & 0xffff_ffff),
        Paging::Legacy { large } => legacy(memory, cr3, linear, large),
        Paging::Pae => {
            let entry = memory.read_u64((cr3 & 0xffff_ffe0) + ((linear >> 30) & 3) * 8)?;
            if entry & PRESENT == 0 {
                return None;
            }
            levels(memory, entry & ADDRESS, linear, 21)
        }
        Paging::Long => levels(memory, cr3 & ADDRESS, linear, 39),
    }
}

/// Walks tables of 512 entries from the one whose entries cover 2^`shift` bytes each.
fn levels(memory: &impl GuestMemory, table: u64, linear: u64, mut shift: u32) -> Option<u64> {
    let mut table = table;
    loop {
        let entry = memory.read_u64(table + ((linear >> shift) & 0x1ff) * 8)?;
        if entry & PRESENT == 0 {
            return None;
        }
        let leaf = shift == 12 || (shift <= 30 && entry & LARGE != 0);
        if leaf {
            let offset = (1u64 << shift) - 1;
            return Some((entry & ADDRESS & !offset) | (linear & offset));
        }
        table = entry & ADDRESS;
        shift -= 9;
    }
}

fn legacy(memory: &impl GuestMemory, cr3: u64, linear: u64, large: bool) -> Option<u64> {
    let directory = u64::from(memory.read_u32((cr3 & 0xffff_f000) + ((linear >> 22) & 0x3ff) * 4)?);
    if directory & PRESENT == 0 {
        return None;
    }
    if large && directory & LARGE != 0 {
        // Bits 13..21 hold bits 32..40 of the address (PSE-36).
        let high = (directory >> 13) & 0xff;
        return Some((high << 32) | (directory & 0xffc0_0000) | (linear & 0x3f_ffff));
    }
    let entry = u64::from(memory.read_u32((directory & 0xffff_f000) + ((linear >> 12) & 0x3ff) * 4)?);
    if entry & PRESENT == 0 {
        return None;
    }
    Some((entry & 0xffff_f000) | (linear & 0xfff))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::Ram;
    use crate::random::Random;

    fn put(ram: &mut Ram, at: u64, value: u64) {
        ram.write(at, &value.to_le_bytes()).unwrap();
    }
    fn put32(ram: &mut Ram, at: u64, value: u32) {
        ram.write(at, &value.to_le_bytes()).unwrap();
    }

    #[test]
    fn four_levels_with_all_page_sizes() {
        let mut ram = Ram::new(0x10000);
        put(&mut ram, 0x1000 + 8 * 8, 0x2003);
        put(&mut ram, 0x2000, 0x3003);
        put(&mut ram, 0x2008, 0x4000_0083 | 1 << 63);
        put(&mut ram, 0x3000, 0x4003);
        put(&mut ram, 0x3008, 0x60_0083);
        put(&mut ram, 0x4000 + 5 * 8, 0x7003 | 1 << 63);
        let base = 8u64 << 39;
        let go = |linear| translate(&ram, Paging::Long, 0x1000 | 0x18, linear);
        assert_eq!(go(base + 0x5123), Some(0x7123));
        assert_eq!(go(base + 0x20_1234), Some(0x60_1234));
        assert_eq!(go(base + 0x4000_0000 + 0x1234_5678), Some(0x4000_0000 + 0x1234_5678));
        assert_eq!(go(base + 0x6000), None);
        assert_eq!(go(0), None);
    }

    #[test]
    fn tables_outside_ram_end_the_walk() {
        let mut ram = Ram::new(0x2000);
        put(&mut ram, 0x1000, 0xffff_ffff_f003);
        assert_eq!(translate(&ram, Paging::Long, 0x1000, 0), None);
        assert_eq!(translate(&ram, Paging::Long, 0xf_ffff_ffff_f000, 0), None);
        assert_eq!(translate(&ram, Paging::Pae, 0xffff_ffe0, 0), None);
        assert_eq!(translate(&ram, Paging::Legacy { large: true }, 0xffff_f000, 0), None);
    }

    #[test]
    fn pae_and_legacy() {
        let mut ram = Ram::new(0x10000);
        put(&mut ram, 0x1020 + 3 * 8, 0x2001);
        put(&mut ram, 0x2008, 0x40_0083);
        put(&mut ram, 0x2000, 0x3001);
        put(&mut ram, 0x3000, 0x5001);
        assert_eq!(translate(&ram, Paging::Pae, 0x1020, 0xc020_0042), Some(0x40_0042));
        assert_eq!(translate(&ram, Paging::Pae, 0x1020, 0xc000_0042), Some(0x5042));
        assert_eq!(translate(&ram, Paging::Pae, 0x1020, 0x42), None);

        put32(&mut ram, 0x6000, 0x80_0083 | 1 << 13);
        put32(&mut ram, 0x6004, 0x7001);
        put32(&mut ram, 0x7000 + 4 * 2, 0x9001);
        let go = |large, linear| translate(&ram, Paging::Legacy { large }, 0x6000, linear);
        assert_eq!(go(true, 0x1234), Some(0x1_0080_1234));
        assert_eq!(go(true, 0x40_2abc), Some(0x9abc));
        assert_eq!(go(true, 0x40_3000), None);
    }

    #[test]
    fn modes() {
        assert_eq!(Paging::from_registers(0x11, 0x20, 0x100), Paging::Off);
        assert_eq!(Paging::from_registers(0x8000_0011, 0x20, 0x500), Paging::Long);
        assert_eq!(Paging::from_registers(0x8000_0011, 0x20, 0), Paging::Pae);
        assert_eq!(Paging::from_registers(0x8000_0011, 0x10, 0), Paging::Legacy { large: true });
    }

    #[test]
    fn random_tables_never_panic() {
        let mut ram = Ram::new(0x8000);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..2000 {
            let mut next = || random.next();
            let (at, value) = (next() % 0x7ff8, next());
            put(&mut ram, at, if value & 2 == 0 { value & 0x7fff | 1 } else { value });
            for paging in [Paging::Off, Paging::Legacy { large: true }, Paging::Pae, Paging::Long] {
                let _ = translate(&ram, paging, next(), next());
                let _ = translate(&ram, paging, next() & 0x7000, next());
            }
        }
    }
}
