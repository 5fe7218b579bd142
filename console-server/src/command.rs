// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be asked on COM1.

use protocol::config::RingOwner;

/// What [`Command::Help`] says: each command, and what it shows.
pub const HELP: [(&str, &str); 7] = [
    ("caps [PART]", "the capabilities of each part, or of one, as the kernel has them"),
    (
        "devices",
        "the machine's PCI functions: whose each is, in which state, its group, how it can be reset, its DMA faults",
    ),
    ("exits VM", "what a VM's guest exited for, and its interrupts"),
    ("help", "this list"),
    ("memory VM", "what lies where for a VM's guest: mapped, or trapped"),
    (
        "registers VM",
        "registers and control block of a VM's virtual CPU, as they were when its guest ran last",
    ),
    ("vms", "the VMs, and where each is in its life"),
];

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// What there is to ask.
    Help,
    /// The capabilities of one part, by its place, or of all.
    Caps(Option<usize>),
    /// The machine's functions.
    Devices,
    /// The exits of the VM at this place.
    Exits(usize),
    /// The memory of the VM at this place.
    Memory(usize),
    /// The registers of the VM at this place.
    Registers(usize),
    /// The VMs.
    Vms,
}

/// Why a line is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCommand {
    /// See the text.
    Unknown,
    /// See the text.
    NoSuchPart,
    /// See the text.
    NoSuchVm,
    /// See the text.
    NotALine,
    /// See the text.
    Forgotten,
}

impl NoCommand {
    /// A sentence.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "there is no such command: help lists them",
            Self::NoSuchPart => "no part has this name",
            Self::NoSuchVm => "no VM has this name",
            Self::Forgotten => "console-server was started anew: what was asked before is forgotten",
            Self::NotALine => "a line has at most 80 characters of text",
        }
    }
}

impl Command {
    /// Reads a line. `owners` are the parts, in their places.
    pub fn read(line: &str, owners: &[RingOwner]) -> Result<Self, NoCommand> {
        let mut words = line.split_ascii_whitespace();
        let place =
            |name: &str| owners.iter().position(|owner| owner.name == name).ok_or(NoCommand::NoSuchPart);
        let vm =
            |name: &str| place(name).ok().filter(|place| owners[*place].is_vm).ok_or(NoCommand::NoSuchVm);
        let command = match (words.next(), words.next()) {
            (Some("help"), None) => Self::Help,
            (Some("caps"), None) => Self::Caps(None),
            (Some("caps"), Some(name)) => Self::Caps(Some(place(name)?)),
            (Some("devices"), None) => Self::Devices,
            (Some("exits"), Some(name)) => Self::Exits(vm(name)?),
            (Some("memory"), Some(name)) => Self::Memory(vm(name)?),
            (Some("registers"), Some(name)) => Self::Registers(vm(name)?),
            (Some("vms"), None) => Self::Vms,
            _ => return Err(NoCommand::Unknown),
        };
        if words.next().is_some() { Err(NoCommand::Unknown) } else { Ok(command) }
    }

    /// The command's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Help => "help",
            Self::Caps(_) => "caps",
            Self::Devices => "devices",
            Self::Exits(_) => "exits",
            Self::Memory(_) => "memory",
            Self::Registers(_) => "registers",
            Self::Vms => "vms",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_say_what_is_wrong() {
        let owners = ["root-task", "pci-server", "web"].map(|name| RingOwner {
            index: 0,
            name: name.try_into().unwrap(),
            is_vm: name == "web",
        });
        let read = |line| Command::read(line, &owners);
        assert_eq!(read("help"), Ok(Command::Help));
        assert_eq!(read("  caps "), Ok(Command::Caps(None)));
        assert_eq!(read("caps web"), Ok(Command::Caps(Some(2))));
        assert_eq!(read("caps nobody"), Err(NoCommand::NoSuchPart));
        assert_eq!((read("devices"), read("vms")), (Ok(Command::Devices), Ok(Command::Vms)));
        assert_eq!(read("exits web"), Ok(Command::Exits(2)));
        assert_eq!(read("memory web"), Ok(Command::Memory(2)));
        assert_eq!(read("registers web"), Ok(Command::Registers(2)));
        assert_eq!(read("exits pci-server"), Err(NoCommand::NoSuchVm));
        for line in ["", "cap", "exits", "vms web", "devices all", "caps web web", "help me", "CAPS"] {
            assert_eq!(read(line), Err(NoCommand::Unknown), "{line}");
        }
    }
}
