// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a check of DMA has: the two devices, a page that the check sees, faults.

use kernel_tests::{Env, Failure, Outcome, check, check_eq, space};
use sel4::abi::bootinfo;
use sel4::init_thread::{Slot, slot};
use sel4::{CapRights, DmaFaultRecord, IOSpaceCapData, VmAttributes, cap, cap_type};

use kernel_tests::env::at;

use kernel_tests::edu::{Config, DeviceMemory, Edu};

/// Where the check maps things of its own.
const BASE: usize = 0x80_0000_0000;
const PAGE: usize = BASE;
const FIRST: usize = BASE + 0x1000;
const SECOND: usize = BASE + 0x2000;

/// Where the devices see the page.
pub const IOVA: u64 = 0x1234_5000;
/// The domain ID that the checks use.
pub const DOMAIN: u16 = 5;
/// Read and write.
pub const RW: CapRights = CapRights::read_write();

/// Reason codes of VT-d (section 7.1.3 of its specification).
pub mod reason {
    /// The context entry is absent.
    pub const NO_CONTEXT: u64 = 2;
    /// Not mapped for writing.
    pub const NO_WRITE: u64 = 5;
    /// Not mapped for reading.
    pub const NO_READ: u64 = 6;
}

/// The laboratory.
pub struct Lab {
    /// The device at 01:00.0.
    pub edu: Edu,
    /// The device at 02:00.0.
    pub other: Edu,
    /// Device memory, of which the registers of both were cut.
    pub devices: DeviceMemory,
    /// The page; this capability is mapped in the check's address space.
    pub page: cap::Granule,
    /// Its physical address.
    pub paddr: u64,
    /// DMA-fault control.
    pub faults: cap::DmaFault,
    /// Told of faults.
    pub told: cap::Notification,
}

impl Lab {
    /// Takes the devices and forgets old faults.
    pub fn new(env: &mut Env) -> Outcome<Self> {
        let extensions = env.bootinfo.extensions().unwrap_or_default();
        if extensions.features & bootinfo::FEATURE_DMA_REMAPPING == 0 {
            return Err(Failure::skip("no DMA remapping"));
        }
        space::map_tables(env, slot::VSPACE.cap(), BASE)?;
        let config = Config::open(env)?;
        let mut devices = DeviceMemory::default();
        let edu = Edu::take(env, &mut devices, config, 1, FIRST)?;
        let other = Edu::take(env, &mut devices, config, 2, SECOND)?;
        let page: cap::Granule = env.make()?;
        page.frame_map(slot::VSPACE.cap(), PAGE, RW, VmAttributes::DEFAULT)?;
        let paddr = page.frame_get_address()? as u64;
        let faults: cap::DmaFault = Slot::from_index(extensions.dma_fault_slot as usize).cap();
        let told: cap::Notification = env.make()?;
        let told = env.mint(told, CapRights::all(), 1)?;
        faults.dma_fault_set_notification(told)?;
        while faults.dma_fault_read()?.requester.is_some() {}
        told.poll();
        Ok(Self { edu, other, devices, page, paddr, faults, told })
    }

    /// Word `i` of the page.
    pub fn word(&self, i: usize) -> u64 {
        let at = (PAGE + 8 * i) as *const u64;
        // SAFETY: the page is mapped there; a device may write it meanwhile.
        unsafe { at.read_volatile() }
    }

    /// Sets word `i` of the page.
    pub fn set_word(&self, i: usize, value: u64) {
        let at = (PAGE + 8 * i) as *mut u64;
        // SAFETY: as in `word`.
        unsafe { at.write_volatile(value) };
    }

    /// An I/O space of this requester under a domain ID.
    pub fn io_space(&self, env: &mut Env, requester: u16, domain: u16) -> Outcome<cap::IOSpace> {
        let data = IOSpaceCapData::new(domain, requester).into_word();
        env.mint(slot::IO_SPACE.cap(), CapRights::all(), data)
    }

    /// The first device's I/O space with all tables for `iova`.
    pub fn space_with_tables(&self, env: &mut Env, iova: u64) -> Outcome<cap::IOSpace> {
        let io_space = self.io_space(env, self.edu.requester(), DOMAIN)?;
        map_tables(env, io_space, iova)?;
        Ok(io_space)
    }

    /// A copy of the page's capability, which can be mapped in an I/O space.
    pub fn page_copy(&self, env: &mut Env) -> Outcome<cap::Granule> {
        env.copy(self.page, CapRights::all())
    }

    /// The page at [`IOVA`] of the first device, by a copy of its capability.
    pub fn mapped(&self, env: &mut Env) -> Outcome<(cap::IOSpace, cap::Granule)> {
        let io_space = self.space_with_tables(env, IOVA)?;
        let copy = self.page_copy(env)?;
        io_space.io_space_map_frame(copy, RW, IOVA as usize)?;
        Ok((io_space, copy))
    }

    /// Waits for the event of a fault and takes its record, which must be the only one.
    #[track_caller]
    pub fn fault(&self, env: &Env) -> Outcome<DmaFaultRecord> {
        env.wait_until(2_000_000, || self.told.poll() == 1)?;
        let record = self.faults.dma_fault_read()?;
        check!(record.requester.is_some(), "a signal without a fault");
        check_eq!(self.faults.dma_fault_read()?.requester, None, "the next requester");
        Ok(record)
    }

    /// Fails if there has been a fault.
    #[track_caller]
    pub fn no_fault(&self) -> Outcome {
        let record = self.faults.dma_fault_read()?;
        check!(record.requester.is_none(), "an unexpected fault: {record:x?}");
        Ok(())
    }

    /// Lets the first device write the page at `iova`, which must be refused.
    #[track_caller]
    pub fn expect_refusal(&self, env: &Env, iova: u64, reason: u64) -> Outcome {
        const CANARY: u64 = 0xca_9a_27_ca_9a_27;
        self.set_word(0, CANARY);
        self.edu.write_memory(env, iova, 64)?;
        let fault = self.fault(env)?;
        check_eq!(fault.requester, Some(self.edu.requester()), "the fault's requester");
        check_eq!((fault.iova, fault.read), (iova & !0xfff, false), "the fault's address and direction");
        check_eq!(fault.reason, reason, "the fault's reason");
        check_eq!(self.word(0), CANARY, "memory after refused DMA");
        Ok(())
    }
}

/// Maps all tables for `iova`.
pub fn map_tables(env: &mut Env, io_space: cap::IOSpace, iova: u64) -> Outcome {
    for _ in 0..env.bootinfo.io_pt_levels().unwrap_or(0) {
        let table: cap::IOPageTable = env.make()?;
        table.iopt_map(io_space, iova as usize)?;
    }
    Ok(())
}

/// Deletes a capability.
pub fn delete<T: sel4::CapType>(cap: sel4::Cap<T>) -> Outcome {
    Ok(at(cap).delete()?)
}

/// Deletes everything derived from an untyped.
pub fn revoke(untyped: sel4::Cap<cap_type::Untyped>) -> Outcome {
    Ok(at(untyped).revoke()?)
}
