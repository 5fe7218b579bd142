// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt pins: which one the HPET takes, and whose it is.

/// The pin for the HPET's comparator among those it can reach (bit `n`: global interrupt `n`). Above the 16 ISA ones if
/// possible, the highest first, since PCI's legacy interrupts, which nobody here uses, prefer the lower; never 0 to
/// 4, which the PIT, keyboard and serial port have.
pub fn choose(reachable: u32) -> Option<u8> {
    (16..32).rev().chain((5..16).rev()).find(|pin| reachable & 1 << pin != 0)
}

/// Global interrupts as one bit each, as far as 32 bits go.
pub fn set(interrupts: impl Iterator<Item = u8>) -> u32 {
    interrupts.fold(0, |set, interrupt| set | 1u32.checked_shl(interrupt.into()).unwrap_or(0))
}

/// Comparators whose registers lie in the KiB that a timer block has (IA-PC HPET Specification 1.0a, section 2.3.1).
const COMPARATORS: u8 = 24;

/// The comparator to take of `count`, at least one: the last, since the first two may have legacy duties.
pub fn comparator(count: u8) -> u8 {
    count.clamp(1, COMPARATORS) - 1
}

/// Which I/O APIC has global interrupt `gsi`, and which of its inputs that is. `bases` are the controllers' first
/// interrupts, in firmware's order.
pub fn locate(gsi: u32, bases: &[u32]) -> Option<(usize, u32)> {
    bases
        .iter()
        .enumerate()
        .filter(|(_, base)| **base <= gsi)
        .max_by_key(|(_, base)| **base)
        .map(|(number, base)| (number, gsi - base))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_pins_first() {
        assert_eq!(choose(0x00ff_0104), Some(23), "QEMU's q35");
        assert_eq!(choose(0x0000_0104), Some(8));
        assert_eq!(choose(0x0000_001f), None);
        assert_eq!(choose(0), None);
        assert_eq!(
            choose(0x00ff_0104 & !set([23, 22, 40].into_iter())),
            Some(21),
            "lines of devices are left alone"
        );
    }

    #[test]
    fn a_comparator_has_its_registers_in_the_block() {
        assert_eq!((comparator(3), comparator(1), comparator(0), comparator(32)), (2, 0, 0, 23));
        assert!(0x100 + 0x20 * (usize::from(comparator(255)) + 1) <= 1024);
    }

    #[test]
    fn interrupts_belong_to_the_last_controller_that_begins_before() {
        assert_eq!(locate(23, &[0]), Some((0, 23)));
        assert_eq!(locate(30, &[24, 0]), Some((0, 6)));
        assert_eq!(locate(4, &[24, 0]), Some((1, 4)));
        assert_eq!(locate(4, &[]), None);
    }
}
