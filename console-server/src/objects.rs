// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices, VMs and what is known of guests, each as an object of JSON. The keys are what `postern inspect` and scripts rest on.

use core::fmt::{self, Display, Formatter};

use protocol::look::device::{self, Resets};
use protocol::look::guest::{self, CONTROL, GENERAL, REASONS, VmState, What};

use crate::json::Text;

/// Values between brackets, with commas.
fn list<T>(
    f: &mut Formatter<'_>,
    [open, close]: [&str; 2],
    values: impl Iterator<Item = T>,
    mut value: impl FnMut(&mut Formatter<'_>, T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(open)?;
    for (number, one) in values.enumerate() {
        f.write_str(if number == 0 { "" } else { "," })?;
        value(f, one)?;
    }
    f.write_str(close)
}

/// A number, or null.
struct Number(Option<u32>);

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// A function of the machine.
pub struct Device<'a> {
    /// What is known of it.
    pub device: &'a device::Device,
    /// The name of the VM that it was promised to, if it was.
    pub owner: &'a str,
}

impl Display for Device<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let device::Device { address, path, identity, resets, group, grouped, owner } = self.device;
        write!(f, "{{\"look\":\"devices\",\"path\":\"{path}\",\"address\":\"{address}\"")?;
        write!(f, ",\"id\":\"{:04x}:{:04x}\"", identity.vendor, identity.device)?;
        write!(f, ",\"subsystem\":\"{:04x}:{:04x}\"", identity.subvendor, identity.subdevice)?;
        write!(f, ",\"class\":\"{:06x}\",\"revision\":{},\"reset\":", identity.class, identity.revision)?;
        let Resets { function, advanced, power, bus } = *resets;
        let names = [("FLR", function), ("AF", advanced), ("PM", power), ("bus", bus)];
        list(f, ["[", "]"], names.iter().filter(|(_, has)| *has), |f, (name, _)| write!(f, "\"{name}\""))?;
        f.write_str(",\"group\":")?;
        list(f, ["[", "]"], group.iter(), |f, address| write!(f, "\"{address}\""))?;
        write!(f, ",\"grouped\":{grouped},\"owner\":")?;
        let Some(device::Owner { index, slot, vectors, state, resetting, faults, .. }) = owner else {
            return f.write_str("null}");
        };
        write!(f, "{},\"device\":{index},\"slot\":\"{:02x}:{}\"", Text(self.owner), slot.bus, slot.devfn)?;
        write!(f, ",\"vectors\":{vectors},\"state\":\"{state}\",\"resetting\":{resetting}")?;
        write!(f, ",\"faults\":{}}}", Number(*faults))
    }
}

/// A VM.
pub struct Vm<'a> {
    /// Its name.
    pub name: &'a str,
    /// What the root task knows of it.
    pub vm: guest::Vm,
}

impl Display for Vm<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let guest::Vm { state, memory, priority, devices, starts, code } = self.vm;
        let state = match state {
            VmState::Waiting => "waiting",
            VmState::Refused => "refused",
            VmState::Running => "running",
            VmState::Quieting => "quieting",
            VmState::Ended => "ended",
        };
        write!(f, "{{\"look\":\"vms\",\"vm\":{},\"state\":\"{state}\",\"memory\":{memory}", Text(self.name))?;
        write!(f, ",\"priority\":{priority},\"devices\":{devices},\"starts\":{starts}")?;
        write!(f, ",\"code\":{}}}", Number(code))
    }
}

/// What a guest exited for.
pub struct Exits<'a> {
    /// The VM's name.
    pub vm: &'a str,
    /// The counts.
    pub exits: &'a guest::Exits,
}

impl Display for Exits<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let guest::Exits { reasons, interrupts, dma_faults } = self.exits;
        write!(f, "{{\"look\":\"exits\",\"vm\":{},\"exits\":", Text(self.vm))?;
        list(f, ["{", "}"], REASONS.iter().zip(reasons), |f, (name, count)| write!(f, "\"{name}\":{count}"))?;
        f.write_str(",\"interrupts\":")?;
        list(f, ["{", "}"], interrupts.iter(), |f, (vector, count)| write!(f, "\"{vector:#04x}\":{count}"))?;
        write!(f, ",\"dma-faults\":{dma_faults}}}")
    }
}

/// A guest's registers.
pub struct Registers<'a> {
    /// The VM's name.
    pub vm: &'a str,
    /// What they hold.
    pub registers: &'a guest::Registers,
}

impl Display for Registers<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let guest::Registers { general, fields } = self.registers;
        write!(f, "{{\"look\":\"registers\",\"vm\":{},\"general\":", Text(self.vm))?;
        list(f, ["{", "}"], GENERAL.iter().zip(general), |f, (name, value)| {
            write!(f, "\"{name}\":\"{value:#x}\"")
        })?;
        f.write_str(",\"control\":")?;
        list(f, ["{", "}"], CONTROL.iter().zip(fields), |f, ((name, _), value)| {
            write!(f, "\"{name}\":\"{value:#x}\"")
        })?;
        f.write_str("}")
    }
}

/// A range of a guest's physical address space.
pub struct Memory<'a> {
    /// The VM's name.
    pub vm: &'a str,
    /// The range.
    pub range: &'a guest::Range,
}

impl Display for Memory<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let guest::Range { start, bytes, what, mapped } = *self.range;
        let access = if mapped { "mapped" } else { "trapped" };
        write!(f, "{{\"look\":\"memory\",\"vm\":{},\"start\":\"{start:#x}\"", Text(self.vm))?;
        write!(f, ",\"bytes\":{bytes},\"access\":\"{access}\",\"what\":")?;
        let mut part = |name, device, bar| write!(f, "\"{name}\",\"device\":{device},\"bar\":{bar}}}");
        match what {
            What::Bar { device, bar } => part("bar", device, bar),
            What::Table { device, bar } => part("msi-x table", device, bar),
            What::Ram => f.write_str("\"ram\"}"),
            What::Config => f.write_str("\"configuration space\"}"),
            What::IoApic => f.write_str("\"i/o apic\"}"),
            What::Apic => f.write_str("\"local apic\"}"),
        }
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
