// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space through memory (PCI Express Base 4.0, section 7.2.2): 4 KiB per function, 1 MiB per bus.

use component::Part;
use component::mmio::Region;
use heapless::Vec;
use pci::{Address, ConfigSpace, Width};
use protocol::pci::EcamRange;

/// The machine's configuration space.
#[derive(Default)]
pub struct Ecam {
    parts: Vec<(EcamRange, Region), 4>,
}

impl Ecam {
    /// Takes the regions that the ranges name, in their order.
    pub fn fill(&mut self, part: &mut Part, ranges: &[EcamRange]) -> Option<()> {
        for (number, range) in ranges.iter().enumerate() {
            self.parts.push((*range, part.registers(number)?)).ok()?;
        }
        Some(())
    }

    fn place(&self, at: Address, offset: u16) -> Option<(&Region, usize)> {
        let holds = |range: &EcamRange| {
            range.segment == at.segment && (range.first_bus..=range.last_bus).contains(&at.bus)
        };
        let (range, region) = self.parts.iter().find(|(range, _)| holds(range))?;
        let bus = usize::from(at.bus - range.first_bus);
        Some((region, bus << 20 | usize::from(at.devfn.0) << 12 | usize::from(offset & 0xfff)))
    }
}

impl ConfigSpace for Ecam {
    fn read(&self, at: Address, offset: u16, width: Width) -> u32 {
        let value = self.place(at, offset).and_then(|(region, place)| match width {
            Width::Byte => region.read::<u8>(place).map(u32::from),
            Width::Word => region.read::<u16>(place).map(u32::from),
            Width::Dword => region.read::<u32>(place),
        });
        value.unwrap_or(width.mask())
    }

    fn write(&self, at: Address, offset: u16, width: Width, value: u32) {
        // What isn't there swallows writes.
        let _ = self.place(at, offset).and_then(|(region, place)| match width {
            Width::Byte => region.write(place, value as u8),
            Width::Word => region.write(place, value as u16),
            Width::Dword => region.write(place, value),
        });
    }
}
