// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupt lines (INTx): who may pull the line that a function pulls. PCI Local Bus 3.0, section 2.2.6; on the way through
//! bridges, PCI-to-PCI Bridge 1.2, section 9.1, and PCI Express Base 4.0, section 2.2.8.1.
//!
//! Which input of which I/O APIC a line ends at only firmware's bytecode says. Which lines are *one* can be seen: those that
//! reach a root bus at the same pin of the same device, and those to which firmware gave the same input of the old
//! interrupt controllers, of which each line has one.

use crate::address::Address;
use crate::config::{ConfigSpace, Header, command, register};
use crate::topology::Topology;

/// Where a line reaches a root bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wire {
    segment: u16,
    bus: u8,
    device: u8,
    /// 0 is A.
    pin: u8,
}

/// Why nobody can say that a function's line is its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAlone {
    /// The function has no pin.
    NoPin,
    /// Firmware didn't say which input the line has.
    Unknown,
    /// This function has the same line, or may have.
    Shared(Address),
}

/// The function's pin: 0 is A; `None` if it has none.
fn pin<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Option<u8> {
    space.read8(at, register::INTERRUPT_PIN).checked_sub(1)
}

/// The input that firmware gave to a function's line; `None` if that isn't known.
fn input<C: ConfigSpace + ?Sized>(space: &C, at: Address) -> Option<u8> {
    Some(space.read8(at, register::INTERRUPT_LINE)).filter(|input| (1..16).contains(input))
}

fn wire(topology: &Topology, index: u16, pin: u8) -> Option<Wire> {
    let mut function = topology.get(index)?;
    let mut pin = pin % 4;
    while let Some(bridge) = function.parent.and_then(|parent| topology.get(parent)) {
        pin = (pin + function.address.devfn.device()) % 4;
        function = bridge;
    }
    let Address { segment, bus, devfn } = function.address;
    Some(Wire { segment, bus, device: devfn.device(), pin })
}

/// Whether a function can be told to leave its line alone, and has been: for bridges, which nobody gets.
fn is_silent_bridge<C: ConfigSpace + ?Sized>(space: &C, at: Address, header: Header) -> bool {
    header == Header::Bridge && space.read16(at, register::COMMAND) & command::INTX_DISABLE != 0
}

/// Whether a function's line is its own. Bridges whose interrupts are off don't count; what else has a pin does,
/// whether anybody uses it or not.
pub fn alone<C: ConfigSpace + ?Sized>(space: &C, topology: &Topology, index: u16) -> Result<(), NotAlone> {
    let at = topology.get(index).ok_or(NotAlone::NoPin)?.address;
    let own = pin(space, at).ok_or(NotAlone::NoPin)?;
    let line = input(space, at).ok_or(NotAlone::Unknown)?;
    let own = wire(topology, index, own);
    for (other, function) in topology.functions().iter().enumerate() {
        let Some(pin) = pin(space, function.address).filter(|_| other != usize::from(index)) else {
            continue;
        };
        let apart = wire(topology, other as u16, pin) != own
            && input(space, function.address).is_some_and(|other| other != line);
        if !apart && !is_silent_bridge(space, function.address, function.header) {
            return Err(NotAlone::Shared(function.address));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Machine, at};

    fn give(machine: &Machine, at: Address, pin: u8, line: u8) {
        machine.set8(at, register::INTERRUPT_PIN, pin);
        machine.set8(at, register::INTERRUPT_LINE, line);
    }

    fn judge(machine: &Machine, text: &str) -> Result<(), NotAlone> {
        let mut topology = Topology::default();
        topology.enumerate(machine, 0, 0, 255);
        let index = topology.functions().iter().position(|f| f.address == at(text)).unwrap();
        alone(machine, &topology, index as u16)
    }

    /// A device behind a port, both with pin A, and a disk on the root bus.
    fn machine() -> Machine {
        let machine = Machine::new();
        let port = machine.bridge("00:06.0", 1, 1);
        give(&machine, port, 1, 11);
        machine.set16(port, register::COMMAND, command::INTX_DISABLE);
        give(&machine, machine.endpoint("01:00.0", 0x1234, 0x11e8), 1, 11);
        machine.set8(machine.endpoint("00:1f.0", 0x8086, 0x2918), register::HEADER_TYPE, 0x80);
        give(&machine, machine.endpoint("00:1f.2", 0x8086, 0x2922), 1, 10);
        machine
    }

    #[test]
    fn a_device_behind_a_silent_port_is_alone() {
        assert_eq!(judge(&machine(), "01:00.0"), Ok(()));
        assert_eq!(judge(&machine(), "00:1f.2"), Ok(()));
        let machine = machine();
        machine.set16(at("00:06.0"), register::COMMAND, 0);
        assert_eq!(judge(&machine, "01:00.0"), Err(NotAlone::Shared(at("00:06.0"))));
    }

    #[test]
    fn a_function_without_a_pin_or_with_an_unknown_line_is_refused() {
        let machine = machine();
        give(&machine, at("01:00.0"), 0, 11);
        assert_eq!(judge(&machine, "01:00.0"), Err(NotAlone::NoPin));
        for line in [0, 16, 255] {
            give(&machine, at("01:00.0"), 1, line);
            assert_eq!(judge(&machine, "01:00.0"), Err(NotAlone::Unknown));
        }
    }

    #[test]
    fn others_share_by_firmwares_word_by_the_wire_or_because_nobody_knows() {
        let other = |place: &str, pin, line| {
            let machine = machine();
            give(&machine, machine.endpoint(place, 0x8086, 0x1234), pin, line);
            judge(&machine, "01:00.0")
        };
        let shared = |place: &str| Err(NotAlone::Shared(at(place)));
        assert_eq!(other("00:08.0", 1, 5), Ok(()));
        assert_eq!(other("00:08.0", 1, 11), shared("00:08.0"));
        assert_eq!(other("00:08.0", 2, 255), shared("00:08.0"));
        assert_eq!(other("00:08.0", 0, 11), Ok(()), "without a pin there is no line");
        // 01:04.0's pin A is the port's pin A again, whatever firmware says of it; 01:05.0's is B.
        assert_eq!(other("01:04.0", 1, 5), shared("01:04.0"));
        assert_eq!(other("01:05.0", 1, 5), Ok(()));
        assert_eq!(other("01:05.0", 4, 5), shared("01:05.0"));
        assert_eq!(other("01:01.0", 200, 5), shared("01:01.0"), "pin 200 is D, as far as that goes");
    }
}
