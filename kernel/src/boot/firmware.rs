// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel needs from ACPI: local APIC, I/O APICs, DMAR.

use firmware_tables::{Dmar, Madt, PhysicalMemory, RootTable, Rsdp, Signature, fit};
use heapless::Vec;

use super::params::Params;
use crate::arch;
use crate::arch::ioapic;
use crate::klog;

/// What ACPI says.
pub struct Firmware {
    /// Address of the local APIC's registers.
    pub local_apic: u64,
    /// I/O APICs: address, ID.
    pub io_apics: Vec<(u64, u8), { ioapic::MAX }>,
    /// Local APICs of the processors.
    pub processors: Vec<u32, 64>,
    /// Registers of DMA remapping units: address, bytes.
    pub remapping_units: Vec<(u64, u64), 16>,
    /// Memory that the DMAR table reserves for DMA of devices (RMRR), and the memory map too: first byte, last byte.
    pub reserved: Vec<(u64, u64), 16>,
    dmar: Option<&'static [u8]>,
}

/// The window on physical memory.
struct Memory {
    top: u64,
}

impl PhysicalMemory for Memory {
    fn bytes(&self, paddr: u64, length: usize) -> Option<&[u8]> {
        let end = paddr.checked_add(length as u64)?;
        // SAFETY: inside the window, and nobody writes firmware's tables.
        (end <= self.top).then(|| unsafe { core::slice::from_raw_parts(arch::phys_to_virt(paddr), length) })
    }
}

static MEMORY: Memory = Memory { top: 4 << 30 };

/// Reads the tables. What is missing or damaged is logged and left out.
pub fn read(params: &Params) -> Firmware {
    let mut f = Firmware {
        local_apic: 0xfee0_0000,
        io_apics: Vec::new(),
        processors: Vec::new(),
        remapping_units: Vec::new(),
        reserved: Vec::new(),
        dmar: None,
    };
    if let Err(why) = fill(params, &mut f) {
        klog!("ACPI: {why}");
    }
    f
}

fn fill(params: &Params, f: &mut Firmware) -> Result<(), firmware_tables::Error> {
    let Some(bytes) = &params.rsdp else {
        klog!("ACPI: the loader gives no RSDP");
        return Ok(());
    };
    let rsdp = Rsdp::parse(bytes)?;
    let root = RootTable::open(&MEMORY, &rsdp)?;
    if let Some(table) = root.find(Signature::MADT)? {
        let madt = Madt::parse(table.bytes())?;
        f.local_apic = madt.local_apic_address();
        for processor in madt.local_apics().filter(|processor| processor.enabled) {
            // More than fit stay asleep.
            let _ = f.processors.push(processor.id);
        }
        for io in madt.io_apics() {
            // More than fit stay as firmware left them: masked.
            let _ = f.io_apics.push((u64::from(io.address), io.id));
        }
    }
    if let Some(table) = root.find(Signature::DMAR)? {
        f.dmar = Some(table.bytes());
        if let Ok(dmar) = Dmar::parse(table.bytes()) {
            for unit in dmar.units() {
                let _ = f.remapping_units.push((unit.base, unit.length));
            }
            let map = params.regions.iter().map(|r| (r.base, r.base.saturating_add(r.length), r.kind == 1));
            let regions = dmar.reserved_memory().map(|region| (region.base, region.limit));
            for region in regions.filter(|region| fit(*region, map.clone(), []).is_ok()) {
                // One that finds no room can't be mapped for devices.
                let _ = f.reserved.push(region);
            }
        }
    }
    Ok(())
}

impl Firmware {
    /// Gives the DMAR table to `body`.
    pub fn with_dmar<R>(&self, body: impl FnOnce(Option<&[u8]>) -> R) -> R {
        body(self.dmar)
    }
}
