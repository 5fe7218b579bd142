// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fixed hardware (ACPI 6.5, section 5.2.9).

use crate::{Error, Signature, Table};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// The part that ACPI 1.0 has already; later revisions append.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    facs: U32,
    dsdt: U32,
    reserved: u8,
    profile: u8,
    sci: U16,
    smi_command: U32,
    enable: u8,
    disable: u8,
    s4bios: u8,
    pstate: u8,
    pm1a_event: U32,
    pm1b_event: U32,
    pm1a_control: U32,
    pm1b_control: U32,
    pm2_control: U32,
    pm_timer: U32,
    gpe0: U32,
    gpe1: U32,
    pm1_event_length: u8,
    pm1_control_length: u8,
    pm2_control_length: u8,
    pm_timer_length: u8,
    rest: [u8; 20],
    flags: U32,
}
const _: () = assert!(size_of::<Fixed>() == 116 - 36);

/// Ports of the fixed power-management hardware. `None` where the machine has no such block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fadt {
    /// The global system interrupt of ACPI events.
    pub sci: u16,
    /// First port of the PM1a event block.
    pub pm1a_event: Option<u16>,
    /// Port of the PM1a control register, which powers the machine off.
    pub pm1a_control: Option<u16>,
    /// Port of the power-management timer (3,579,545 Hz).
    pub pm_timer: Option<u16>,
    /// Whether that timer counts in 32 bits instead of 24.
    pub pm_timer_32bit: bool,
}

impl Fadt {
    /// Reads a table.
    pub fn parse(bytes: &[u8]) -> Result<Fadt, Error> {
        let (fixed, _) = Table::parse(Signature::FADT, bytes)?.fixed::<Fixed>()?;
        let port = |value: u32| u16::try_from(value).ok().filter(|&port| port != 0);
        Ok(Fadt {
            sci: fixed.sci.get(),
            pm1a_event: port(fixed.pm1a_event.get()),
            pm1a_control: port(fixed.pm1a_control.get()),
            pm_timer: port(fixed.pm_timer.get()).filter(|_| fixed.pm_timer_length == 4),
            pm_timer_32bit: fixed.flags.get() & 1 << 8 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;

    #[test]
    fn qemus_ports_are_read() {
        let mut body = vec![0; 80];
        body[46 - 36..48 - 36].copy_from_slice(&9u16.to_le_bytes());
        body[56 - 36..60 - 36].copy_from_slice(&0x600u32.to_le_bytes());
        body[64 - 36..68 - 36].copy_from_slice(&0x604u32.to_le_bytes());
        body[76 - 36..80 - 36].copy_from_slice(&0x608u32.to_le_bytes());
        body[91 - 36] = 4;
        body[113 - 36] = 1;
        let fadt = Fadt::parse(&table(*b"FACP", &body)).unwrap();
        assert_eq!(
            fadt,
            Fadt {
                sci: 9,
                pm1a_event: Some(0x600),
                pm1a_control: Some(0x604),
                pm_timer: Some(0x608),
                pm_timer_32bit: true
            }
        );
        assert!(Fadt::parse(&table(*b"FACP", &body[..79])).is_err());
    }

    #[test]
    fn a_block_that_is_no_port_is_left_out() {
        let fadt = Fadt::parse(&table(*b"FACP", &[0xff; 80])).unwrap();
        assert_eq!((fadt.pm1a_control, fadt.pm_timer), (None, None));
    }
}
