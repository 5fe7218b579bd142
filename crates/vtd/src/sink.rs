// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where changes go: the hardware, or a test that writes down what happened.

use crate::descriptor::Descriptor;

/// What a change of a unit's tables is made of.
///
/// The kernel's implementation does each of these for real; a test's records them. An emulator forgives a missing
/// flush and hardware does not, so the order is what is tested.
pub trait Sink {
    /// Reads 8 bytes of a table at a physical address.
    fn load(&mut self, address: u64) -> u64;

    /// Writes 8 bytes of a table at once, in program order.
    fn store(&mut self, address: u64, value: u64);

    /// Fills a table with absent entries.
    fn zero(&mut self, table: u64);

    /// Writes the cache lines of these bytes back to memory and waits until that is done.
    fn flush(&mut self, address: u64, bytes: u64);

    /// Appends a descriptor to the invalidation queue.
    fn submit(&mut self, descriptor: Descriptor);

    /// Lets the unit work the queue off and returns when all that was submitted has completed (section 6.5.2.8).
    fn wait(&mut self);

    /// Drains the chipset's write buffer, for units that want it (section 6.8).
    fn flush_write_buffer(&mut self);
}
