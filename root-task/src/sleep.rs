// SPDX-License-Identifier: MIT OR Apache-2.0
//! What turns the machine off: the sleep type of S5, from the DSDT (ACPI 6.5, sections 7.4.2 and 20.2).

/// The value of the `_S5_` package's first element, from the bytes of a DSDT. The name is searched for, since its
/// package is the only thing there that is needed; `None` if it isn't there or its form is unusual.
pub fn s5_type(dsdt: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"\x08_S5_\x12";
    let at = dsdt.windows(NAME.len()).position(|bytes| bytes == NAME)? + NAME.len();
    // The package's length: the top two bits of the first byte say how many more there are.
    let more = usize::from(*dsdt.get(at)? >> 6);
    // Behind it the number of elements, then the elements.
    match *dsdt.get(at + more + 2)? {
        value @ 0..=1 => Some(value),
        0x0a => dsdt.get(at + more + 3).copied().filter(|value| *value < 8),
        _ => None,
    }
}

/// What the PM1 control register takes to turn the machine off (ACPI 6.5, section 4.8.3.2.1).
pub const fn power_off_value(sleep_type: u8) -> u16 {
    const SLEEP_ENABLE: u16 = 1 << 13;
    (sleep_type as u16 & 7) << 10 | SLEEP_ENABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_forms() {
        // QEMU: Name (_S5, Package (4) { Zero, Zero, Zero, Zero })
        assert_eq!(s5_type(b"....\x08_S5_\x12\x06\x04\0\0\0\0"), Some(0));
        // Package (4) { 0x05, 0x05, 0, 0 }, long form of the length
        assert_eq!(s5_type(b"\x08_S5_\x12\x4a\x00\x04\x0a\x05\x0a\x05\0\0"), Some(5));
        assert_eq!(s5_type(b"\x08_S5_\x12\x06\x04\x01\x01\0\0"), Some(1));
        assert_eq!(power_off_value(0), 0x2000);
        assert_eq!(power_off_value(5), 0x3400);
    }

    #[test]
    fn other_forms_are_none() {
        assert_eq!(s5_type(b""), None);
        assert_eq!(s5_type(b"\x08_S5_\x12"), None);
        assert_eq!(s5_type(b"\x08_S5_\x12\x06\x04"), None);
        assert_eq!(s5_type(b"\x08_S5_\x12\xc6\x04"), None);
        assert_eq!(s5_type(b"\x08_S5_\x12\x06\x04\x0a"), None);
        assert_eq!(s5_type(b"\x08_S5_\x12\x06\x04\x0a\xff"), None);
        assert_eq!(s5_type(b"\x08_S5_\x12\x06\x04\x0b\0\0"), None);
        assert_eq!(s5_type(b"\x08_S4_\x12\x06\x04\0\0\0\0"), None);
    }
}
