// SPDX-License-Identifier: MIT OR Apache-2.0
//! A unit's invalidation queue (VT-d specification, section 6.5.2).

use ::vtd::descriptor::{DESCRIPTOR_BYTES, Descriptor};
use ::vtd::registers::{FaultStatus, Global, QUEUE_DESCRIPTORS, offset, queue_address, queue_tail};

use super::memory;
use super::registers::{Registers, Stuck};

/// What a wait descriptor writes.
const DONE: u32 = 1;

/// The queue: one frame of descriptors, and 8 bytes that a wait writes to.
pub struct Queue {
    frame: u64,
    status: u64,
    /// The next free descriptor, counted without wrapping.
    tail: u64,
    /// Descriptors since the last wait. All before it have completed, so there is always room.
    pending: u64,
}

impl Queue {
    /// Switches a unit's queue on, in the fresh frame at `frame`. `status` is the physical address of 8 bytes. A queue of
    /// firmware's ends, and the errors that it had.
    pub fn start(registers: &Registers, frame: u64, status: u64) -> Result<Queue, Stuck> {
        if registers.status().contains(Global::QUEUE) {
            registers.clear(Global::QUEUE)?;
        }
        registers.write32(offset::FAULT_STATUS, FaultStatus::QUEUE_ERRORS.bits());
        registers.write64(offset::QUEUE_TAIL, 0);
        registers.write64(offset::QUEUE_ADDRESS, queue_address(frame));
        registers.set(Global::QUEUE)?;
        Ok(Queue { frame, status, tail: 0, pending: 0 })
    }

    /// Appends a descriptor, which the unit doesn't see before [`Queue::wait`].
    pub fn submit(&mut self, descriptor: Descriptor) {
        assert!(self.pending < QUEUE_DESCRIPTORS - 2, "the IOMMU's invalidation queue is full");
        let at = self.frame + (self.tail % QUEUE_DESCRIPTORS) * DESCRIPTOR_BYTES;
        let [low, high] = descriptor.encode();
        memory::store(at, low);
        memory::store(at + 8, high);
        self.tail += 1;
        self.pending += 1;
    }

    /// Returns when all that was submitted has completed.
    ///
    /// # Panics
    /// If the unit reports an error of its queue: what was to be forgotten may still be cached, and nothing that it
    /// leads to could ever be used again. Only broken hardware gets there.
    pub fn wait(&mut self, registers: &Registers) {
        memory::store(self.status, 0);
        self.submit(Descriptor::Wait { address: self.status, data: DONE });
        registers.write64(offset::QUEUE_TAIL, queue_tail(self.tail));
        while memory::load(self.status) as u32 != DONE {
            let error = registers.fault_status().intersection(FaultStatus::QUEUE_ERRORS);
            assert!(error.is_empty(), "the IOMMU's invalidation queue stopped: {error:?}");
            core::hint::spin_loop();
        }
        self.pending = 0;
    }
}
