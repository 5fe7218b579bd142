// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which device may be given to whom, and why not.

use pci::carve::Window;
use pci::line::{self, NotAlone};
use pci::reserved::{Kind, Policy, Range, Ranges};
use pci::topology::Topology;
use pci::{Address, ConfigSpace, Header, Location, Path};
use protocol::iommu::Coverage;
use protocol::pci::{NotMapped, PciConfig, PciDevice, Refusal, ReservedRegion};

use crate::survey::{self, Claims, Survey};

/// Regions that iommu-server maps for one device.
const MAX_MAPPED: u32 = 3;

/// What is known of the machine.
pub struct Machine<'a> {
    /// The tree.
    pub topology: &'a Topology,
    /// All BARs.
    pub claims: &'a Claims,
    /// The description.
    pub config: &'a PciConfig,
    /// Device memory that BAR frames can be made from.
    pub windows: &'a [Window],
}

impl Machine<'_> {
    /// Finds the function that a description names.
    pub fn find(&self, location: &Location) -> Result<u16, Refusal> {
        let elements = match location {
            Location::Path(Path { hops, .. }) => hops.len(),
            Location::Address(_) => 1,
        };
        self.topology.find(location).map_err(|missing| {
            // The last element is the device itself, those before it are bridges.
            if missing + 1 >= elements { Refusal::NoSuchDevice } else { Refusal::PathAbsent(missing as u8) }
        })
    }

    /// The resources of a function that the description wants.
    pub fn survey<C: ConfigSpace + ?Sized>(
        &self,
        space: &C,
        index: u16,
        wanted: &PciDevice,
    ) -> Result<Survey, Refusal> {
        let mut survey = survey::survey(space, self.topology, index).ok_or(Refusal::NoSuchDevice)?;
        let has_rom = !wanted.rom || survey::add_rom(space, self.topology, index, &mut survey);
        if has_rom { Ok(survey) } else { Err(Refusal::NoRom) }
    }

    /// What speaks against a function, whoever gets it: identity, reservation, resources. `coverage` is the IOMMU's word.
    pub fn judge(
        &self,
        index: u16,
        survey: &Survey,
        coverage: Coverage,
        unsafe_interrupts: bool,
    ) -> Result<(), Refusal> {
        let function = self.topology.get(index).ok_or(Refusal::NoSuchDevice)?;
        if function.header != Header::Endpoint || function.identity.class >> 16 == 0x06 {
            return Err(Refusal::Bridge);
        }
        if !self.config.matches.iter().any(|rule| rule.accepts(&function.identity)) {
            return Err(Refusal::NotMatched(function.identity));
        }
        if !self.config.reserve.iter().any(|place| self.topology.find(place) == Ok(index)) {
            return Err(Refusal::NotReserved);
        }
        if !coverage.dma_remapping {
            return Err(Refusal::NoIommu);
        }
        if !coverage.covered {
            return Err(Refusal::NotCovered);
        }
        if !coverage.interrupt_remapping && !unsafe_interrupts {
            return Err(Refusal::NoInterruptRemapping);
        }
        if self.claims.is_full() {
            return Err(Refusal::TooManyDevices);
        }
        let requester = self.topology.requester(index);
        let mut others = 0..self.topology.functions().len() as u16;
        let alias = others.find(|other| *other != index && self.topology.requester(*other) == requester);
        if let Some(other) = self.address(alias) {
            return Err(Refusal::SharedRequester(other));
        }
        if let Some((offset, bytes)) = survey.bad {
            return Err(Refusal::BadCapabilities(offset, bytes));
        }
        self.judge_bars(index, survey)
    }

    /// The regions that firmware reserves for a function, or for a bridge above it (RMRR), by their indices.
    fn regions_of(&self, index: u16) -> impl Iterator<Item = (usize, &ReservedRegion)> {
        let named = move |region: &ReservedRegion| {
            let named = self.topology.find_by_bus_number(&region.device);
            named.is_some_and(|named| named == index || self.topology.is_behind(index, named))
        };
        self.config.regions.iter().enumerate().filter(move |(_, region)| named(region))
    }

    /// What firmware set up to go on by DMA beneath every system would be cut off, or reach a VM's memory: what the
    /// description says of it is done. `wanted` is what the description says of the function, if it is in it.
    pub fn judge_regions(&self, index: u16, wanted: Option<&PciDevice>) -> Result<(), Refusal> {
        if self.config.regions_unknown {
            return Err(Refusal::RegionsUnknown);
        }
        for (_, region) in self.regions_of(index) {
            let ReservedRegion { base, limit, unfit, .. } = *region;
            match wanted.map(|wanted| (wanted.reserved.policy, wanted)) {
                None | Some((Policy::Refuse, _)) => return Err(Refusal::ReservedMemory(base, limit)),
                Some((Policy::Accept, _)) => {}
                Some((Policy::Map, wanted)) => {
                    let refuse = |why| Err(Refusal::NotMapped(base, limit, why));
                    if let Some(why) = unfit {
                        return refuse(why);
                    }
                    if !self.maps(wanted, region) {
                        let full = wanted.reserved.mapped.count_ones() >= MAX_MAPPED;
                        return refuse(if full { NotMapped::TooMany } else { NotMapped::NotByPath });
                    }
                    // Memory that devices of two VMs write would join them.
                    let other =
                        self.config.devices.iter().find(|d| d.vm != wanted.vm && self.maps(d, region));
                    if let Some(other) = other {
                        return refuse(NotMapped::Shared(other.vm));
                    }
                }
            }
        }
        // The root task knows devices by their paths, this server by what answers there: both must mean the same.
        let mapped = |number: usize| wanted.is_some_and(|wanted| wanted.reserved.mapped & 1 << number != 0);
        let named = |number: usize| self.regions_of(index).any(|(other, _)| other == number);
        match self.config.regions.iter().enumerate().find(|(number, _)| mapped(*number) && !named(*number)) {
            Some((_, region)) => Err(Refusal::NotMapped(region.base, region.limit, NotMapped::NotByPath)),
            None => Ok(()),
        }
    }

    /// Whether the memory of a region is mapped for a device: it may be named in another region as well.
    fn maps(&self, device: &PciDevice, region: &ReservedRegion) -> bool {
        let same = |other: &ReservedRegion| (other.base, other.limit) == (region.base, region.limit);
        let all = self.config.regions.iter().enumerate();
        all.filter(|(_, other)| same(other)).any(|(number, _)| device.reserved.mapped & 1 << number != 0)
    }

    /// Where a function's DMA doesn't reach its VM's RAM.
    pub fn reserved(&self, index: u16, wanted: &PciDevice) -> Ranges {
        let mut ranges = Ranges::default();
        for (_, region) in self.regions_of(index).filter(|(_, region)| self.maps(wanted, region)) {
            ranges.add(Range { first: region.base, last: region.limit, kind: Kind::Firmware });
        }
        // In a group requests can go from one function to another before a remapping unit sees them.
        for member in self.topology.group_members(index) {
            for (base, last) in self.claims.memory_of(member) {
                ranges.add(Range { first: base, last, kind: Kind::Registers });
            }
        }
        ranges
    }

    /// The regions of a function that aren't mapped, as the description accepts.
    pub fn lost(&self, index: u16, wanted: &PciDevice) -> impl Iterator<Item = &ReservedRegion> {
        let accepts = wanted.reserved.policy == Policy::Accept;
        self.regions_of(index).filter(move |_| accepts).map(|(_, region)| region)
    }

    /// Whether a VM's RAM, which devices have at the guest's addresses, lies where one of them reaches something else.
    pub fn judge_ram(ranges: &Ranges, ram: u64) -> Result<(), Refusal> {
        ranges.conflict(ram).map_or(Ok(()), |range| Err(Refusal::RamConflict(range, ram)))
    }

    fn judge_bars(&self, index: u16, survey: &Survey) -> Result<(), Refusal> {
        for bar in survey.bars.iter().filter(|bar| bar.is_memory()) {
            if !bar.is_assigned() {
                return Err(Refusal::BarUnassigned { bar: bar.index, size: bar.size });
            }
            if let Some((other, other_bar)) = self.claims.shared(index, bar) {
                let other = self.address(Some(other)).ok_or(Refusal::NoSuchDevice)?;
                return Err(Refusal::BarShared { bar: bar.index, other, other_bar });
            }
            let (page, bytes) = (bar.base & !0xfff, bar.size.max(0x1000));
            let is_ours = self.windows.iter().any(|window| window.reaches(page, bytes));
            if survey.beyond & 1 << bar.index != 0 || !is_ours {
                return Err(Refusal::BarUnreachable { bar: bar.index, base: bar.base });
            }
        }
        Ok(())
    }

    fn address(&self, index: Option<u16>) -> Option<Address> {
        index.and_then(|index| self.topology.get(index)).map(|function| function.address)
    }

    /// Whether a function that VM `vm` is to get is another's, or in a group with another's. `given`: function and VM.
    pub fn judge_neighbours(
        &self,
        index: u16,
        vm: u16,
        given: impl Iterator<Item = (u16, u16)>,
    ) -> Result<(), Refusal> {
        for (other, owner) in given {
            if other == index {
                return Err(Refusal::Taken(owner));
            }
            if owner != vm && self.topology.group(other) == self.topology.group(index) {
                let opening = self.address(self.topology.opened_by(index));
                let member = self.address(Some(other)).ok_or(Refusal::NoSuchDevice)?;
                return Err(Refusal::SharedGroup { vm: owner, member, opening });
            }
        }
        Ok(())
    }
}

/// Whether a function's interrupt line is its own.
pub fn judge_line<C: ConfigSpace + ?Sized>(
    space: &C,
    topology: &Topology,
    index: u16,
) -> Result<(), Refusal> {
    line::alone(space, topology, index).map_err(|why| match why {
        NotAlone::NoPin => Refusal::NoPin,
        NotAlone::Unknown => Refusal::LineUnknown,
        NotAlone::Shared(other) => Refusal::LineShared(other),
    })
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
