// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports of a guest, and what its IOIO exits say (AMD64 manual, volume 2, section 15.10.2).
use crate::{config_ports, uart};

/// PM1a control: power-off.
pub const POWER: u16 = 0x604;
/// Value at [`POWER`] that powers off: sleep enable, sleep type 0.
const POWER_OFF: u32 = 1 << 13;
const SLEEP_TYPE: u32 = 7 << 10;
/// Ends the guest with the value written as exit code.
pub const EXIT: u16 = 0xf4;
/// Asks for counters in the log (debugging aid): the word [`STATISTICS_NOW`].
pub const STATISTICS: u16 = 0xf5;
/// Value at [`STATISTICS`].
pub const STATISTICS_NOW: u32 = 0x57a7;
/// Reset control.
pub const RESET: u16 = 0xcf9;
/// Value at [`RESET`] that resets.
pub const RESET_NOW: u8 = 0x06;

/// An IOIO exit's EXITINFO1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// First port.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub width: u8,
    /// IN, not OUT.
    pub read: bool,
    /// INS or OUTS.
    pub string: bool,
}

impl Access {
    /// Decodes EXITINFO1; `None` for a width that isn't one.
    #[must_use]
    pub fn from_info(info: u64) -> Option<Self> {
        let width = (info >> 4 & 7) as u8;
        matches!(width, 1 | 2 | 4).then_some(Self {
            port: (info >> 16) as u16,
            width,
            read: info & 1 != 0,
            string: info & 4 != 0,
        })
    }
}

/// What an IN means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Nothing is there: all ones.
    Nothing,
    /// A UART register, by offset; the other bytes of a wider access are all ones.
    Uart(u16),
    /// The address of the configuration ports.
    ConfigAddress,
    /// A data port of configuration space.
    ConfigData,
}

/// What reading `width` bytes from `port` means.
#[must_use]
pub fn input(port: u16, width: u8) -> Input {
    match (port, width) {
        (uart::FIRST_PORT..=uart::LAST_PORT, _) => Input::Uart(port - uart::FIRST_PORT),
        (config_ports::ADDRESS, 4) => Input::ConfigAddress,
        (config_ports::DATA..=config_ports::DATA_LAST, _) => Input::ConfigData,
        _ => Input::Nothing,
    }
}

/// What an OUT means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Nothing is there.
    Nothing,
    /// A UART register, by offset. Of a wider access only the first byte is written.
    Uart(u16, u8),
    /// Power off.
    PowerOff,
    /// End with this code.
    Exit(u32),
    /// Reset.
    Reset,
    /// Counters into the log.
    Statistics,
    /// The address of the configuration ports.
    ConfigAddress(u32),
    /// A data port of configuration space.
    ConfigData(u32),
}

/// What writing `value` (already cut to `width` bytes) to `port` means.
#[must_use]
pub fn output(port: u16, width: u8, value: u32) -> Output {
    match (port, width) {
        (uart::FIRST_PORT..=uart::LAST_PORT, _) => Output::Uart(port - uart::FIRST_PORT, value as u8),
        (POWER, 2) if value & POWER_OFF != 0 && value & SLEEP_TYPE == 0 => Output::PowerOff,
        (EXIT, 1 | 4) => Output::Exit(value),
        (STATISTICS, 2) if value == STATISTICS_NOW => Output::Statistics,
        (RESET, 1) if value as u8 & RESET_NOW == RESET_NOW => Output::Reset,
        (config_ports::ADDRESS, 4) => Output::ConfigAddress(value),
        (config_ports::DATA..=config_ports::DATA_LAST, _) => Output::ConfigData(value),
        _ => Output::Nothing,
    }
}

/// What AX becomes by an IN of `width` bytes that reads `value`.
#[must_use]
pub fn merge_input(rax: u64, width: u8, value: u32) -> u64 {
    match width {
        1 => rax & !0xff | u64::from(value as u8),
        2 => rax & !0xffff | u64::from(value as u16),
        _ => u64::from(value),
    }
}

/// What RAX holds for an OUT of `width` bytes.
#[must_use]
pub fn output_value(rax: u64, width: u8) -> u32 {
    (rax & crate::decode::mask(width)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_information() {
        let access = Access::from_info(0x03f8_0011).unwrap();
        assert_eq!(access, Access { port: 0x3f8, width: 1, read: true, string: false });
        assert!(Access::from_info(0x03f8_0044).unwrap().string);
        assert_eq!(Access::from_info(0x03f8_0000), None);
        assert_eq!(Access::from_info(u64::MAX), None);
    }

    #[test]
    fn outputs() {
        assert_eq!(output(0x3fb, 1, 0x80), Output::Uart(3, 0x80));
        assert_eq!(output(0x604, 2, 0x2000), Output::PowerOff);
        assert_eq!(output(0x604, 2, 0x3400), Output::Nothing);
        assert_eq!(output(0x604, 1, 0x2000), Output::Nothing);
        assert_eq!(output(0xf4, 4, 42), Output::Exit(42));
        assert_eq!(output(0xf4, 1, 7), Output::Exit(7));
        assert_eq!(output(0xf5, 2, 0x57a7), Output::Statistics);
        assert_eq!(output(0xf5, 1, 0xa7), Output::Nothing);
        assert_eq!(output(0xcf9, 1, 0x06), Output::Reset);
        assert_eq!(output(0xcf9, 1, 0x02), Output::Nothing);
        assert_eq!(output(0x80, 1, 0), Output::Nothing);
        assert_eq!(output(0xcf8, 4, 6), Output::ConfigAddress(6));
        assert_eq!(output(0xcf8, 1, 6), Output::Nothing);
        assert_eq!(output(0xcfe, 2, 6), Output::ConfigData(6));
        assert_eq!(output(0xd00, 1, 6), Output::Nothing);
    }

    #[test]
    fn inputs() {
        assert_eq!(input(0x3fd, 1), Input::Uart(5));
        assert_eq!([input(0xcf8, 4), input(0xcf8, 2)], [Input::ConfigAddress, Input::Nothing]);
        assert_eq!([input(0xcfc, 4), input(0xcff, 1)], [Input::ConfigData; 2]);
        assert_eq!([input(0xcf9, 1), input(0x80, 1)], [Input::Nothing; 2]);
    }

    #[test]
    fn widths() {
        assert_eq!(merge_input(u64::MAX, 1, 0x1234), 0xffff_ffff_ffff_ff34);
        assert_eq!(merge_input(u64::MAX, 2, 0x1_1234), 0xffff_ffff_ffff_1234);
        assert_eq!(merge_input(u64::MAX, 4, 0x1234), 0x1234);
        assert_eq!(output_value(0x1_2345_6789, 2), 0x6789);
    }
}
