// SPDX-License-Identifier: MIT OR Apache-2.0
//! What keeps requests on their way to the remapping unit (PCI Express Base 4.0, sections 6.12, 7.7.7 and 10.5), and
//! errors of devices away from the processor.

use crate::address::Address;
use crate::capability::{self, Express, extended_id, id};
use crate::config::{self, ConfigSpace, Header, command, register};

/// Bits of access control services.
mod acs {
    pub const SOURCE_VALIDATION: u16 = 1 << 0;
    pub const TRANSLATION_BLOCKING: u16 = 1 << 1;
    pub const REQUEST_REDIRECT: u16 = 1 << 2;
    pub const COMPLETION_REDIRECT: u16 = 1 << 3;
    pub const UPSTREAM_FORWARDING: u16 = 1 << 4;
    /// What a port must do.
    pub const PORT: u16 = SOURCE_VALIDATION | REDIRECT | UPSTREAM_FORWARDING;
    /// What a function beside others must do as far as it could do otherwise.
    pub const REDIRECT: u16 = REQUEST_REDIRECT | COMPLETION_REDIRECT;
    /// What is turned on where it exists; the rest, direct translated requests among it, is turned off.
    pub const WANTED: u16 = PORT | TRANSLATION_BLOCKING;
}

/// System errors that a root port raises for error messages from below: Root Control, section 7.5.3.12.
const ROOT_SYSTEM_ERRORS: u16 = 7;
/// Interrupts for the same: Root Error Command of Advanced Error Reporting, section 7.8.4.9.
const ROOT_ERROR_INTERRUPTS: u32 = 7;
/// Bridge Control: errors of the secondary bus are passed on.
const BRIDGE_SERR: u16 = 1 << 1;

/// The offset of an extended capability that has `length` bytes.
fn extended<C: ConfigSpace + ?Sized>(space: &C, at: Address, id: u16, length: u16) -> Option<u16> {
    capability::find_extended(space, at, id).filter(|offset| offset + length <= 0x1000)
}

/// Turns access control on as far as the function has it, address translation services, page requests and process
/// address spaces off, and lets a root port report no system error.
pub fn harden<C: ConfigSpace + ?Sized>(space: &C, at: Address, header: Header, express: Option<Express>) {
    if let Some(offset) = extended(space, at, extended_id::ACS, 8) {
        space.write16(at, offset + 6, space.read16(at, offset + 4) & acs::WANTED);
    }
    if let Some(offset) = extended(space, at, extended_id::ATS, 8) {
        space.write16(at, offset + 6, space.read16(at, offset + 6) & !(1 << 15));
    }
    for (id, control) in [(extended_id::PAGE_REQUESTS, 4), (extended_id::PASID, 6)] {
        if let Some(offset) = extended(space, at, id, 8) {
            space.write16(at, offset + control, space.read16(at, offset + control) & !1);
        }
    }
    if (header, express) == (Header::Bridge, Some(Express::RootPort)) {
        silence(space, at);
    }
}

/// Errors that a device reports end at its root port.
fn silence<C: ConfigSpace + ?Sized>(space: &C, port: Address) {
    config::update_command(space, port, 0, command::SERR);
    let control = space.read16(port, register::BRIDGE_CONTROL);
    space.write16(port, register::BRIDGE_CONTROL, control & !BRIDGE_SERR);
    if let Some(offset) = capability::find(space, port, id::EXPRESS).filter(|offset| *offset <= 0xe0) {
        let control = space.read16(port, offset + 0x1c);
        space.write16(port, offset + 0x1c, control & !ROOT_SYSTEM_ERRORS);
    }
    if let Some(offset) = extended(space, port, extended_id::ERRORS, 0x30) {
        let command = space.read32(port, offset + 0x2c);
        space.write32(port, offset + 0x2c, command & !ROOT_ERROR_INTERRUPTS);
    }
}

/// Whether access control is on: at a port all that isolates, at another function all that it could leave undone.
fn controls<C: ConfigSpace + ?Sized>(space: &C, at: Address, is_port: bool) -> bool {
    extended(space, at, extended_id::ACS, 8).is_some_and(|offset| {
        let can = space.read16(at, offset + 4);
        let must = if is_port { acs::PORT } else { can & acs::REDIRECT };
        can & space.read16(at, offset + 6) & must == must
    })
}

/// Whether a virtual function, or a physical one that has the device to itself but for its virtual ones, sends every request up. Those
/// that could reach each other inside their device must have access control (PCI Express Base 4.0, section 6.12.1.2); one without it
/// is believed.
pub fn isolates_among_virtual<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> bool {
    extended(space, at, extended_id::ACS, 8).is_none() || controls(space, at, false)
}

/// Whether a function sends every request up, past what is beside and behind it.
pub fn isolates<C: ConfigSpace + ?Sized>(
    space: &C,
    at: Address,
    header: Header,
    express: Option<Express>,
) -> bool {
    // Bit 7 is function 0's to set: another function is proof enough.
    let alone = at.devfn.function() == 0 && !config::header(space, at).1;
    match (header, express) {
        // A port turns requests round unless it says that it doesn't.
        (Header::Bridge, Some(Express::RootPort | Express::Downstream)) => controls(space, at, true),
        (Header::Bridge, Some(Express::Upstream)) => alone || controls(space, at, false),
        // What is behind a conventional bridge shares a bus, or a requester ID.
        (Header::Bridge, _) => false,
        // Functions of one device may reach each other inside it.
        _ => alone || controls(space, at, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;

    fn function(machine: &Machine, kind: u16) -> Address {
        let at = machine.bridge("00:04.0", 1, 1);
        machine.capabilities(at, &[(0x40, id::EXPRESS)]);
        machine.set16(at, 0x42, kind << 4 | 2);
        at
    }

    /// An extended capability list with everything on, and all of it writable.
    fn armed(machine: &Machine, at: Address, can: u16) {
        for (offset, header) in
            [(0x100, 0x1401_0001), (0x140, 0x1501_000d), (0x150, 0x1601_000f), (0x160, 0x1701_0013)]
        {
            machine.set32(at, offset, header);
        }
        machine.set32(at, 0x170, 0x0001_001b);
        machine.set16(at, 0x144, can);
        for (offset, value) in [(0x146, 0x60), (0x156, 0x8003), (0x164, 3), (0x176, 7)] {
            machine.set16(at, offset, value);
        }
        machine.set32(at, 0x12c, 7);
        machine.set16(at, 0x5c, 0x1f);
        machine.set16(at, register::COMMAND, 0x107);
        machine.set16(at, register::BRIDGE_CONTROL, 3);
        for offset in [0x144, 0x154, 0x164, 0x174, 0x5c, 0x12c, 0x3c] {
            machine.writable32(
                at,
                offset,
                if offset & 0xf == 4 && offset != 0x164 { 0xffff_0000 } else { !0 },
            );
        }
    }

    #[test]
    fn what_exists_is_turned_on_and_the_rest_off() {
        let machine = Machine::new();
        let at = function(&machine, 4);
        armed(&machine, at, 0x5d);
        let port = Some(Express::RootPort);
        assert!(!isolates(&machine, at, Header::Bridge, port), "it could, and doesn't");
        harden(&machine, at, Header::Bridge, port);
        assert!(isolates(&machine, at, Header::Bridge, port));
        assert_eq!(machine.read16(at, 0x146), 0x1d, "access control; no direct translated requests");
        assert_eq!(machine.read16(at, 0x156), 3, "translation services are off");
        assert_eq!(machine.read16(at, 0x164), 2, "page requests are off");
        assert_eq!(machine.read16(at, 0x176), 6, "process address spaces are off");
        assert_eq!(machine.read16(at, register::COMMAND), 7);
        assert_eq!(machine.read16(at, register::BRIDGE_CONTROL), 1);
        assert_eq!(machine.read16(at, 0x5c), 0x18);
        assert_eq!(machine.read32(at, 0x12c), 0);
    }

    #[test]
    fn only_root_ports_are_silenced() {
        let machine = Machine::new();
        let at = function(&machine, 6);
        armed(&machine, at, 0x5d);
        harden(&machine, at, Header::Bridge, Some(Express::Downstream));
        assert_eq!(machine.read16(at, register::COMMAND), 0x107);
        assert_eq!(machine.read16(at, register::BRIDGE_CONTROL), 3);
    }

    #[test]
    fn a_port_must_have_all_of_it() {
        for missing in [0, 2, 3, 4] {
            let machine = Machine::new();
            let at = function(&machine, 6);
            armed(&machine, at, 0x5f & !(1 << missing));
            harden(&machine, at, Header::Bridge, Some(Express::Downstream));
            assert!(!isolates(&machine, at, Header::Bridge, Some(Express::Downstream)), "bit {missing}");
        }
    }

    #[test]
    fn control_that_does_not_stick_is_none() {
        let machine = Machine::new();
        let at = function(&machine, 4);
        armed(&machine, at, 0x5d);
        machine.writable32(at, 0x144, 0);
        harden(&machine, at, Header::Bridge, Some(Express::RootPort));
        assert!(!isolates(&machine, at, Header::Bridge, Some(Express::RootPort)));
    }

    #[test]
    fn functions_beside_others() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.0", 1, 1);
        let isolated = || isolates(&machine, at, Header::Endpoint, Some(Express::Endpoint));
        assert!(isolated(), "alone");
        machine.set8(at, register::HEADER_TYPE, 0x80);
        assert!(!isolated(), "without access control");
        armed(&machine, at, 0);
        assert!(isolated(), "it says that it knows no way to its neighbours");
        machine.set16(at, 0x144, 0xc);
        assert!(!isolated());
        harden(&machine, at, Header::Endpoint, Some(Express::Endpoint));
        assert!(isolated());
    }

    #[test]
    fn capabilities_that_stick_out_are_left_alone() {
        let machine = Machine::new();
        let at = machine.endpoint("01:00.1", 1, 1);
        machine.set32(at, 0x100, 0xffc1_0001);
        machine.set32(at, 0xffc, 0x0001_000d);
        harden(&machine, at, Header::Endpoint, None);
        assert!(!isolates(&machine, at, Header::Endpoint, None));
        assert!(machine.writes.borrow().is_empty());
    }
}
