// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which accesses a bridge passes on to what is behind it (PCI-to-PCI Bridge Architecture 1.2, section 3.2.5).

use crate::address::Address;
use crate::config::{ConfigSpace, register};

/// Class and programming interface of a bridge that also passes what nobody else takes.
const SUBTRACTIVE: u32 = 0x06_0401;
/// Base and limit of the ports, a byte each.
const PORTS: u16 = 0x1c;
/// Their upper halves.
const PORTS_HIGH: u16 = 0x30;
/// Bridge control: of each KiB of ports only the first 256 are passed, the others are older than PCI.
const ISA: u16 = 1 << 2;
const MEMORY_BASE: u16 = 0x20;
const PREFETCHABLE_BASE: u16 = 0x24;
const PREFETCHABLE_BASE_HIGH: u16 = 0x28;
const PREFETCHABLE_LIMIT_HIGH: u16 = 0x2c;
/// The low bits of the prefetchable registers: upper halves follow.
const WIDE: u32 = 1;

/// The first and last address of a window whose two registers are `word`: base below limit, bits 31 to 20 each.
const fn window(word: u32, base_high: u32, limit_high: u32) -> (u64, u64) {
    let base = (base_high as u64) << 32 | ((word & 0xfff0) as u64) << 16;
    let limit = (limit_high as u64) << 32 | ((word >> 16 & 0xfff0) as u64) << 16 | 0xf_ffff;
    (base, limit)
}

/// The first and last address of a bridge's windows: the one for all memory, and that for prefetchable memory. A window whose limit
/// lies below its base is closed.
pub fn windows<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> [(u64, u64); 2] {
    let prefetchable = space.read32(at, PREFETCHABLE_BASE);
    let (base_high, limit_high) = if prefetchable & 0xf == WIDE {
        (space.read32(at, PREFETCHABLE_BASE_HIGH), space.read32(at, PREFETCHABLE_LIMIT_HIGH))
    } else {
        (0, 0)
    };
    [window(space.read32(at, MEMORY_BASE), 0, 0), window(prefetchable, base_high, limit_high)]
}

/// Whether a bridge passes on accesses to all of `first..=last`.
pub fn passes<C: ConfigSpace + ?Sized>(space: &C, at: Address, first: u64, last: u64) -> bool {
    space.read32(at, register::REVISION) >> 8 == SUBTRACTIVE
        || windows(space, at).iter().any(|(base, limit)| *base <= first && first <= last && last <= *limit)
}

/// Whether a bridge passes on accesses to all of the ports `first..=last`, which lie in 256 aligned ones.
pub fn passes_ports<C: ConfigSpace + ?Sized>(space: &C, at: Address, first: u16, last: u16) -> bool {
    if space.read32(at, register::REVISION) >> 8 == SUBTRACTIVE {
        return true;
    }
    let [base, limit] = space.read16(at, PORTS).to_le_bytes();
    let wide = u32::from(base & 0xf) == WIDE;
    let high = if wide { space.read32(at, PORTS_HIGH) } else { 0 };
    let base = (high & 0xffff) << 16 | u32::from(base & 0xf0) << 8;
    let limit = high & 0xffff_0000 | u32::from(limit & 0xf0) << 8 | 0xfff;
    let older = space.read16(at, register::BRIDGE_CONTROL) & ISA != 0 && first & 0x300 != 0;
    base <= first.into() && first <= last && u32::from(last) <= limit && !older
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    #[test]
    fn both_windows_and_nothing_else() {
        let machine = Machine::new();
        let at = machine.bridge("00:04.0", 1, 1);
        machine.set32(at, MEMORY_BASE, 0xfe30_fe20);
        machine.set32(at, PREFETCHABLE_BASE, 0x0011_fff1);
        machine.set32(at, PREFETCHABLE_BASE_HIGH, 0x7f);
        machine.set32(at, PREFETCHABLE_LIMIT_HIGH, 0x80);
        for (first, last, is_passed) in [
            (0xfe20_0000, 0xfe3f_ffff, true),
            (0xfe1f_ffff, 0xfe20_0fff, false),
            (0xfe3f_f000, 0xfe40_0000, false),
            (0x7f_fff0_0000, 0x80_001f_ffff, true),
            (0x7f_ffef_f000, 0x7f_ffff_ffff, false),
            (0x80_001f_f000, 0x80_0020_0000, false),
            (0xfe30_0000, 0xfe2f_ffff, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(passes(&machine, at, first, last), is_passed, "{first:#x}");
        }
        machine.set32(at, PREFETCHABLE_BASE, 0x0010_fff0);
        assert!(!passes(&machine, at, 0x8000_0000, 0x8000_0fff), "base above limit");
        assert!(!passes(&machine, at, 0x80_0000_0000, 0x80_0000_0fff), "32 bits only");
    }

    #[test]
    fn ports_within_the_window() {
        let machine = Machine::new();
        let at = machine.bridge("00:04.0", 1, 1);
        machine.set16(at, PORTS, 0xd0c0);
        for (first, last, is_passed) in
            [(0xc000, 0xc0ff, true), (0xdf00, 0xdfff, true), (0xbf00, 0xbfff, false), (0xe000, 0xe003, false)]
        {
            assert_eq!(passes_ports(&machine, at, first, last), is_passed, "{first:#x}");
        }
        machine.set16(at, register::BRIDGE_CONTROL, ISA);
        assert!(passes_ports(&machine, at, 0xc400, 0xc4ff));
        assert!(!passes_ports(&machine, at, 0xc500, 0xc5ff));
        machine.set16(at, register::BRIDGE_CONTROL, 0);
        machine.set16(at, PORTS, 0xd1c1);
        assert!(passes_ports(&machine, at, 0xc000, 0xc0ff), "wide, below 64 KiB");
        machine.set32(at, PORTS_HIGH, 0x0001_0001);
        assert!(!passes_ports(&machine, at, 0xc000, 0xc0ff), "above 64 KiB");
        machine.set32(at, PORTS_HIGH, 0);
        machine.set16(at, PORTS, 0x00f0);
        assert!(!passes_ports(&machine, at, 0xf000, 0xf003), "closed");
    }

    #[test]
    fn a_subtractive_bridge_passes_everything() {
        let machine = Machine::new();
        let at = machine.bridge("00:1e.0", 1, 1);
        machine.closed(at);
        assert!(!passes(&machine, at, 0x1000, 0x1fff));
        machine.set32(at, register::REVISION, SUBTRACTIVE << 8);
        assert!(passes(&machine, at, 0x1000, 0x1fff));
        assert!(passes_ports(&machine, at, 0x1000, 0x10ff));
    }
}
