// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's memory as the processor sees it: RAM and BAR frames in the nested tables, which are made as they are needed.
use component::Memory;
use protocol::start::Range;
use sel4::{CapRights, CapTypeForFrameObject, EptVmAttributes, Error, cap, cap_type};
use vmm_devices::nested::{END, Table, Tables};

/// The nested tables.
pub struct Nested {
    root: cap::EptPml4,
    tables: Tables,
    /// End of RAM.
    ram: u64,
}

impl Nested {
    /// Below `root`, which is empty.
    pub fn new(root: cap::EptPml4) -> Self {
        Self { root, tables: Tables::new(), ram: 0 }
    }

    /// Maps all of RAM, from guest-physical 0, with the frames' own size.
    ///
    /// # Errors
    /// The kernel's; RangeError for frames that are no large pages or reach beyond what tables cover.
    pub fn map_ram(&mut self, memory: &mut Memory, ram: &Range) -> Result<(), Error> {
        const LARGE: u64 = 1 << 21;
        if ram.bytes != LARGE || ram.count > END / LARGE {
            return Err(Error::RangeError);
        }
        for n in 0..ram.count {
            let frame = cap::LargePage::from_bits(ram.first + n);
            self.map(memory, frame, n * LARGE, 21, EptVmAttributes::DEFAULT)?;
        }
        self.ram = ram.count * LARGE;
        Ok(())
    }

    /// Maps a device frame of `1 << size_bits` bytes (12 or 21) at `gpa`, uncacheable; the guest can't execute it.
    ///
    /// # Errors
    /// The kernel's; RangeError for another size.
    pub fn map_device(
        &mut self,
        memory: &mut Memory,
        frame: u64,
        gpa: u64,
        size_bits: u8,
    ) -> Result<(), Error> {
        let attributes = EptVmAttributes::UNCACHEABLE.without_execution();
        match size_bits {
            12 => self.map(memory, cap::_4k::from_bits(frame), gpa, size_bits, attributes),
            21 => self.map(memory, cap::LargePage::from_bits(frame), gpa, size_bits, attributes),
            _ => Err(Error::RangeError),
        }
    }

    fn map<T: CapTypeForFrameObject>(
        &mut self,
        memory: &mut Memory,
        frame: sel4::Cap<T>,
        gpa: u64,
        size_bits: u8,
        attributes: EptVmAttributes,
    ) -> Result<(), Error> {
        while let Some(table) = self.tables.missing(gpa, size_bits) {
            let capability = match self.tables.spare(table) {
                Some(spare) => spare,
                None if self.tables.is_full() => return Err(Error::NotEnoughMemory),
                None => make(memory, table)?,
            };
            self.place(table, capability, gpa)?;
            self.tables.made(table, gpa, capability);
        }
        frame.frame_map_ept(self.root, gpa as usize, CapRights::read_write(), attributes)
    }

    fn place(&self, table: Table, capability: u64, gpa: u64) -> Result<(), Error> {
        let (at, attributes) = (gpa as usize, EptVmAttributes::DEFAULT);
        match table {
            Table::Pdpt => cap::EptPdpt::from_bits(capability).ept_pdpt_map(self.root, at, attributes),
            Table::Pd => {
                cap::EptPageDirectory::from_bits(capability).ept_page_directory_map(self.root, at, attributes)
            }
            Table::Pt => {
                cap::EptPageTable::from_bits(capability).ept_page_table_map(self.root, at, attributes)
            }
        }
    }

    /// Takes out the tables without any address that `is_used` (first address, and first behind), to be used elsewhere. RAM's are.
    pub fn tidy(&mut self, is_used: impl Fn(u64, u64) -> bool) {
        while let Some((table, capability)) =
            self.tables.idle(|first, behind| first < self.ram || is_used(first, behind))
        {
            let taken = match table {
                Table::Pt => cap::EptPageTable::from_bits(capability).ept_page_table_unmap(),
                _ => cap::EptPageDirectory::from_bits(capability).ept_page_directory_unmap(),
            };
            if let Err(error) = taken {
                component::log!("vmm: a nested table can't be taken out: {error:?}");
            }
        }
    }
}

/// Makes a table; the address of its capability.
fn make(memory: &mut Memory, table: Table) -> Result<u64, Error> {
    Ok(match table {
        Table::Pdpt => memory.make::<cap_type::EptPdpt>()?.bits(),
        Table::Pd => memory.make::<cap_type::EptPageDirectory>()?.bits(),
        Table::Pt => memory.make::<cap_type::EptPageTable>()?.bits(),
    })
}

/// Takes a device frame out of the nested tables. One that isn't there, or is gone altogether, is no error.
pub fn unmap_device(frame: u64, size_bits: u8) {
    let _ = match size_bits {
        21 => cap::LargePage::from_bits(frame).frame_unmap(),
        _ => cap::_4k::from_bits(frame).frame_unmap(),
    };
}
