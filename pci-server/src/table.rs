// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device table's lines in the log.

use core::fmt;

use pci::bar::{self, Kind};
use pci::reserved::{Range, Ranges};
use pci::topology::{Function, Topology};
use pci::view::Interrupts;
use pci::{Bar, Header};
use protocol::pci::Told;

use crate::survey::Survey;

/// Who has a function, or why nobody can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The VM of this name.
    Vm(&'a str),
    /// Nobody, though it could be passed through.
    Nobody,
    /// Nobody, since it can't.
    Refused(Told<'a>),
}

/// How many addresses a list shows.
const MAX_LISTED: usize = 4;

/// A line: address, path, IDs, class, BARs, interrupts, reset methods, who else is in its isolation group and its reset
/// domain, owner.
pub struct Row<'a> {
    /// The tree.
    pub topology: &'a Topology,
    /// Index of the function in it.
    pub index: u16,
    /// The function.
    pub function: &'a Function,
    /// Its resources.
    pub survey: &'a Survey,
    /// Its owner.
    pub owner: Owner<'a>,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Function { address, path, identity, .. } = self.function;
        write!(
            f,
            "{address} {path} {:04x}:{:04x} class {:06x}",
            identity.vendor, identity.device, identity.class
        )?;
        for bar in self.survey.bars.iter() {
            write!(f, ", {}", Place(bar))?;
        }
        match self.survey.interrupts {
            Interrupts::None => {}
            Interrupts::Msi(msi) => write!(f, ", MSI {}", 1 << msi.log2_messages)?,
            Interrupts::MsiX(msix) => write!(f, ", MSI-X {}", msix.entries)?,
        }
        let methods = self.survey.methods;
        let names = [
            ("FLR", methods.express.is_some()),
            ("AF", methods.advanced.is_some()),
            ("PM", methods.power.is_some()),
            ("bus", methods.bus.is_some()),
        ];
        let mut separator = ", reset ";
        for (name, _) in names.iter().filter(|(_, has)| *has) {
            write!(f, "{separator}{name}")?;
            separator = "+";
        }
        if separator == ", reset " && self.function.header == Header::Endpoint {
            f.write_str(", no reset")?;
        }
        let (topology, index) = (self.topology, self.index);
        List { topology, members: || topology.group_members(index), title: "grouped with" }.fmt(f)?;
        List { topology, members: || topology.reset_domain(index), title: "bus reset takes along" }.fmt(f)?;
        match self.owner {
            Owner::Vm(vm) => write!(f, ": vm {vm}"),
            Owner::Nobody => f.write_str(": free"),
            Owner::Refused(reason) => write!(f, ": not passed through: {reason}"),
        }
    }
}

/// Functions, by their addresses; nothing if there are none.
struct List<'a, M> {
    topology: &'a Topology,
    members: M,
    title: &'a str,
}

impl<I: Iterator<Item = u16>, M: Fn() -> I> fmt::Display for List<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = (self.members)().count();
        if count == 0 {
            return Ok(());
        }
        write!(f, ", {}", self.title)?;
        for function in (self.members)().take(MAX_LISTED).filter_map(|index| self.topology.get(index)) {
            write!(f, " {}", function.address)?;
        }
        if count > MAX_LISTED { write!(f, " and {} more", count - MAX_LISTED) } else { Ok(()) }
    }
}

/// Ranges of addresses and what lies there, in one line.
pub struct Places<'a>(pub &'a Ranges);

impl fmt::Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Range { first, last, kind }) in self.0.iter().enumerate() {
            write!(f, "{}at {first:#x} to {last:#x} ({kind})", if number == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct Place<'a>(&'a Bar);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bar) = self;
        let kind = match bar.kind {
            Kind::Io => "io",
            Kind::Memory32 => "mem32",
            Kind::Memory64 => "mem64",
        };
        write!(f, "{} {kind}{} ", bar::Name(bar.index), if bar.prefetchable { " prefetchable" } else { "" })?;
        match bar.size.trailing_zeros() {
            bits @ 30.. => write!(f, "{} GiB", 1u64 << (bits - 30))?,
            bits @ 20..30 => write!(f, "{} MiB", 1 << (bits - 20))?,
            bits @ 10..20 => write!(f, "{} KiB", 1 << (bits - 10))?,
            bits => write!(f, "{} B", 1 << bits)?,
        }
        if bar.is_assigned() { write!(f, " at {:#x}", bar.base) } else { f.write_str(" unassigned") }
    }
}
