// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which I/O ports pci-server can have for the BARs of devices.

/// Ports below belong to the chipset and to devices older than PCI.
const FIRST: u16 = 0x1000;
/// The most that one BAR can have (PCI Local Bus 3.0, section 6.2.5.1).
const MOST: u32 = 256;

/// Whether `first..=last` can be a BAR's: a power of two, aligned, and without the port `power_off` and the one behind it, by
/// which the root task turns the machine off.
pub fn can_be_a_bars(first: u16, last: u16, power_off: Option<u16>) -> bool {
    let Some(count) = u32::from(last).checked_sub(first.into()).map(|distance| distance + 1) else {
        return false;
    };
    let apart = |port: u16| last < port || port.saturating_add(1) < first;
    (4..=MOST).contains(&count)
        && count.is_power_of_two()
        && u32::from(first).is_multiple_of(count)
        && first >= FIRST
        && power_off.is_none_or(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_others() {
        for (first, last) in
            [(0xc000, 0xc003), (0xc000, 0xc0ff), (0xff00, 0xffff), (0xfffc, 0xffff), (0x1000, 0x101f)]
        {
            assert!(can_be_a_bars(first, last, Some(0x604)), "{first:#x}");
        }
        for (first, last) in [
            (0x3f8, 0x3ff),
            (0xcf8, 0xcff),
            (0xc000, 0xc001),
            (0xc004, 0xc00b),
            (0xc000, 0xc1ff),
            (0xc003, 0xc000),
            (0, 0xffff),
        ] {
            assert!(!can_be_a_bars(first, last, None), "{first:#x}");
        }
        for port in [0x1803, 0x1804, 0x1807, 0x180f, 0x1810] {
            assert_eq!(can_be_a_bars(0x1804, 0x1807, Some(port)), port > 0x1807, "{port:#x}");
        }
    }
}
