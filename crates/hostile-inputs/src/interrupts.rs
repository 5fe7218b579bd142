// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that writes anything into its MSI-X table and MSI registers, and a device that interrupts whenever it likes.

use crate::bytes::Bytes;
use vmm_devices::msi::{Arrival, MAX_VECTORS, Messages};

/// Accesses, arrivals, and what follows; everything that is told comes to an end.
pub fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let mut messages = Messages::new(bytes.u8().into());
    while bytes.more() {
        let (kind, offset, width) = (bytes.u8() % 7, bytes.number(), bytes.width());
        match kind {
            0 => messages.set_control(offset & 1 != 0, offset & 2 != 0),
            1 => messages.set_msi(offset & 1 != 0, bytes.number(), bytes.u16(), bytes.u8(), bytes.u32()),
            2 | 3 => messages.write_table(offset, width, bytes.number()),
            4 => drop(messages.read_table(offset, width)),
            5 => drop(messages.read_pending(offset, width)),
            _ => {
                let vector = offset as usize;
                let arrival = messages.arrive(vector);
                assert!(!messages.is_masked(vector) || arrival == Arrival::Pending, "a masked vector came");
                assert!(!matches!(arrival, Arrival::Deliver(0..16)), "a vector that is an exception's");
            }
        }
        let told = core::iter::from_fn(|| messages.next_to_tell()).take(2 * MAX_VECTORS).count();
        assert!(told <= MAX_VECTORS, "the device is told without end");
        for _ in 0..MAX_VECTORS {
            let Some(vector) = messages.next_unmasked() else { break };
            assert_ne!(messages.arrive(vector), Arrival::Pending);
        }
        assert_eq!(messages.next_unmasked(), None, "there is an end to it");
    }
}
