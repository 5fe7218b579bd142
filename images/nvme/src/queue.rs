// SPDX-License-Identifier: MIT OR Apache-2.0
//! A submission queue with its completion queue, each one page at most, and the interrupt that tells of completions.

use crate::command::{COMMAND_BYTES, COMPLETION_BYTES, Command, Completion, Status};
use alloc::vec::Vec;
use guest_runtime::dma::Buffer;
use guest_runtime::irq;
use guest_runtime::mmio::Mmio;

/// Entries of both queues: a page of commands.
pub const ENTRIES: u16 = (4096 / COMMAND_BYTES) as u16;

/// The pair.
pub struct Queue {
    submissions: Buffer,
    completions: Buffer,
    /// Submission tail and completion head.
    doorbells: [Mmio; 2],
    /// The CPU's vector that the completion queue raises.
    vector: u8,
    /// The vector's interrupts that have been looked after.
    seen: u64,
    tail: u16,
    head: u16,
    phase: bool,
}

impl Queue {
    /// An empty pair in RAM; the controller isn't told of it here.
    pub fn new(doorbells: [Mmio; 2], vector: u8) -> Self {
        Self {
            submissions: Buffer::new(4096),
            completions: Buffer::new(4096),
            doorbells,
            vector,
            seen: irq::count(vector),
            tail: 0,
            head: 0,
            phase: true,
        }
    }

    /// Where commands lie.
    pub fn submissions(&self) -> u64 {
        self.submissions.address()
    }

    /// Where completions lie.
    pub fn completions(&self) -> u64 {
        self.completions.address()
    }

    /// The CPU's vector.
    pub fn vector(&self) -> u8 {
        self.vector
    }

    /// Gives all commands to the controller with one doorbell, and sleeps until all have ended; how each did, in their order.
    ///
    /// # Panics
    /// If they fill the queue, or the controller completes one that wasn't given.
    pub fn run(&mut self, commands: &[Command]) -> Vec<Status> {
        assert!(commands.len() < usize::from(ENTRIES), "more commands than a queue holds");
        for (identifier, command) in commands.iter().enumerate() {
            let offset = usize::from(self.tail) * COMMAND_BYTES;
            self.submissions.write(offset, &command.encode(identifier as u16));
            self.tail = (self.tail + 1) % ENTRIES;
        }
        self.doorbells[0].write32(0, u32::from(self.tail));

        let mut ended: Vec<Option<Status>> = alloc::vec![None; commands.len()];
        let mut left = commands.len();
        while left > 0 {
            // Only an interrupt wakes this: without messages it sleeps for ever.
            irq::wait_until(u64::MAX, || irq::count(self.vector) > self.seen);
            self.seen = irq::count(self.vector);
            while let Some(completion) = self.next() {
                let place = ended.get_mut(usize::from(completion.identifier)).filter(|place| place.is_none());
                *place.expect("a completion of a command that waits") = Some(completion.status);
                left -= 1;
            }
        }
        ended.into_iter().flatten().collect()
    }

    /// Takes the next completion.
    fn next(&mut self) -> Option<Completion> {
        let mut word = [0; 4];
        // The controller writes an entry's last word last.
        self.completions.read(usize::from(self.head) * COMPLETION_BYTES + 12, &mut word);
        let completion = Completion::decode(u32::from_le_bytes(word));
        if completion.phase != self.phase {
            return None;
        }
        self.head = (self.head + 1) % ENTRIES;
        if self.head == 0 {
            self.phase = !self.phase;
        }
        self.doorbells[1].write32(0, u32::from(self.head));
        Some(completion)
    }
}
