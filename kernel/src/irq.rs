// SPDX-License-Identifier: MIT OR Apache-2.0
//! User interrupts: which number stands for which source, and whom it signals.

use sel4_abi::irq::{MAX_USER_IRQ, VECTOR_BASE};

use crate::arch;
use crate::cap::{Cap, Slot};
use crate::cdt::SlotRef;
use crate::ipc;
use crate::kernel::Kernel;
use crate::ptr::Ptr;

const COUNT: usize = MAX_USER_IRQ as usize + 1;

/// Where an interrupt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Not issued.
    Free,
    /// A pin of an I/O APIC.
    Pin {
        /// I/O APIC number.
        ioapic: u8,
        /// Pin.
        pin: u8,
        /// Level-triggered.
        level: bool,
    },
    /// A message; the index of its remapping entry with interrupt remapping on.
    Message {
        /// Index of the remapping entry.
        irte: Option<u16>,
    },
}

/// All user interrupts.
pub struct IrqTable {
    sources: [Source; COUNT],
    notifications: [Slot; COUNT],
}

impl IrqTable {
    /// None issued.
    pub const fn new() -> Self {
        Self { sources: [Source::Free; COUNT], notifications: [const { Slot::empty() }; COUNT] }
    }
    /// Where interrupt `irq` comes from.
    pub fn source(&self, irq: u8) -> Source {
        self.sources[usize::from(irq)]
    }
    /// True if some interrupt comes from this pin.
    pub fn has_pin(&self, ioapic: u8, pin: u8) -> bool {
        let same =
            |s: &Source| matches!(*s, Source::Pin { ioapic: a, pin: p, .. } if (a, p) == (ioapic, pin));
        self.sources.iter().any(same)
    }
    /// Issues `irq`.
    pub fn set(&mut self, irq: u8, source: Source) {
        self.sources[usize::from(irq)] = source;
    }
    /// The slot that holds the notification of `irq`.
    pub fn slot(&self, irq: u8) -> SlotRef {
        // SAFETY: the table is part of the kernel's static state.
        unsafe { Ptr::from_ref(&self.notifications[usize::from(irq)]) }
    }
}

impl Default for IrqTable {
    fn default() -> Self {
        Self::new()
    }
}

/// CPU vector of a user interrupt.
pub const fn vector(irq: u8) -> u8 {
    irq + VECTOR_BASE
}

/// A user interrupt arrived: its notification is signalled. A level-triggered pin stays masked until it is acknowledged.
pub fn deliver(k: &mut Kernel, irq: u8) {
    if let Source::Pin { ioapic, pin, level: true } = k.irqs.source(irq) {
        arch::mask_pin(ioapic, pin, true);
    }
    if let Cap::Notification { object, badge, .. } = k.irqs.slot(irq).cap() {
        ipc::signal(k, object, badge);
    }
}

/// `IRQHandler_Ack`.
pub fn acknowledge(k: &mut Kernel, irq: u8) {
    if let Source::Pin { ioapic, pin, level: true } = k.irqs.source(irq) {
        arch::mask_pin(ioapic, pin, false);
    }
}

/// Remapping units that forget an entry, one after the other, in half of the time of a step.
#[cfg(target_os = "none")]
const UNITS_PER_STEP: u32 = 4;

/// The last handler capability goes: the source is silenced and its number free. The capability that it signalled goes next (`delete`).
pub fn end_handler(k: &mut Kernel, irq: u8) {
    #[cfg(target_os = "none")]
    k.took(crate::iommu::readers_of_irtes() / UNITS_PER_STEP);
    match k.irqs.source(irq) {
        Source::Free => return,
        Source::Pin { ioapic, pin, .. } => arch::disable_pin(ioapic, pin),
        #[cfg(target_os = "none")]
        Source::Message { irte: Some(index) } => crate::iommu::clear_irte(index),
        Source::Message { .. } => {}
    }
    k.irqs.set(irq, Source::Free);
}
