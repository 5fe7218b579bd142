// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtio queue with a fixed set of frame buffers, each either the driver's or the device's.

use super::hal::GuestHal;
use super::transport::PciTransport;
use alloc::boxed::Box;
use core::sync::atomic::{Ordering, fence};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Result};

/// Buffers, and descriptors, of a queue.
pub const SIZE: usize = 64;
/// Bytes of virtio's header before each frame (section 5.1.6; with VERSION_1 always twelve).
pub const HEADER: usize = 12;
/// Bytes of a buffer: header and the longest Ethernet frame, rounded up.
pub const BUFFER: usize = 1536;

/// Whether a frame's bytes come from the device or go to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The device writes.
    Receive,
    /// The device reads.
    Transmit,
}

/// A queue and its buffers.
pub struct Ring {
    queue: VirtQueue<GuestHal, SIZE>,
    index: u16,
    direction: Direction,
    buffers: Box<[[u8; BUFFER]; SIZE]>,
    /// For each descriptor, which buffer the device has by it and how many bytes of it; no bytes: none.
    given: [(u8, u16); SIZE],
    /// The buffers that the driver holds.
    free: [u8; SIZE],
    free_count: usize,
}

impl Ring {
    /// Sets up queue `index` of the device, with all buffers the driver's.
    pub fn new(transport: &mut PciTransport, index: u16, direction: Direction) -> Result<Self> {
        let mut free = [0; SIZE];
        for (number, slot) in free.iter_mut().enumerate() {
            *slot = number as u8;
        }
        Ok(Self {
            queue: VirtQueue::new(transport, index, false, false)?,
            index,
            direction,
            buffers: new_buffers(),
            given: [(0, 0); SIZE],
            free,
            free_count: SIZE,
        })
    }

    /// Takes a buffer that the driver holds.
    pub fn take(&mut self) -> Option<usize> {
        self.free_count = self.free_count.checked_sub(1)?;
        Some(usize::from(self.free[self.free_count]))
    }

    /// Puts back a buffer that was taken.
    pub fn put_back(&mut self, buffer: usize) {
        self.free[self.free_count] = buffer as u8;
        self.free_count += 1;
    }

    /// Whether the driver holds a buffer.
    pub fn has_free(&self) -> bool {
        self.free_count > 0
    }

    /// The content of a buffer that was taken or came back from the device, header included.
    pub fn bytes(&mut self, buffer: usize) -> &mut [u8; BUFFER] {
        &mut self.buffers[buffer]
    }

    /// Gives the first `bytes` of a buffer to the device. It hears of it at the next [`Self::ring_doorbell`].
    pub fn give(&mut self, buffer: usize, bytes: usize) -> Result {
        let data = &mut self.buffers[buffer][..bytes];
        // SAFETY: the buffer isn't touched before `reclaim` returns it: it is neither in `free` nor held by a caller, and `Ring` never drops
        // its buffers while the device is on (the guest's one device lives as long as the guest).
        let token = unsafe {
            match self.direction {
                Direction::Receive => self.queue.add(&[], &mut [data]),
                Direction::Transmit => self.queue.add(&[data], &mut []),
            }
        }?;
        self.given[usize::from(token)] = (buffer as u8, bytes as u16);
        Ok(())
    }

    /// A buffer that the device is done with and how many bytes it wrote; the caller then holds it.
    ///
    /// # Errors
    /// If the device returns what it wasn't given.
    pub fn reclaim(&mut self) -> Result<Option<(usize, usize)>> {
        let Some(token) = self.queue.peek_used() else { return Ok(None) };
        let given = self.given.get_mut(usize::from(token)).ok_or(Error::WrongToken)?;
        let (buffer, bytes) = (usize::from(given.0), usize::from(given.1));
        if bytes == 0 {
            return Err(Error::WrongToken);
        }
        given.1 = 0;
        let data = &mut self.buffers[buffer][..bytes];
        // SAFETY: the same buffer and length as in `give` for this token.
        let written = unsafe {
            match self.direction {
                Direction::Receive => self.queue.pop_used(token, &[], &mut [data]),
                Direction::Transmit => self.queue.pop_used(token, &[data], &mut []),
            }
        }?;
        Ok(Some((buffer, (written as usize).min(bytes))))
    }

    /// Whether the device has returned a buffer.
    pub fn has_used(&self) -> bool {
        self.queue.can_pop()
    }

    /// Tells the device that there are buffers, unless it watches anyway.
    pub fn ring_doorbell(&mut self, transport: &mut PciTransport) {
        // The device must be able to see the buffers before we read whether it watches (section 2.7.13.4.1); the queue's own
        // store alone may be overtaken by that read, and both would wait for each other.
        fence(Ordering::SeqCst);
        if self.queue.should_notify() {
            transport.notify(self.index);
        }
    }

    /// Asks the device for interrupts, or to save itself the trouble.
    pub fn set_interrupts(&mut self, on: bool) {
        self.queue.set_dev_notify(on);
    }
}

/// Zeroed buffers, made in place: the stack is too small for them.
fn new_buffers() -> Box<[[u8; BUFFER]; SIZE]> {
    let buffers = alloc::vec![[0; BUFFER]; SIZE].into_boxed_slice();
    match buffers.try_into() {
        Ok(buffers) => buffers,
        Err(_) => unreachable!("as many buffers as asked for"),
    }
}
