// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules over memory and ports: who reaches the same, and what devices reach.

use std::collections::BTreeSet;

use super::{Authority, CONFIG_PORTS, CONSOLE, Cap, IOMMU, PCI, ROOT, SERVERS, common_ports};

/// The first capability address behind a part's own CNode.
const FIRST_MOUNT: u64 = 1 << 16;
/// Where a part has its log ring, and where the root task has its own (`docs/architecture.md`, "Memory").
const RINGS: [u64; 2] = [0x1020_0000, 0x10_8000_0000];
const RING_BYTES: u64 = 64 << 10;

impl Cap {
    fn is_ring(&self) -> bool {
        let inside = |ring| self.mapped_at >= ring && self.mapped_at + self.bytes <= ring + RING_BYTES;
        self.mapped.as_ref().is_some_and(|(space, _)| space == "vspace") && RINGS.into_iter().any(inside)
    }
}

/// Whether memory is shared on purpose: a log ring with console-server, a device's registers with pci-server, the frames of a domain
/// with iommu-server.
fn on_purpose(server: &str, its: &Cap, part: &str, cap: &Cap) -> bool {
    let is_vmm = part != ROOT && !SERVERS.contains(&part);
    match server {
        CONSOLE => cap.is_ring(),
        PCI => is_vmm && its.device && cap.device,
        IOMMU => is_vmm && its.slot >= FIRST_MOUNT && !cap.device,
        _ => false,
    }
}

impl Authority {
    /// No memory and no ports that two VMMs reach.
    pub(super) fn vmms_are_apart(&self) -> Result<(), String> {
        let vmms = self.vmms();
        for (number, one) in vmms.iter().enumerate() {
            for other in &vmms[number + 1..] {
                for cap in self.memory(one) {
                    if let Some(common) = self.memory(other).find(|its| its.overlaps(cap.address, cap.bytes))
                    {
                        return Err(format!("{one} and {other} reach the same memory: {cap}; {common}"));
                    }
                }
                let ports = |part| self.of_part(part).filter(|cap| cap.kind == "io-ports");
                for cap in ports(one) {
                    if let Some(common) = ports(other).find(|its| common_ports(its.data, cap.data)) {
                        return Err(format!("{one} and {other} reach the same ports: {cap}; {common}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Nobody reaches memory of a server or of the root task but what is shared on purpose.
    pub(super) fn servers_are_apart(&self) -> Result<(), String> {
        for server in SERVERS.into_iter().chain([ROOT]) {
            for part in self.parts().into_iter().filter(|part| *part != server) {
                for cap in self.memory(part) {
                    let fits =
                        |its: &&Cap| on_purpose(server, its, part, cap) || on_purpose(part, cap, server, its);
                    let mut common = self.memory(server).filter(|its| its.overlaps(cap.address, cap.bytes));
                    if let Some(common) = common.find(|its| !fits(its)) {
                        return Err(format!("{part} reaches memory of {server}: {cap}; {common}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Only pci-server reaches configuration space, `ecam` with so many bytes; the root task has no frame of it left. Nobody reaches it
    /// by ports.
    pub(super) fn configuration_space(&self, (address, bytes): (u64, u64)) -> Result<(), String> {
        let there = |cap: &&Cap| cap.overlaps(address, bytes);
        let by_ports = |cap: &&Cap| cap.kind == "io-ports" && common_ports(cap.data, CONFIG_PORTS);
        let frame = |cap: &&Cap| cap.part == ROOT && cap.kind == "frame" && there(cap);
        if let Some(cap) = self.caps.iter().find(|cap| frame(cap) || by_ports(cap)) {
            return Err(format!("{cap}: configuration space"));
        }
        for part in self.parts().into_iter().filter(|part| *part != PCI) {
            if let Some(cap) = self.memory(part).find(there) {
                return Err(format!("{cap}: {part} reaches configuration space"));
            }
        }
        match self.memory(PCI).filter(there).map(|cap| cap.bytes).sum::<u64>() {
            0 => Err("nobody reaches configuration space".into()),
            _ => Ok(()),
        }
    }

    /// What a device reaches is RAM of its own VM, and memory of no server.
    pub(super) fn domains(&self, owners: &[(u64, &str)]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for cap in self.caps.iter().filter(|cap| cap.is_memory()) {
            let Some((_, requester)) = cap.mapped.as_ref().filter(|(space, _)| space == "io") else {
                continue;
            };
            for part in SERVERS.into_iter().chain([ROOT]) {
                // iommu-server's copies of RAM frames are no memory of its own.
                let is_own = |own: &&Cap| own.part != IOMMU || own.slot < FIRST_MOUNT;
                let mut own = self.memory(part).filter(is_own);
                if let Some(own) = own.find(|own| own.overlaps(cap.address, cap.bytes)) {
                    return Err(format!("device {requester:#06x} reaches memory of {part}: {own}"));
                }
            }
            let Some((_, owner)) = owners.iter().find(|(device, _)| device == requester) else {
                return Err(format!("device {requester:#06x} is nobody's and reaches memory: {cap}"));
            };
            if self.guest_ram(owner, cap.address, cap.bytes) != cap.bytes {
                return Err(format!(
                    "device {requester:#06x} reaches memory that is no RAM of {owner}: {cap}"
                ));
            }
            seen.insert(*requester);
        }
        match owners.iter().find(|(device, _)| !seen.contains(device)) {
            Some((device, owner)) => Err(format!("device {device:#06x} reaches no RAM of {owner}")),
            None => Ok(()),
        }
    }
}
