// SPDX-License-Identifier: MIT OR Apache-2.0
//! The DMA remapping table (VT-d specification 4.1, section 8).

use crate::sdt::HEADER_BYTES;
use crate::{DeviceScope, Error, ScopeKind, Signature, Table, scope};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    address_width: u8,
    flags: u8,
    reserved: [u8; 10],
}
const STRUCTURES_AT: usize = HEADER_BYTES + size_of::<Fixed>();
const _: () = assert!(STRUCTURES_AT == 48);

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawUnit {
    flags: u8,
    size: u8,
    segment: U16,
    base: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawReserved {
    reserved: U16,
    segment: U16,
    base: U64,
    limit: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAts {
    flags: u8,
    reserved: u8,
    segment: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAffinity {
    reserved: U32,
    base: U64,
    domain: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAcpiDevice {
    reserved: [u8; 3],
    number: u8,
}

/// A remapping hardware unit (DRHD, section 8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemappingUnit<'a> {
    /// Physical address of its registers.
    pub base: u64,
    /// Bytes of its registers (4096 shifted by the size field, section 8.3).
    pub length: u64,
    /// The PCI segment of its devices.
    pub segment: u16,
    /// Whether it has every function of its segment that no other unit names (INCLUDE_PCI_ALL).
    pub include_all: bool,
    scopes: &'a [u8],
}

impl<'a> RemappingUnit<'a> {
    /// The devices that it names.
    pub fn scopes(&self) -> impl Iterator<Item = DeviceScope<'a>> + Clone + use<'a> {
        scope::all(self.scopes)
    }
}

/// Memory that firmware wants a device to keep reaching (RMRR, section 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedMemory<'a> {
    /// The PCI segment of the devices.
    pub segment: u16,
    /// First physical address.
    pub base: u64,
    /// Last physical address.
    pub limit: u64,
    scopes: &'a [u8],
}

impl<'a> ReservedMemory<'a> {
    /// The devices that want it.
    pub fn scopes(&self) -> impl Iterator<Item = DeviceScope<'a>> + Clone + use<'a> {
        scope::all(self.scopes)
    }
}

/// Root ports that support address translation services (ATSR, section 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootPortAts<'a> {
    /// The PCI segment.
    pub segment: u16,
    /// Whether all root ports of the segment do.
    pub all_ports: bool,
    scopes: &'a [u8],
}

impl<'a> RootPortAts<'a> {
    /// The root ports.
    pub fn scopes(&self) -> impl Iterator<Item = DeviceScope<'a>> + Clone + use<'a> {
        scope::all(self.scopes)
    }
}

/// Which NUMA domain a unit is in (RHSA, section 8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitAffinity {
    /// Physical address of the unit's registers.
    pub base: u64,
    /// Its proximity domain.
    pub domain: u32,
}

/// A DMA-capable device that is only in ACPI's name space (ANDD, section 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcpiDevice<'a> {
    /// The number that scopes name it by.
    pub number: u8,
    /// Its name, up to the terminating zero.
    pub name: &'a [u8],
}

/// A structure of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure<'a> {
    /// A remapping unit.
    Unit(RemappingUnit<'a>),
    /// Reserved memory.
    Reserved(ReservedMemory<'a>),
    /// Root ports with address translation services.
    Ats(RootPortAts<'a>),
    /// A unit's NUMA domain.
    Affinity(UnitAffinity),
    /// A device of ACPI's name space.
    Acpi(AcpiDevice<'a>),
    /// A kind that this reader does not know. The specification has such structures skipped (section 8.2).
    Other {
        /// Its type number.
        kind: u16,
    },
}

/// The table, all of whose structures and scopes have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Dmar<'a> {
    address_width: u8,
    flags: u8,
    structures: &'a [u8],
}

impl<'a> Dmar<'a> {
    /// Checks a table, all its structures and all their scopes.
    pub fn parse(bytes: &'a [u8]) -> Result<Dmar<'a>, Error> {
        let table = Table::parse(Signature::DMAR, bytes)?;
        let (fixed, structures) = table.fixed::<Fixed>()?;
        let mut offset = 0;
        while offset < structures.len() {
            offset += structure(structures, offset)?.1;
        }
        Ok(Dmar { address_width: fixed.address_width, flags: fixed.flags, structures })
    }

    /// Bits of the largest DMA physical address.
    pub fn host_address_width(&self) -> u8 {
        self.address_width.saturating_add(1)
    }

    /// Whether the platform supports interrupt remapping (INTR_REMAP, section 8.1).
    pub fn interrupt_remapping(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether firmware asks that x2APIC mode be left alone (X2APIC_OPT_OUT).
    pub fn x2apic_opt_out(&self) -> bool {
        self.flags & 2 != 0
    }

    /// The structures in firmware's order.
    pub fn structures(&self) -> impl Iterator<Item = Structure<'a>> + Clone + use<'a> {
        let structures = self.structures;
        let mut offset = 0;
        core::iter::from_fn(move || {
            let (found, length) = structure(structures, offset).ok()?;
            offset += length;
            Some(found)
        })
    }

    /// The remapping units, in firmware's order. A unit's place here is its number everywhere else.
    pub fn units(&self) -> impl Iterator<Item = RemappingUnit<'a>> + Clone + use<'a> {
        self.structures().filter_map(|structure| match structure {
            Structure::Unit(unit) => Some(unit),
            _ => None,
        })
    }

    /// The reserved memory regions.
    pub fn reserved_memory(&self) -> impl Iterator<Item = ReservedMemory<'a>> + Clone + use<'a> {
        self.structures().filter_map(|structure| match structure {
            Structure::Reserved(region) => Some(region),
            _ => None,
        })
    }

    /// The unit and source ID of the interrupts of the I/O APIC with this ID, if a unit names it by a path that
    /// needs no bridge (I/O APICs sit on a root bus).
    pub fn io_apic_source(&self, io_apic: u8) -> Option<(usize, u16)> {
        self.source(ScopeKind::IoApic, io_apic)
    }

    /// The unit and source ID of the MSIs of the timer block with this number.
    pub fn hpet_source(&self, number: u8) -> Option<(usize, u16)> {
        self.source(ScopeKind::Hpet, number)
    }

    fn source(&self, kind: ScopeKind, id: u8) -> Option<(usize, u16)> {
        self.units().enumerate().find_map(|(number, unit)| {
            unit.scopes()
                .find(|scope| scope.kind == kind && scope.enumeration_id == id)
                .and_then(|scope| scope.direct())
                .map(|source| (number, source))
        })
    }
}

/// The structure at `offset` and its length.
fn structure(structures: &[u8], offset: usize) -> Result<(Structure<'_>, usize), Error> {
    let table = Signature::DMAR;
    let at = STRUCTURES_AT + offset;
    let left = structures.get(offset..).unwrap_or(&[]);
    let bad = |length| Error::BadEntry { table, offset: at, length, available: left.len() };
    let &[kind0, kind1, length0, length1, ..] = left else { return Err(bad(left.len())) };
    let kind = u16::from_le_bytes([kind0, kind1]);
    let length = usize::from(u16::from_le_bytes([length0, length1]));
    let body = left.get(4..length).ok_or(bad(length))?;
    let found = match kind {
        0 => {
            let (raw, scopes) = overlay::<RawUnit>(body).ok_or(bad(length))?;
            let base = raw.base.get();
            if base == 0 || base % 4096 != 0 || base >= 1 << 52 {
                return Err(Error::BadValue { table, offset: at + 8, value: base });
            }
            scope::check(scopes, at + length - scopes.len())?;
            Structure::Unit(RemappingUnit {
                base,
                length: 4096 << (raw.size & 0xf),
                segment: raw.segment.get(),
                include_all: raw.flags & 1 != 0,
                scopes,
            })
        }
        1 => {
            let (raw, scopes) = overlay::<RawReserved>(body).ok_or(bad(length))?;
            let (base, limit) = (raw.base.get(), raw.limit.get());
            if limit < base {
                return Err(Error::BadValue { table, offset: at + 16, value: limit });
            }
            scope::check(scopes, at + length - scopes.len())?;
            Structure::Reserved(ReservedMemory { segment: raw.segment.get(), base, limit, scopes })
        }
        2 => {
            let (raw, scopes) = overlay::<RawAts>(body).ok_or(bad(length))?;
            scope::check(scopes, at + length - scopes.len())?;
            Structure::Ats(RootPortAts { segment: raw.segment.get(), all_ports: raw.flags & 1 != 0, scopes })
        }
        3 => {
            let (raw, _) = overlay::<RawAffinity>(body).ok_or(bad(length))?;
            Structure::Affinity(UnitAffinity { base: raw.base.get(), domain: raw.domain.get() })
        }
        4 => {
            let (raw, name) = overlay::<RawAcpiDevice>(body).ok_or(bad(length))?;
            let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
            Structure::Acpi(AcpiDevice { number: raw.number, name: &name[..end] })
        }
        kind => Structure::Other { kind },
    };
    Ok((found, length))
}

fn overlay<T: FromBytes + KnownLayout + Immutable + Unaligned>(body: &[u8]) -> Option<(&T, &[u8])> {
    T::ref_from_prefix(body).ok()
}

#[cfg(test)]
#[path = "dmar_tests.rs"]
mod tests;
