// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who can reach what, from the capabilities that the console lists (`caps`), and the rules that this must keep to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde_json::Value;

mod memory;

/// The part that can reach everything, and says so.
const ROOT: &str = "root-task";
const PCI: &str = "pci-server";
const IOMMU: &str = "iommu-server";
const CONSOLE: &str = "console-server";
const TIMER: &str = "timer-server";
/// The servers.
const SERVERS: [&str; 4] = [PCI, IOMMU, CONSOLE, TIMER];
/// COM1, first and last port.
const COM1: u64 = 0x3ff_03f8;
/// Configuration space by ports (PCI Local Bus 3.0, 3.2.2.3.2), first and last.
const CONFIG_PORTS: u64 = 0xcff_0cf8;
/// Ports that are no device's.
const RESERVED: [u64; 2] = [COM1, CONFIG_PORTS];
/// Where a part's thread, root CNode and notification are.
const OWN: [(&str, u64); 4] = [("thread", 1), ("cnode", 2), ("vspace", 3), ("sched-context", 9)];
const NOTIFICATION: u64 = 7;
const SERVED: u64 = 5;
/// The root task's address space.
const ROOT_VSPACE: u64 = 3;

/// A capability, or some of one kind in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Who holds it.
    pub part: String,
    /// Its capability address.
    pub slot: u64,
    /// What it is.
    pub kind: String,
    /// Letters: read, write, grant, a for grant-reply.
    pub rights: String,
    /// Physical address of the object.
    pub address: u64,
    /// Bytes of all of them together, 0 if they aren't memory.
    pub bytes: u64,
    /// Badge and the like.
    pub data: u64,
    /// Memory of a device.
    pub device: bool,
    /// In which kind of space it is mapped, and that one's number.
    pub mapped: Option<(String, u64)>,
    /// The address there.
    pub mapped_at: u64,
}

impl Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, slot, kind, rights, address, bytes, data, .. } = self;
        write!(f, "{part} slot {slot:#x}: {kind} {rights} at {address:#x}, {bytes} bytes, data {data:#x}")
    }
}

impl Cap {
    /// Reads a line's object.
    fn read(object: &Value) -> Option<Self> {
        let text = |key: &str| object.get(key)?.as_str();
        let hex = |key: &str| u64::from_str_radix(text(key)?.strip_prefix("0x")?, 16).ok();
        let number = |key: &str| object.get(key)?.as_u64();
        let place = |mapped: &Value| {
            let at = mapped.get("at")?.as_str()?.strip_prefix("0x")?;
            let space = (mapped.get("in")?.as_str()?.to_owned(), mapped.get("number")?.as_u64()?);
            Some((Some(space), u64::from_str_radix(at, 16).ok()?))
        };
        let (mapped, mapped_at) = object.get("mapped").map_or(Some((None, 0)), place)?;
        Some(Self {
            part: text("part")?.to_owned(),
            slot: hex("slot")?,
            kind: text("kind")?.to_owned(),
            rights: text("rights")?.to_owned(),
            address: hex("address")?,
            bytes: number("bytes").unwrap_or(0) * number("count")?,
            data: hex("data")?,
            device: object.get("device").is_some(),
            mapped,
            mapped_at,
        })
    }

    fn is_memory(&self) -> bool {
        matches!(self.kind.as_str(), "frame" | "untyped")
    }

    fn overlaps(&self, address: u64, bytes: u64) -> bool {
        self.is_memory() && self.address < address + bytes && address < self.address + self.bytes
    }
}

/// Whether two ranges of ports, each its first and its last << 16, have a port in common.
const fn common_ports(one: u64, other: u64) -> bool {
    one as u16 <= (other >> 16) as u16 && other as u16 <= (one >> 16) as u16
}

/// Everybody's capabilities.
pub struct Authority {
    caps: Vec<Cap>,
    /// Which part has the address space or the nested tables of each number.
    spaces: BTreeMap<(String, u64), String>,
}

impl Authority {
    /// From the objects of an answer to `caps`.
    ///
    /// # Errors
    /// The object that isn't understood.
    pub fn read(objects: &[Value]) -> Result<Self, String> {
        let read = |object: &Value| Cap::read(object).ok_or_else(|| format!("not understood: {object}"));
        Ok(Self::of(objects.iter().map(read).collect::<Result<_, _>>()?))
    }

    fn of(caps: Vec<Cap>) -> Self {
        let roots = caps.iter().filter(|cap| matches!(cap.kind.as_str(), "vspace" | "nested-root"));
        let spaces = roots
            .filter(|cap| cap.part != ROOT || cap.slot == ROOT_VSPACE)
            .filter_map(|cap| Some((cap.mapped.clone()?, cap.part.clone())))
            .collect();
        Self { caps, spaces }
    }

    /// All parts but the root task.
    #[must_use]
    pub fn parts(&self) -> BTreeSet<&str> {
        self.caps.iter().map(|cap| cap.part.as_str()).filter(|part| *part != ROOT).collect()
    }

    /// The VMMs.
    #[must_use]
    pub fn vmms(&self) -> Vec<&str> {
        self.parts().into_iter().filter(|part| !SERVERS.contains(part)).collect()
    }

    /// A part's own capabilities.
    fn of_part<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a Cap> {
        self.caps.iter().filter(move |cap| cap.part == part)
    }

    /// The memory that a part can read or write, or its guest can: what it holds, and what is mapped in its address space and its
    /// nested tables by whomever. Of the root task, which holds everything, what it has mapped.
    fn memory<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a Cap> {
        self.caps.iter().filter(move |cap| {
            let is_mapped = |cap: &Cap| {
                cap.mapped.as_ref().is_some_and(|space| self.spaces.get(space).is_some_and(|of| of == part))
            };
            cap.is_memory() && (cap.part == part && part != ROOT || is_mapped(cap))
        })
    }

    /// Bytes of guest RAM in `address..address + bytes` that are in a VMM's nested tables.
    #[must_use]
    pub fn guest_ram(&self, vmm: &str, address: u64, bytes: u64) -> u64 {
        let is_ram = |cap: &&Cap| {
            let nested = cap.mapped.as_ref().is_some_and(|(space, _)| space == "nested");
            nested && !cap.device && cap.overlaps(address, bytes)
        };
        let common = |cap: &Cap| (cap.address + cap.bytes).min(address + bytes) - cap.address.max(address);
        self.of_part(vmm).filter(is_ram).map(common).sum()
    }

    /// Every rule. `ecam` is where configuration space is, with its bytes; `owners` says for each device (its requester ID) with an
    /// owner which VM that is.
    ///
    /// # Errors
    /// The first capability that breaks one.
    pub fn keeps_to_the_rules(&self, ecam: (u64, u64), owners: &[(u64, &str)]) -> Result<(), String> {
        self.kinds()?;
        self.own_objects()?;
        self.endpoints()?;
        self.vmms_are_apart()?;
        self.configuration_space(ecam)?;
        self.domains(owners)?;
        self.servers_are_apart()
    }

    /// Nobody holds a kind of capability that its job doesn't need.
    fn kinds(&self) -> Result<(), String> {
        for cap in self.caps.iter().filter(|cap| cap.part != ROOT) {
            let is_vmm = !SERVERS.contains(&cap.part.as_str());
            let fits = match cap.kind.as_str() {
                "thread" | "cnode" | "vspace" | "endpoint" | "reply" | "notification" | "untyped"
                | "sched-context" => true,
                "frame" => cap.part != CONSOLE,
                "page-table" | "page-directory" | "pdpt" => cap.part == PCI,
                "irq-handler" => cap.part != PCI,
                "irq-control" | "io-space" | "io-page-table" | "dma-fault-control" => cap.part == IOMMU,
                // Those of BARs are pci-server's, and their VMM's.
                "io-ports" => match cap.part.as_str() {
                    CONSOLE => cap.data == COM1,
                    IOMMU | TIMER => false,
                    _ => RESERVED.iter().all(|ports| !common_ports(cap.data, *ports)),
                },
                "vcpu"
                | "io-permission-map"
                | "nested-root"
                | "nested-pdpt"
                | "nested-page-directory"
                | "nested-page-table" => is_vmm,
                _ => false,
            };
            // A VMM's untyped memory is for its virtual CPU and nested tables.
            let fits = fits && !(is_vmm && cap.kind == "untyped" && cap.bytes > 256 << 10);
            if !fits {
                return Err(format!("{cap}: none of its business"));
            }
        }
        Ok(())
    }

    /// Threads, CNodes, address spaces: each part its own only. It signals itself, servers, and, if it is a server, its clients.
    fn own_objects(&self) -> Result<(), String> {
        for cap in self.caps.iter().filter(|cap| cap.part != ROOT) {
            let is_vmm = !SERVERS.contains(&cap.part.as_str());
            if let Some((_, slot)) = OWN.iter().find(|(kind, _)| *kind == cap.kind)
                && cap.slot != *slot
            {
                return Err(format!("{cap}: not its own"));
            }
            let others = |part: &str| {
                self.of_part(part).any(|own| own.slot == NOTIFICATION && own.address == cap.address)
            };
            if cap.kind == "notification" && is_vmm {
                let own = others(&cap.part);
                let console = others(CONSOLE) && cap.rights == "w";
                if !own && !console {
                    return Err(format!("{cap}: a VMM signals itself and console-server only"));
                }
            } else if cap.kind == "notification" && cap.rights.contains('r') && !others(&cap.part) {
                return Err(format!("{cap}: it waits for another's signals"));
            }
        }
        for (kind, _) in OWN {
            let mut seen = BTreeSet::new();
            let all = self.caps.iter().filter(|cap| cap.part != ROOT && cap.kind == kind);
            if let Some(twice) = all.into_iter().find(|cap| !seen.insert(cap.address)) {
                return Err(format!("{twice}: two parts share it"));
            }
        }
        Ok(())
    }

    /// Who may receive from an endpoint serves it; clients call, under their own badge, and pass no capabilities.
    fn endpoints(&self) -> Result<(), String> {
        for cap in self.caps.iter().filter(|cap| cap.part != ROOT && cap.kind == "endpoint") {
            let serves = cap.slot == SERVED && cap.rights == "r" && SERVERS.contains(&cap.part.as_str());
            let badges: BTreeSet<_> = self
                .of_part(&cap.part)
                .filter(|own| own.kind == "endpoint" && own.data != 0)
                .map(|own| own.data)
                .collect();
            let others =
                |other: &&Cap| other.part != ROOT && other.part != cap.part && other.data == cap.data;
            let calls = cap.rights == "wa"
                && cap.data >> 63 == 1
                && badges.len() == 1
                && !self.caps.iter().filter(|other| other.kind == "endpoint").any(|other| others(&other));
            if !serves && !calls {
                return Err(format!("{cap}: neither served by it nor called under a badge of its own"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
