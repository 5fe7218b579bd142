// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's operations, as iommu-server uses them. All places are capability addresses.

use pci::RequesterId;
use protocol::iommu::Pin;
use sel4_abi::Error;

/// What the server can ask of the kernel. Only capabilities of the server's own and those in `dma` mounts are invoked.
pub trait Kernel {
    /// Makes the I/O space of a requester in an empty slot.
    fn mint_io_space(&mut self, slot: u64, domain: u16, requester: RequesterId) -> Result<(), Error>;
    /// Empties the requester's context entry; no DMA of it gets through any more.
    fn clear(&mut self, io_space: u64) -> Result<(), Error>;
    /// Puts a table into an I/O space, at the first level that misses one for `iova`.
    fn map_table(&mut self, table: u64, io_space: u64, iova: u64) -> Result<(), Error>;
    /// Takes a table out.
    fn unmap_table(&mut self, table: u64) -> Result<(), Error>;
    /// Maps a frame, readable and writable; `FailedLookup` if a table is missing.
    fn map_frame(&mut self, io_space: u64, frame: u64, iova: u64) -> Result<(), Error>;
    /// Takes a frame out.
    fn unmap_frame(&mut self, frame: u64) -> Result<(), Error>;
    /// Makes the handler of a message in an empty slot; `RevokeFirst` if handle or vector are in use.
    fn make_handler(
        &mut self,
        slot: u64,
        requester: RequesterId,
        handle: u16,
        vector: u8,
    ) -> Result<(), Error>;
    /// Makes the handler of an interrupt line in an empty slot, level-triggered and active low; `RangeError` if there is no such
    /// pin, `RevokeFirst` if pin or number are in use.
    fn make_line(&mut self, slot: u64, pin: Pin, number: u8) -> Result<(), Error>;
    /// Blocks or unblocks a message.
    fn block(&mut self, handler: u64, blocked: bool) -> Result<(), Error>;
    /// Copies a capability into an empty slot.
    fn copy(&mut self, to: u64, from: u64) -> Result<(), Error>;
    /// Takes all copies of a capability away, then itself.
    fn destroy(&mut self, slot: u64) -> Result<(), Error>;
}
