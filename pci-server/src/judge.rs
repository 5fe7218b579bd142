// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which device may be given to whom, and why not.

use pci::carve::Window;
use pci::line::{self, NotAlone};
use pci::topology::Topology;
use pci::{Address, ConfigSpace, Header, Location, Path};
use protocol::iommu::Coverage;
use protocol::pci::{PciConfig, Refusal};

use crate::survey::{Claims, Survey};

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
        self.judge_memory(index)?;
        if let Some((offset, bytes)) = survey.bad {
            return Err(Refusal::BadCapabilities(offset, bytes));
        }
        self.judge_bars(index, survey)
    }

    /// What firmware set up to go on by DMA beneath every system (RMRR) would be cut off, or reach a VM's memory.
    fn judge_memory(&self, index: u16) -> Result<(), Refusal> {
        if self.config.regions_unknown {
            return Err(Refusal::RegionsUnknown);
        }
        for region in &self.config.regions {
            let Some(named) = self.topology.find_by_bus_number(&region.device) else { continue };
            if named == index || self.topology.is_behind(index, named) {
                return Err(Refusal::ReservedMemory(region.base, region.limit));
            }
        }
        Ok(())
    }

    fn judge_bars(&self, index: u16, survey: &Survey) -> Result<(), Refusal> {
        for bar in survey.bars.iter().filter(|bar| bar.is_memory()) {
            if !bar.is_assigned() {
                return Err(Refusal::BarUnassigned(bar.index));
            }
            if self.claims.shared(index, bar) {
                return Err(Refusal::BarShared(bar.index));
            }
            let (page, bytes) = (bar.base & !0xfff, bar.size.max(0x1000));
            if survey.beyond & 1 << bar.index != 0 {
                return Err(Refusal::BarUnreachable(bar.index));
            }
            if !self.windows.iter().any(|window| window.reaches(page, bytes)) {
                return Err(Refusal::BarUnreachable(bar.index));
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
                return Err(Refusal::Taken);
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
