// SPDX-License-Identifier: MIT OR Apache-2.0
//! The interrupt controllers (ACPI 6.5, section 5.2.12).

use crate::sdt::HEADER_BYTES;
use crate::{Error, Signature, Table};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fixed {
    local_apic: U32,
    flags: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocalApic {
    uid: u8,
    id: u8,
    flags: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIoApic {
    id: u8,
    reserved: u8,
    address: U32,
    gsi_base: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOverride {
    bus: u8,
    source: u8,
    gsi: U32,
    flags: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAddressOverride {
    reserved: U16,
    address: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawX2Apic {
    reserved: U16,
    id: U32,
    flags: U32,
    uid: U32,
}

/// A processor's local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalApic {
    /// The APIC ID that interrupts are sent to.
    pub id: u32,
    /// The processor's number in the ACPI name space.
    pub uid: u32,
    /// Whether the processor can be used.
    pub enabled: bool,
    /// Whether firmware described it as an x2APIC.
    pub x2apic: bool,
}

/// An I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApic {
    /// Its ID, as in the DMAR table's enumeration IDs.
    pub id: u8,
    /// Physical address of its registers.
    pub address: u32,
    /// The global system interrupt of its pin 0.
    pub gsi_base: u32,
}

/// How a pin signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As the source's bus does it (ISA: edge).
    Bus,
    /// By an edge.
    Edge,
    /// By a level.
    Level,
}

/// Which level means a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// As the source's bus does it (ISA: high).
    Bus,
    /// High.
    High,
    /// Low.
    Low,
}

/// An ISA interrupt that isn't wired to the global system interrupt of the same number, or not in the ISA way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// The ISA interrupt.
    pub source: u8,
    /// The global system interrupt that it is.
    pub gsi: u32,
    /// How it signals.
    pub trigger: Trigger,
    /// Its active level.
    pub polarity: Polarity,
}

/// An entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadtEntry {
    /// A processor.
    LocalApic(LocalApic),
    /// An I/O APIC.
    IoApic(IoApic),
    /// A rewired ISA interrupt.
    Override(InterruptOverride),
    /// The 64-bit physical address of the local APICs, which replaces the one of the table's fixed part.
    LocalApicAddress(u64),
    /// Anything else.
    Other {
        /// Its type number.
        kind: u8,
    },
}

/// The multiple APIC description table, all of whose entries have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Madt<'a> {
    local_apic: u32,
    flags: u32,
    entries: &'a [u8],
}

const ENTRIES_AT: usize = HEADER_BYTES + size_of::<Fixed>();

impl<'a> Madt<'a> {
    /// Checks a table and all its entries.
    pub fn parse(bytes: &'a [u8]) -> Result<Madt<'a>, Error> {
        let table = Table::parse(Signature::MADT, bytes)?;
        let (fixed, entries) = table.fixed::<Fixed>()?;
        let mut offset = 0;
        while offset < entries.len() {
            offset += entry(entries, offset)?.1;
        }
        Ok(Madt { local_apic: fixed.local_apic.get(), flags: fixed.flags.get(), entries })
    }

    /// The entries in firmware's order.
    pub fn entries(&self) -> impl Iterator<Item = MadtEntry> + 'a {
        let entries = self.entries;
        let mut offset = 0;
        core::iter::from_fn(move || {
            let (found, length) = entry(entries, offset).ok()?;
            offset += length;
            Some(found)
        })
    }

    /// Physical address of the local APICs' registers.
    pub fn local_apic_address(&self) -> u64 {
        let replaced = self.entries().find_map(|entry| match entry {
            MadtEntry::LocalApicAddress(address) => Some(address),
            _ => None,
        });
        replaced.unwrap_or(u64::from(self.local_apic))
    }

    /// Whether the machine also has a pair of 8259s, which must be masked.
    pub fn has_8259(&self) -> bool {
        self.flags & 1 != 0
    }

    /// The processors' local APICs.
    pub fn local_apics(&self) -> impl Iterator<Item = LocalApic> + 'a {
        self.entries().filter_map(|entry| match entry {
            MadtEntry::LocalApic(apic) => Some(apic),
            _ => None,
        })
    }

    /// The I/O APICs.
    pub fn io_apics(&self) -> impl Iterator<Item = IoApic> + 'a {
        self.entries().filter_map(|entry| match entry {
            MadtEntry::IoApic(apic) => Some(apic),
            _ => None,
        })
    }

    /// The rewired ISA interrupts.
    pub fn overrides(&self) -> impl Iterator<Item = InterruptOverride> + 'a {
        self.entries().filter_map(|entry| match entry {
            MadtEntry::Override(rewired) => Some(rewired),
            _ => None,
        })
    }

    /// The global system interrupt of the ISA interrupt `source`, and how it signals.
    pub fn isa_interrupt(&self, source: u8) -> InterruptOverride {
        self.overrides().find(|rewired| rewired.source == source).unwrap_or(InterruptOverride {
            source,
            gsi: u32::from(source),
            trigger: Trigger::Edge,
            polarity: Polarity::High,
        })
    }
}

/// The entry at `offset` and its length.
fn entry(entries: &[u8], offset: usize) -> Result<(MadtEntry, usize), Error> {
    let left = entries.get(offset..).unwrap_or(&[]);
    let bad = |length: usize| Error::BadEntry {
        table: Signature::MADT,
        offset: ENTRIES_AT + offset,
        length,
        available: left.len(),
    };
    let &[kind, length, ..] = left else { return Err(bad(left.len())) };
    let length = usize::from(length);
    let body = left.get(2..length).ok_or(bad(length))?;
    let found = match kind {
        0 => {
            let raw = overlay::<RawLocalApic>(body).ok_or(bad(length))?;
            MadtEntry::LocalApic(LocalApic {
                id: u32::from(raw.id),
                uid: u32::from(raw.uid),
                enabled: raw.flags.get() & 1 != 0,
                x2apic: false,
            })
        }
        1 => {
            let raw = overlay::<RawIoApic>(body).ok_or(bad(length))?;
            MadtEntry::IoApic(IoApic { id: raw.id, address: raw.address.get(), gsi_base: raw.gsi_base.get() })
        }
        2 => {
            let raw = overlay::<RawOverride>(body).ok_or(bad(length))?;
            MadtEntry::Override(rewired(raw))
        }
        5 => {
            let raw = overlay::<RawAddressOverride>(body).ok_or(bad(length))?;
            MadtEntry::LocalApicAddress(raw.address.get())
        }
        9 => {
            let raw = overlay::<RawX2Apic>(body).ok_or(bad(length))?;
            MadtEntry::LocalApic(LocalApic {
                id: raw.id.get(),
                uid: raw.uid.get(),
                enabled: raw.flags.get() & 1 != 0,
                x2apic: true,
            })
        }
        kind => MadtEntry::Other { kind },
    };
    Ok((found, length))
}

fn overlay<T: FromBytes + KnownLayout + Immutable + Unaligned>(body: &[u8]) -> Option<&T> {
    T::ref_from_prefix(body).ok().map(|(raw, _)| raw)
}

/// MPS INTI flags (ACPI 6.5, table 5.26).
fn rewired(raw: &RawOverride) -> InterruptOverride {
    let flags = raw.flags.get();
    InterruptOverride {
        source: raw.source,
        gsi: raw.gsi.get(),
        polarity: match flags & 3 {
            1 => Polarity::High,
            3 => Polarity::Low,
            _ => Polarity::Bus,
        },
        trigger: match flags >> 2 & 3 {
            1 => Trigger::Edge,
            3 => Trigger::Level,
            _ => Trigger::Bus,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::table;

    fn qemu() -> Vec<u8> {
        let mut body = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
        body.extend_from_slice(&[0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend_from_slice(&[0, 8, 1, 1, 0, 0, 0, 0]);
        body.extend_from_slice(&[1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend_from_slice(&[2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        body.extend_from_slice(&[2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0]);
        body.extend_from_slice(&[4, 6, 0xff, 0, 0, 1]);
        body.extend_from_slice(&[9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
        table(*b"APIC", &body)
    }

    #[test]
    fn all_entries_are_read() {
        let bytes = qemu();
        let madt = Madt::parse(&bytes).unwrap();
        assert_eq!(madt.local_apic_address(), 0xfee0_0000);
        assert!(madt.has_8259());
        let apics: Vec<_> = madt.local_apics().collect();
        assert_eq!(apics.len(), 3);
        assert!(apics[0].enabled && !apics[1].enabled);
        assert_eq!(apics[2], LocalApic { id: 300, uid: 7, enabled: true, x2apic: true });
        assert_eq!(madt.io_apics().next().unwrap(), IoApic { id: 0, address: 0xfec0_0000, gsi_base: 0 });
        assert_eq!(madt.isa_interrupt(0).gsi, 2);
        let sci = madt.isa_interrupt(9);
        assert_eq!((sci.gsi, sci.trigger, sci.polarity), (9, Trigger::Level, Polarity::High));
        assert_eq!(madt.isa_interrupt(4).gsi, 4);
        assert!(madt.entries().any(|e| e == MadtEntry::Other { kind: 4 }));
    }

    #[test]
    fn an_address_entry_replaces_the_fixed_address() {
        let mut body = vec![0, 0, 0xe0, 0xfe, 0, 0, 0, 0];
        body.extend_from_slice(&[5, 12, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let bytes = table(*b"APIC", &body);
        assert_eq!(Madt::parse(&bytes).unwrap().local_apic_address(), 0x1_0000_0000);
    }

    #[test]
    fn bad_lengths_are_errors_that_say_where() {
        for (kind, length) in
            [(0u8, 0u8), (0, 1), (0, 7), (1, 11), (2, 9), (9, 15), (5, 11), (200, 1), (0, 200)]
        {
            let mut body = vec![0; 8];
            body.extend_from_slice(&[kind, length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let error = Madt::parse(&table(*b"APIC", &body)).unwrap_err();
            assert!(matches!(error, Error::BadEntry { offset: 44, .. }), "{kind} {length}: {error}");
        }
        let mut body = vec![0; 8];
        body.push(0);
        assert!(Madt::parse(&table(*b"APIC", &body)).is_err());
        assert!(Madt::parse(&table(*b"APIC", &[0; 7])).is_err());
    }
}
