// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two rings, each descriptor with a buffer of its own. Between head and tail they are the card's, the rest is the driver's.

use super::descriptor::{Descriptors, ENTRIES};
use alloc::boxed::Box;
use core::ptr::NonNull;
use guest_runtime::dma::Buffer;
use guest_runtime::mmio::Mmio;

/// Bytes of a buffer: what the card is told.
pub const BUFFER: usize = 2048;

/// Registers of a ring, from its first on.
mod register {
    pub const ADDRESS_LOW: usize = 0x00;
    pub const ADDRESS_HIGH: usize = 0x04;
    pub const BYTES: usize = 0x08;
    pub const HEAD: usize = 0x10;
    pub const TAIL: usize = 0x18;
}

/// Descriptors and buffers.
struct Memory {
    descriptors: Box<Descriptors>,
    buffers: NonNull<u8>,
}

impl Memory {
    fn new() -> Self {
        let (_, buffers) = Buffer::new(ENTRIES * BUFFER).into_raw();
        Self { descriptors: Box::new(Descriptors::empty()), buffers }
    }

    fn address(&self, index: usize) -> u64 {
        self.buffers.as_ptr() as u64 + (index * BUFFER) as u64
    }

    /// The first `bytes` of a buffer, at most all of it.
    ///
    /// # Safety
    /// The buffer is the driver's as long as the slice lives.
    unsafe fn buffer(&mut self, index: usize, bytes: usize) -> &mut [u8] {
        assert!(index < ENTRIES && bytes <= BUFFER, "beyond a ring's buffers");
        // SAFETY: inside the memory that `new` allocated for good; `self` is borrowed and, by this function's promise, the card stays away.
        unsafe { core::slice::from_raw_parts_mut(self.buffers.as_ptr().add(index * BUFFER), bytes) }
    }

    fn tell(&self, registers: &Mmio, first: usize) {
        let address = self.descriptors.0.as_ptr() as u64;
        registers.write32(first + register::ADDRESS_LOW, address as u32);
        registers.write32(first + register::ADDRESS_HIGH, (address >> 32) as u32);
        registers.write32(first + register::BYTES, size_of::<Descriptors>() as u32);
        registers.write32(first + register::HEAD, 0);
        registers.write32(first + register::TAIL, 0);
    }
}

/// Frames that come.
pub struct ReceiveRing {
    memory: Memory,
    /// The next descriptor that the card will be done with.
    next: usize,
    /// What `next` was when the card was told last; beyond the ring at first.
    told: usize,
}

impl ReceiveRing {
    /// All buffers offered.
    pub fn new() -> Self {
        let memory = Memory::new();
        for (index, descriptor) in memory.descriptors.0.iter().enumerate() {
            descriptor.offer(memory.address(index));
        }
        Self { memory, next: 0, told: ENTRIES }
    }

    /// Tells the card where the ring is, which at `first` has its registers.
    pub fn tell(&self, registers: &Mmio, first: usize) {
        self.memory.tell(registers, first);
    }

    /// Gives the card everything but the descriptor before `next`: a full ring would look empty. Nothing new, no write.
    pub fn ring_doorbell(&mut self, registers: &Mmio) {
        if core::mem::replace(&mut self.told, self.next) == self.next {
            return;
        }
        let last = (self.next + ENTRIES - 1) % ENTRIES;
        registers.write32(super::register::RECEIVE_RING + register::TAIL, last as u32);
    }

    /// Whether something came.
    pub fn has_frame(&self) -> bool {
        self.memory.descriptors.0[self.next].is_done()
    }

    /// The length of the next good frame in bytes; what is damaged or too long goes back unseen.
    pub fn frame(&mut self) -> Option<usize> {
        loop {
            let received = self.memory.descriptors.0[self.next].received()?;
            let bytes = usize::from(received.bytes);
            if received.good && bytes <= BUFFER {
                return Some(bytes);
            }
            self.give_back();
        }
    }

    /// The bytes of the frame whose length [`Self::frame`] gave; nothing if there is none.
    pub fn bytes(&mut self, bytes: usize) -> &[u8] {
        if !self.has_frame() {
            return &[];
        }
        // SAFETY: the card is done with this descriptor, and doesn't get it again before `give_back`, which needs `self`.
        unsafe { self.memory.buffer(self.next, bytes) }
    }

    /// Gives the buffer of the frame that was looked at back, from the next doorbell on.
    pub fn give_back(&mut self) {
        self.memory.descriptors.0[self.next].offer(self.memory.address(self.next));
        self.next = (self.next + 1) % ENTRIES;
    }
}

/// Frames that go.
pub struct TransmitRing {
    memory: Memory,
    /// The next descriptor to fill.
    next: usize,
    /// Descriptors before it that the card isn't known to be done with.
    under_way: usize,
    /// What `next` was when the card was told last.
    told: usize,
}

impl TransmitRing {
    /// Nothing to send.
    pub fn new() -> Self {
        Self { memory: Memory::new(), next: 0, under_way: 0, told: 0 }
    }

    /// Tells the card where the ring is, which at `first` has its registers.
    pub fn tell(&self, registers: &Mmio, first: usize) {
        self.memory.tell(registers, first);
    }

    /// Tells the card of everything that was sent since the last time; nothing, no write.
    pub fn ring_doorbell(&mut self, registers: &Mmio) {
        if core::mem::replace(&mut self.told, self.next) == self.next {
            return;
        }
        registers.write32(super::register::TRANSMIT_RING + register::TAIL, self.next as u32);
    }

    /// Whether a frame can be sent; one descriptor stays empty, since a full ring would look empty.
    pub fn has_room(&self) -> bool {
        self.under_way < ENTRIES - 1
    }

    fn oldest(&self) -> usize {
        (self.next + ENTRIES - self.under_way) % ENTRIES
    }

    /// Whether the card is done with a frame that isn't collected.
    pub fn has_sent(&self) -> bool {
        self.under_way > 0 && self.memory.descriptors.0[self.oldest()].is_done()
    }

    /// Takes back what has been sent.
    pub fn collect(&mut self) {
        while self.has_sent() {
            self.under_way -= 1;
        }
    }

    /// Has `body` fill a frame of `bytes`, which goes with the next doorbell.
    ///
    /// # Panics
    /// If there is no room, or the frame is longer than a buffer.
    pub fn send<R>(&mut self, bytes: usize, body: impl FnOnce(&mut [u8]) -> R) -> R {
        assert!(self.has_room(), "a frame without a buffer");
        let index = self.next;
        // SAFETY: fewer than all descriptors are under way, so this one is the driver's until the doorbell.
        let result = body(unsafe { self.memory.buffer(index, bytes) });
        self.memory.descriptors.0[index].send(self.memory.address(index), bytes as u16);
        self.next = (index + 1) % ENTRIES;
        self.under_way += 1;
        result
    }
}
