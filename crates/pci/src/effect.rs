// SPDX-License-Identifier: MIT OR Apache-2.0
//! What follows from a guest's write to its configuration space.

use serde::{Deserialize, Serialize};

/// What a guest's write to configuration space means to its VMM. Sent after each write that touched the register, even
/// if nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing to do.
    None,
    /// The command register's bits as they now hold.
    Command {
        /// The guest's memory BARs answer: map them, or take the mappings away.
        memory: bool,
        /// The guest's I/O BARs answer.
        io: bool,
        /// The device may master the bus.
        bus_master: bool,
    },
    /// A virtual BAR's register was written.
    Bar {
        /// Index of the BAR.
        index: u8,
        /// Guest-physical address, or port, as it now is. A guest that sizes a BAR moves it to the end of memory for a moment:
        /// map nothing while memory decoding is off, nor where the whole BAR doesn't fit.
        base: u64,
    },
    /// The virtual expansion ROM's register was written.
    Rom {
        /// The guest wants it to answer.
        enabled: bool,
        /// Guest-physical address as it now is.
        base: u64,
    },
    /// The virtual MSI capability was written.
    Msi {
        /// Enabled by the guest.
        enabled: bool,
        /// The guest's message address.
        address: u64,
        /// The guest's message data; with several messages the low bits number them.
        data: u16,
        /// Messages enabled, as a power of two: 0 is one.
        log2_messages: u8,
        /// The guest's mask bits, if the device has them; zero otherwise.
        mask: u32,
    },
    /// The virtual MSI-X capability's control word was written.
    MsiX {
        /// Enabled by the guest.
        enabled: bool,
        /// All vectors masked by the guest.
        masked: bool,
    },
    /// The guest started a function-level reset: call `Detach` and `Attach`; virtual registers are as at first.
    Reset,
}
