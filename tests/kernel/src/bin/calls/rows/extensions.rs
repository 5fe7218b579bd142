// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults of DMA, and looking at slots.

use sel4::abi::label;
use sel4::abi::object::tag;

use crate::table::{DONE, Gives, Group, SlotArgument, cap, capability, good, group, row};
use crate::things::DEPTH as D;
use crate::things::Thing::{CNode, DmaFault, Notification, ReadNotification, WriteNotification};

/// The rows.
pub const ROWS: &[Group] = &[
    Group {
        caps: &[cap(0, &[tag::NOTIFICATION], capability(1))],
        misuses: &[row("without the write right", DmaFault, &[], &[ReadNotification], capability(1))],
        after: &[row("another", DmaFault, &[], &[WriteNotification], DONE)],
        ..group(label::DMA_FAULT_SET_NOTIFICATION, good(DmaFault, &[], &[Notification], DONE))
    },
    group(label::DMA_FAULT_READ, good(DmaFault, &[], &[], Gives::Words(5))),
    Group {
        slots: &[SlotArgument { root: None, index: 0, source: false, zero_is_root: false }],
        after: &[row("an empty slot", CNode, &[0, D], &[], Gives::Words(4))],
        ..group(label::CNODE_DESCRIBE, good(CNode, &[1, D], &[], Gives::Words(4)))
    },
];
