// SPDX-License-Identifier: MIT OR Apache-2.0
//! I/O and MSR permission maps (APM 15.10.1, 15.11): a set bit intercepts.

/// Bytes of an I/O permission map: one bit for each of 65,536 ports, and a page for accesses that run over the end.
pub const IO_MAP_BYTES: usize = 3 * 4096;
/// Bytes of an MSR permission map.
pub const MSR_MAP_BYTES: usize = 2 * 4096;

/// Sets whether ports `first..=last` go to the device itself or exit. `map` is an I/O permission map.
pub fn set_ports(map: &mut [u8; IO_MAP_BYTES], first: u16, last: u16, intercept: bool) {
    let (above, below) = (0xff << (first % 8), 0xff >> (7 - last % 8));
    let (first, last) = (usize::from(first / 8), usize::from(last / 8));
    let mut edge = |byte: usize, bits: u8| {
        map[byte] = if intercept { map[byte] | bits } else { map[byte] & !bits };
    };
    if first == last {
        edge(first, above & below);
    } else {
        edge(first, above);
        edge(last, below);
        // Not a bit at a time, since a range may be all of them.
        map[first + 1..last].fill(if intercept { 0xff } else { 0 });
    }
}

/// True if an access of `bytes` at `port` exits.
pub fn port_exits(map: &[u8; IO_MAP_BYTES], port: u16, bytes: u16) -> bool {
    (0..usize::from(bytes)).map(|n| usize::from(port) + n).any(|p| map[p / 8] & 1 << (p % 8) != 0)
}

/// The MSRs that VMLOAD and VMSAVE switch, so that a guest can have them without an exit: SYSENTER_CS, _ESP, _EIP, STAR,
/// LSTAR, CSTAR, SFMASK, FS.base, GS.base, KernelGSBase.
pub const PASSED_THROUGH: [u32; 10] = [
    0x174,
    0x175,
    0x176,
    0xc000_0081,
    0xc000_0082,
    0xc000_0083,
    0xc000_0084,
    0xc000_0100,
    0xc000_0101,
    0xc000_0102,
];

/// Byte and shift of an MSR's two bits (read, then write), `None` for MSRs without a place, which always exit.
const fn place(msr: u32) -> Option<(usize, u32)> {
    let base = match msr >> 13 {
        0 => 0,
        0x6_0000 => 0x800,
        0x6_0008 => 0x1000,
        _ => return None,
    };
    let n = msr & 0x1fff;
    Some((base + n as usize / 4, 2 * (n % 4)))
}

/// Makes `map` the kernel's one MSR permission map: everything exits but [`PASSED_THROUGH`].
pub fn fill_msr_map(map: &mut [u8; MSR_MAP_BYTES]) {
    map.fill(0xff);
    for (byte, shift) in PASSED_THROUGH.into_iter().filter_map(place) {
        map[byte] &= !(3 << shift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> [u8; MSR_MAP_BYTES] {
        let mut map = [0; MSR_MAP_BYTES];
        fill_msr_map(&mut map);
        map
    }

    fn exits(msr: u32) -> u8 {
        place(msr).map_or(3, |(byte, shift)| map()[byte] >> shift & 3)
    }

    #[test]
    fn msrs() {
        for msr in PASSED_THROUGH {
            assert_eq!(exits(msr), 0, "{msr:#x}");
        }
        // TSC, APIC base, PAT, EFER, TSC_AUX, HWCR, VM_CR, and one of no map.
        for msr in [0x10, 0x1b, 0x277, 0xc000_0080, 0xc000_0103, 0xc001_0015, 0xc001_0114, 0x4000_0000] {
            assert_eq!(exits(msr), 3, "{msr:#x}");
        }
        assert_eq!(place(0xc001_1fff), Some((0x17ff, 6)));
        assert_eq!(place(0xc000_0000), Some((0x800, 0)));
        assert_eq!(place(0x2000), None);
        assert_eq!(map().iter().map(|b| b.count_zeros()).sum::<u32>(), 2 * PASSED_THROUGH.len() as u32);
    }

    #[test]
    fn ports() {
        let mut map = [0xff; IO_MAP_BYTES];
        set_ports(&mut map, 0x3f8, 0x3ff, false);
        assert!(!port_exits(&map, 0x3f8, 4));
        assert!(port_exits(&map, 0x3fe, 4));
        assert!(port_exits(&map, 0x3f7, 1));
        set_ports(&mut map, 0x3f9, 0x3f9, true);
        assert!(port_exits(&map, 0x3f8, 2));
        set_ports(&mut map, 0, u16::MAX, false);
        assert!(!port_exits(&map, 0xfffc, 4));
        // Beyond the last port the third page still intercepts.
        assert!(port_exits(&map, 0xffff, 2));
    }

    #[test]
    fn ranges_of_ports_begin_and_end_anywhere() {
        let edges = [0, 1, 7, 8, 9, 15, 16, 700, 0xfff6, 0xfff7, 0xfff8, 0xffff];
        for first in edges {
            for last in edges.into_iter().filter(|last| *last >= first) {
                for intercept in [false, true] {
                    let mut map = [if intercept { 0 } else { 0xff }; IO_MAP_BYTES];
                    set_ports(&mut map, first, last, intercept);
                    let changed = (0..=u16::MAX).filter(|port| port_exits(&map, *port, 1) == intercept);
                    assert!(changed.eq(first..=last), "{first}..={last}, {intercept}");
                }
            }
        }
    }
}
