// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the part was given: the start page, read.

use protocol::start::{Extensions, Facts, Range, RangeKind, StartError, StartPage};
use sel4::{Cap, CapType};
use serde::de::DeserializeOwned;

use crate::GuestMemory;
use crate::mmio::Region;

/// Capabilities at fixed addresses.
pub mod slot {
    use protocol::start::slot;
    use sel4::cap;

    /// The part's thread.
    pub const TCB: cap::Tcb = cap::Tcb::from_bits(slot::TCB);
    /// Its root CNode: every capability address resolves in it at depth 64.
    pub const CNODE: cap::CNode = cap::CNode::from_bits(slot::CNODE);
    /// Its address space.
    pub const VSPACE: cap::VSpace = cap::VSpace::from_bits(slot::VSPACE);
    /// The root task's endpoint.
    pub const SUPERVISOR: cap::Endpoint = cap::Endpoint::from_bits(slot::SUPERVISOR);
    /// The endpoint that it serves.
    pub const SERVED: cap::Endpoint = cap::Endpoint::from_bits(slot::SERVED);
    /// Its reply object.
    pub const REPLY: cap::Reply = cap::Reply::from_bits(slot::REPLY);
    /// Its notification, bound to its thread.
    pub const NOTIFICATION: cap::Notification = cap::Notification::from_bits(slot::NOTIFICATION);
    /// Its untyped memory.
    pub const UNTYPED: cap::Untyped = cap::Untyped::from_bits(slot::UNTYPED);
    /// Its scheduling context.
    pub const SCHED_CONTEXT: cap::SchedContext = cap::SchedContext::from_bits(slot::SCHED_CONTEXT);
}

/// Everything that the root task told the part. There is one per process, and it can't be copied: what it hands out
/// once (registers, guest memory) exists once.
#[derive(Debug)]
pub struct Part {
    page: StartPage<'static>,
    restarts: u64,
    regions_taken: u128,
    memory_taken: bool,
    guest_memory_taken: bool,
    kept_taken: bool,
}

impl Part {
    /// Reads the start page.
    ///
    /// # Safety
    /// `address` is that of a start page of the root task's making: what its ranges say is mapped, stays so.
    pub(crate) unsafe fn at(address: usize, restarts: u64) -> Self {
        // SAFETY: the root task maps the whole region of `MAX_BYTES`, and nobody writes it any more.
        let bytes = unsafe { core::slice::from_raw_parts(address as *const u8, protocol::start::MAX_BYTES) };
        match StartPage::parse(bytes) {
            Ok(page) => Self {
                page,
                restarts,
                regions_taken: 0,
                memory_taken: false,
                guest_memory_taken: false,
                kept_taken: false,
            },
            // Without it there is neither a log nor anything else.
            Err(_) => crate::entry::fault(),
        }
    }

    /// How often this server has failed and was started anew. Its capabilities are those of the life before, wherever it left them; its
    /// memory is as at the first start.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The part's name.
    pub fn name(&self) -> &'static str {
        self.page.facts().name
    }

    /// Name, client number, clock, extensions.
    pub fn facts(&self) -> Facts<'static> {
        self.page.facts()
    }

    /// The kernel's extensions.
    pub fn extensions(&self) -> Extensions {
        self.page.facts().extensions
    }

    /// The part's configuration.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, StartError> {
        self.page.config()
    }

    /// All ranges.
    pub fn ranges(&self) -> &'static [Range] {
        self.page.ranges()
    }

    /// The ranges of one kind.
    pub fn all(&self, kind: RangeKind) -> impl Iterator<Item = &'static Range> + use<> {
        self.page.all(kind)
    }

    /// The first range of one kind.
    pub fn find(&self, kind: RangeKind) -> Option<&'static Range> {
        self.page.find(kind)
    }

    /// The first capability of the first range of one kind.
    pub fn cap<T: CapType>(&self, kind: RangeKind) -> Option<Cap<T>> {
        self.find(kind).filter(|range| range.count > 0).map(|range| Cap::from_bits(range.first))
    }

    /// The notification capability by which this part signals `client` (range `ClientNotifications`). Once the client has
    /// ended its slot is empty: a signal then is an invocation of nothing, which neither blocks nor faults.
    pub fn client_notification(&self, client: u64) -> Option<sel4::cap::Notification> {
        let range = self.find(RangeKind::ClientNotifications)?;
        let index = protocol::client::index(client)? as u64;
        (index < range.count).then(|| Cap::from_bits(range.first + index))
    }

    /// The registers of range `number` among those of kind `DeviceRegisters`. Each can be had once.
    pub fn registers(&mut self, number: usize) -> Option<Region> {
        let bit = 1u128.checked_shl(number as u32)?;
        if self.regions_taken & bit != 0 {
            return None;
        }
        let range = self.all(RangeKind::DeviceRegisters).nth(number).filter(|range| range.address != 0)?;
        self.regions_taken |= bit;
        let bytes = (range.bytes * range.count) as usize;
        // SAFETY: the start page says that the range is mapped; it is handed out once.
        unsafe { Region::new(range.address as usize, bytes, range.physical) }
    }

    /// The guest's RAM. It can be had once.
    pub fn guest_memory(&mut self) -> Option<GuestMemory> {
        let range = self.find(RangeKind::GuestRam).filter(|range| range.address != 0)?;
        if core::mem::replace(&mut self.guest_memory_taken, true) {
            return None;
        }
        // SAFETY: the start page says that the range is mapped; it is handed out once.
        Some(unsafe { GuestMemory::new(range.address as usize, range.bytes * range.count) })
    }

    /// The log rings that this part reads (console-server).
    pub fn log_rings(&self) -> &'static [protocol::ring::Ring] {
        let Some(range) = self.find(RangeKind::LogRings).filter(|range| range.address != 0) else {
            return &[];
        };
        // SAFETY: the start page says that so many rings are mapped there; a ring is all atomics, so others may
        // write it, and several references are no harm.
        unsafe {
            core::slice::from_raw_parts(range.address as *const protocol::ring::Ring, range.count as usize)
        }
    }

    /// Pages in which this server finds something again after its death. They can be had once.
    pub fn kept(&mut self) -> Option<&'static [core::sync::atomic::AtomicU8]> {
        let range = self.find(RangeKind::Kept).filter(|range| range.address != 0)?;
        let length = protocol::kept::bytes(self.facts().client);
        if core::mem::replace(&mut self.kept_taken, true) || range.bytes < length as u64 {
            return None;
        }
        // SAFETY: the start page says that so many bytes are mapped there, for this part alone; they are handed out once, and as atomics.
        Some(unsafe {
            core::slice::from_raw_parts(range.address as *const core::sync::atomic::AtomicU8, length)
        })
    }

    /// Slots and untyped memory of the part, and the addresses for what it maps itself. They can be had once.
    pub fn memory(&mut self) -> Option<crate::Memory> {
        if core::mem::replace(&mut self.memory_taken, true) {
            return None;
        }
        Some(crate::Memory::new(self.find(RangeKind::EmptySlots).copied().unwrap_or_default()))
    }
}
