// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domains against a kernel made of sets.

use super::*;
use sel4_abi::Error as Kern;
use std::collections::{BTreeMap, BTreeSet};

/// A kernel with four levels of tables over 2 MiB leaves: a root, and one for each 512 GiB and each GiB.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) slots: BTreeMap<u64, &'static str>,
    pub(crate) context: BTreeMap<u16, u64>,
    spaces: BTreeMap<u64, u16>,
    tables: BTreeMap<u64, (u64, u64)>,
    levels: BTreeSet<(u64, u64, u64)>,
    frames: BTreeMap<u64, (u64, u64)>,
    pub(crate) entries: BTreeMap<u64, (u16, u8, u16)>,
    /// Handlers of pins: which pin, and the number.
    pub(crate) pins: BTreeMap<u64, (u8, u8)>,
    /// Remapping entries that the kernel has taken itself.
    reserved: BTreeSet<u16>,
    uncovered: Option<RequesterId>,
    blocked: BTreeSet<u64>,
    pub(crate) calls: usize,
    fail_at: Option<usize>,
    /// The server dies before this call.
    pub(crate) die_at: Option<usize>,
}

impl Fake {
    fn call(&mut self) -> Result<(), Kern> {
        self.calls += 1;
        assert!(self.die_at != Some(self.calls), "the server dies");
        if self.fail_at == Some(self.calls) { Err(Kern::NotEnoughMemory) } else { Ok(()) }
    }
    fn level(&self, space: u64, iova: u64) -> Option<(u64, u64, u64)> {
        let wanted = [(space, 0, 0), (space, 1, iova >> 39), (space, 2, iova >> 30)];
        wanted.into_iter().find(|level| !self.levels.contains(level))
    }
}

impl Kernel for Fake {
    fn mint_io_space(&mut self, slot: u64, domain: u16, requester: RequesterId) -> Result<(), Kern> {
        self.call()?;
        if self.uncovered == Some(requester) {
            return Err(Kern::InvalidCapability);
        }
        assert!(domain > 0 && self.slots.insert(slot, "space").is_none());
        self.spaces.insert(slot, requester.0);
        Ok(())
    }
    fn clear(&mut self, io_space: u64) -> Result<(), Kern> {
        self.call()?;
        let requester = self.spaces[&io_space];
        self.context.remove(&requester);
        self.levels.retain(|(space, ..)| *space != io_space);
        Ok(())
    }
    fn map_table(&mut self, table: u64, io_space: u64, iova: u64) -> Result<(), Kern> {
        self.call()?;
        assert!(self.tables.insert(table, (io_space, iova)).is_none(), "a table is mapped once");
        let level = self.level(io_space, iova).ok_or(Kern::DeleteFirst)?;
        self.context.insert(self.spaces[&io_space], io_space);
        self.levels.insert(level);
        Ok(())
    }
    fn unmap_table(&mut self, table: u64) -> Result<(), Kern> {
        self.call()?;
        self.tables.remove(&table);
        Ok(())
    }
    fn map_frame(&mut self, io_space: u64, frame: u64, iova: u64) -> Result<(), Kern> {
        self.call()?;
        if self.level(io_space, iova).is_some() {
            return Err(Kern::FailedLookup);
        }
        if self.frames.insert(frame, (io_space, iova)).is_some() {
            return Err(Kern::IllegalOperation);
        }
        Ok(())
    }
    fn unmap_frame(&mut self, frame: u64) -> Result<(), Kern> {
        self.call()?;
        self.frames.remove(&frame);
        Ok(())
    }
    fn make_handler(
        &mut self,
        slot: u64,
        requester: RequesterId,
        handle: u16,
        vector: u8,
    ) -> Result<(), Kern> {
        self.call()?;
        if self.reserved.contains(&handle) {
            return Err(Kern::RevokeFirst);
        }
        assert!((FIRST_VECTOR..=LAST_VECTOR).contains(&vector));
        assert!(self.entries.values().all(|(h, v, _)| *h != handle && *v != vector));
        assert!(self.slots.insert(slot, "handler").is_none());
        self.entries.insert(slot, (handle, vector, requester.0));
        Ok(())
    }
    fn make_line(&mut self, slot: u64, pin: Pin, number: u8) -> Result<(), Kern> {
        self.call()?;
        if pin.io_apic > 0 || pin.input > 23 {
            return Err(Kern::RangeError);
        }
        // Two are the system's own.
        if [4, 23].contains(&pin.input) || self.pins.values().any(|(taken, _)| *taken == pin.input) {
            return Err(Kern::RevokeFirst);
        }
        assert!((FIRST_LINE..=LAST_LINE).contains(&number));
        assert!(self.pins.values().all(|(_, taken)| *taken != number));
        assert!(self.slots.insert(slot, "handler").is_none());
        self.pins.insert(slot, (pin.input, number));
        Ok(())
    }
    fn block(&mut self, handler: u64, blocked: bool) -> Result<(), Kern> {
        assert_eq!(self.slots[&handler], "handler");
        self.call()?;
        if blocked {
            self.blocked.insert(handler)
        } else {
            self.blocked.remove(&handler)
        };
        Ok(())
    }
    fn copy(&mut self, to: u64, from: u64) -> Result<(), Kern> {
        self.call()?;
        assert!(self.slots.contains_key(&from) && self.slots.insert(to, "copy").is_none());
        Ok(())
    }
    fn destroy(&mut self, slot: u64) -> Result<(), Kern> {
        self.call()?;
        match self.slots.remove(&slot) {
            // The copies go as well.
            Some("handler") => {
                self.slots.remove(&(slot + 1000));
                self.entries.remove(&slot);
                self.pins.remove(&slot);
            }
            // The end of an I/O space empties its context entry.
            Some("space") => {
                self.context.retain(|_, space| *space != slot);
                self.levels.retain(|(space, ..)| *space != slot);
            }
            _ => {}
        }
        Ok(())
    }
}

pub(crate) fn holding(vm: u16, device: u8) -> Holding {
    let base = 0x1_0000 * (1 + u64::from(vm)) + 0x2000 * u64::from(device);
    Holding {
        vm,
        device,
        domain: 1 + vm * 8 + u16::from(device),
        io_space: 0x100 + u64::from(vm) * 8 + u64::from(device),
        tables: Caps { first: base, count: 4 },
        ram: Vec::from_slice(&[RamRun { first: base + 0x100, count: 32, size_bits: 21, base: 0 }]).unwrap(),
        handlers: Caps { first: base + 0x1000, count: 8 },
        copies: Caps { first: base + 0x1000 + 1000, count: 8 },
        pin: None,
    }
}

pub(crate) fn domains(entries: u32) -> Domains<Fake> {
    let features = Features { dma_remapping: true, interrupt_remapping: entries > 0, entries };
    let mut domains = Domains::new(Fake::default(), features, 1);
    for (vm, device) in [(0, 0), (0, 1), (1, 0)] {
        assert!(domains.add(holding(vm, device)));
    }
    domains
}

pub(crate) const NIC: RequesterId = RequesterId(0x100);

pub(crate) fn attach(vm: u16, device: u8, requester: RequesterId) -> Attach {
    Attach { vm, device, requester }
}

#[test]
fn all_ram_and_nothing_else_is_mapped_at_its_guest_address() {
    let mut d = domains(256);
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    let mapped: std::vec::Vec<_> = d.kernel.frames.iter().map(|(f, (s, i))| (*f, *s, *i)).collect();
    let expected: std::vec::Vec<_> = (0..32).map(|n| (0x1_0100 + n, 0x100, n << 21)).collect();
    assert_eq!(mapped, expected);
    assert_eq!(d.kernel.tables.len(), 3);
}

#[test]
fn a_requester_has_one_domain() {
    let mut d = domains(256);
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    assert_eq!(d.attach(attach(0, 0, NIC)), Err(Error::AlreadyAttached));
    assert_eq!(d.attach(attach(1, 0, NIC)), Err(Error::RequesterTaken));
    assert_eq!(d.attach(attach(1, 1, NIC)), Err(Error::NoSuchDevice));
    assert_eq!(d.owner(NIC), Some(0));
    assert!(!d.is_firmwares(NIC) && d.is_firmwares(RequesterId(0x0700)));
    assert_eq!(d.detach(Detach { vm: 0, device: 0 }), Ok(()));
    assert_eq!(d.owner(NIC), Some(0), "a late fault is still its");
    assert_eq!(d.attach(attach(1, 0, NIC)), Ok(()));
}

#[test]
fn detach_leaves_nothing_and_attach_works_again() {
    let mut d = domains(256);
    for _ in 0..3 {
        assert_eq!(d.attach(attach(0, 1, NIC)), Ok(()));
        assert_eq!(d.grant(Vectors { vm: 0, device: 1, count: 3 }), Ok(Granted::Remapped { first: 0 }));
        assert_eq!(d.kernel.entries.len(), 3);
        assert_eq!(d.detach(Detach { vm: 0, device: 1 }), Ok(()));
        assert!(d.kernel.slots.is_empty() && d.kernel.context.is_empty() && d.kernel.entries.is_empty());
        assert_eq!(d.detach(Detach { vm: 0, device: 1 }), Ok(()), "twice does no harm");
    }
}

#[test]
fn entries_that_the_kernel_has_are_skipped_and_blocks_stay_aligned() {
    let mut d = domains(256);
    d.kernel.reserved = (0..24).collect();
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    assert_eq!(d.grant(Vectors { vm: 0, device: 0, count: 5 }), Ok(Granted::Remapped { first: 24 }));
    let handles: std::vec::Vec<_> = d.kernel.entries.values().map(|(h, _, r)| (*h, *r)).collect();
    assert_eq!(handles, (24..29).map(|h| (h, 0x100)).collect::<std::vec::Vec<_>>());
    assert_eq!(d.block(Block { vm: 0, device: 0, blocked: true }), Ok(()));
    assert_eq!(d.block(Block { vm: 0, device: 1, blocked: true }), Err(Error::NotAttached));
}

#[test]
fn a_device_in_quarantine_has_neither_memory_nor_messages_but_can_come_back() {
    let mut d = domains(256);
    assert_eq!(d.quarantine(NIC), Ok(false), "it has no domain");
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    assert_eq!(d.attach(attach(0, 1, RequesterId(0x200))), Ok(()));
    for device in [0, 1] {
        assert!(d.grant(Vectors { vm: 0, device, count: 2 }).is_ok());
    }
    assert_eq!(d.quarantine(NIC), Ok(true));
    assert_eq!(d.kernel.context.keys().copied().collect::<std::vec::Vec<_>>(), [0x200]);
    let first = holding(0, 0).handlers.first;
    assert_eq!(d.kernel.blocked, BTreeSet::from([first, first + 1]));
    assert_eq!(d.quarantine(NIC), Ok(true), "once more changes nothing");
    assert_eq!(d.detach(Detach { vm: 0, device: 0 }), Ok(()));
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    assert!(d.kernel.context.contains_key(&0x100));
    // Whatever fails, the domain is emptied.
    assert!(d.grant(Vectors { vm: 0, device: 0, count: 2 }).is_ok());
    d.kernel.fail_at = Some(d.kernel.calls + 1);
    assert!(d.quarantine(NIC).is_err());
    assert!(!d.kernel.context.contains_key(&0x100));
}

#[test]
fn without_remapping_the_vector_is_told() {
    let mut d = domains(0);
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    assert_eq!(d.grant(Vectors { vm: 0, device: 0, count: 1 }), Ok(Granted::Plain { first: 0x40 }));
}

#[test]
fn what_can_t_be_is_an_error() {
    let mut d = domains(256);
    let vectors = |count| Vectors { vm: 0, device: 0, count };
    assert_eq!(d.grant(vectors(1)), Err(Error::NotAttached));
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    for count in [0, 9, u16::MAX] {
        assert_eq!(d.grant(vectors(count)), Err(Error::BadRange));
    }
    assert_eq!(d.grant(vectors(8)), Ok(Granted::Remapped { first: 0 }));
    assert_eq!(d.grant(vectors(8)), Err(Error::AlreadyAttached));
    let mut d = domains(256);
    d.devices[0].holding.tables.count = 2;
    assert_eq!(d.attach(attach(0, 0, NIC)), Err(Error::NotEnoughTables));
    assert!(d.kernel.context.is_empty() && d.kernel.slots.is_empty(), "half a domain is none");
    d.features.dma_remapping = false;
    assert_eq!(d.attach(attach(0, 0, NIC)), Err(Error::NoIommu));
    let mut d = domains(4);
    assert_eq!(d.attach(attach(0, 0, NIC)), Ok(()));
    assert_eq!(d.grant(vectors(5)), Err(Error::NoVectors));
    assert_eq!(d.grant(vectors(4)), Ok(Granted::Remapped { first: 0 }));
}

#[test]
fn probing_leaves_nothing_behind() {
    let mut d = domains(256);
    d.kernel.uncovered = Some(RequesterId(0x4000));
    let probe = |requester| Probe { segment: 0, requester };
    assert!(d.probe(probe(NIC)).covered);
    assert!(!d.probe(probe(RequesterId(0x4000))).covered);
    assert!(!d.probe(Probe { segment: 1, requester: NIC }).covered);
    assert!(d.kernel.slots.is_empty());
    assert_eq!(d.attach(attach(0, 0, RequesterId(0x4000))), Err(Error::NotCovered));
    d.features.dma_remapping = false;
    assert!(!d.probe(probe(NIC)).covered);
}

/// Whichever call of the kernel fails: no panic, and after the next detachment everything is free again.
#[test]
fn every_failure_is_survived() {
    for fail_at in 1..90 {
        let mut d = domains(256);
        d.kernel.fail_at = Some(fail_at);
        let attached = d.attach(attach(0, 0, NIC));
        if attached.is_ok() {
            let _ = d.grant(Vectors { vm: 0, device: 0, count: 4 });
        }
        let _ = d.detach(Detach { vm: 0, device: 0 });
        d.kernel.fail_at = None;
        assert_eq!(d.detach(Detach { vm: 0, device: 0 }), Ok(()), "{fail_at}");
        assert!(d.kernel.context.is_empty(), "{fail_at}");
    }
}

/// Devices with lines at these inputs, one for each VM.
pub(crate) fn lines(inputs: &[u8]) -> Domains<Fake> {
    let features = Features { dma_remapping: true, interrupt_remapping: true, entries: 256 };
    let mut domains = Domains::new(Fake::default(), features, 1);
    for (vm, &input) in inputs.iter().enumerate() {
        let pin = (input != 255).then_some(Pin { io_apic: 0, input });
        assert!(domains.add(Holding { pin, ..holding(vm as u16, 0) }));
    }
    domains
}

#[test]
fn a_line_is_had_once_and_given_back() {
    use protocol::iommu::{Line, ProbeLine};
    let mut d = lines(&[20, 20, 23, 24, 255]);
    let line = |vm| Line { vm, device: 0 };
    assert_eq!(d.grant_line(line(0)), Err(Error::NotAttached));
    let ends = [Ok(()), Ok(()), Err(Error::PinTaken), Err(Error::NoSuchPin), Err(Error::NoLine)];
    for (vm, end) in ends.into_iter().enumerate() {
        assert_eq!(d.probe_line(ProbeLine { vm: vm as u16, device: 0 }), end);
        assert!(d.kernel.slots.is_empty() && d.kernel.pins.is_empty());
        let requester = RequesterId(0x100 + vm as u16);
        assert_eq!(d.attach(attach(vm as u16, 0, requester)), Ok(()));
        d.detach(Detach { vm: vm as u16, device: 0 }).unwrap();
    }
    assert_eq!(d.probe_line(ProbeLine { vm: 9, device: 0 }), Err(Error::NoSuchDevice));
    for _ in 0..30 {
        d.attach(attach(0, 0, NIC)).unwrap();
        d.attach(attach(1, 0, RequesterId(0x200))).unwrap();
        assert_eq!(d.grant_line(line(0)), Ok(()));
        assert_eq!(d.grant_line(line(0)), Err(Error::AlreadyAttached));
        assert_eq!(d.grant(Vectors { vm: 0, device: 0, count: 1 }), Err(Error::AlreadyAttached));
        assert_eq!(d.grant_line(line(1)), Err(Error::PinTaken));
        assert_eq!(d.kernel.pins.len(), 1);
        // A quarantine has nothing to block: it is the device that is told to be silent.
        assert_eq!(d.quarantine(NIC), Ok(true));
        assert!(d.kernel.blocked.is_empty());
        for vm in [0, 1] {
            d.detach(Detach { vm, device: 0 }).unwrap();
        }
        assert!(d.kernel.slots.is_empty() && d.kernel.pins.is_empty());
    }
}

#[test]
fn a_line_that_can_t_be_handed_out_is_given_back() {
    use protocol::iommu::Line;
    let mut d = lines(&[20]);
    d.attach(attach(0, 0, NIC)).unwrap();
    d.kernel.fail_at = Some(d.kernel.calls + 2);
    assert!(matches!(d.grant_line(Line { vm: 0, device: 0 }), Err(Error::Kernel(_))));
    assert!(d.kernel.pins.is_empty());
    assert_eq!(d.grant_line(Line { vm: 0, device: 0 }), Ok(()));
}
