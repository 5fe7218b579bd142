// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own state, all of it.

use crate::asid::AsidTable;
use crate::cdt::SlotRef;
use crate::error::{SysError, SysResult};
use crate::fault;
use crate::ioport::PortTable;
use crate::irq::IrqTable;
use crate::object::notification::Notification;
use crate::ptr::Ptr;
use crate::sched::Scheduler;
use crate::sync::KernelCell;

/// Steps of a long operation between two looks at pending interrupts.
const STEPS_PER_PREEMPTION: u32 = 8;

/// The state of the kernel.
pub struct Kernel {
    /// Threads that can run.
    pub sched: Scheduler,
    /// User interrupts.
    pub irqs: IrqTable,
    /// I/O ports issued.
    pub ports: PortTable,
    /// Address-space identifiers.
    pub asids: AsidTable,
    /// Top of the stack of objects that are being taken apart (`delete`).
    pub dying: Option<SlotRef>,
    /// Told of DMA faults.
    pub dma_fault_notification: crate::cap::Slot,
    steps: u32,
}

impl Kernel {
    /// The state before anything exists.
    pub const fn new() -> Self {
        Self {
            sched: Scheduler::new(),
            irqs: IrqTable::new(),
            ports: PortTable::new(),
            asids: AsidTable::new(),
            dying: None,
            dma_fault_notification: crate::cap::Slot::empty(),
            steps: 0,
        }
    }

    /// A preemption point.
    ///
    /// # Errors
    /// `Preempted` when an interrupt is pending: undo nothing, keep what is done, let the system call be restarted.
    pub fn preempt(&mut self) -> SysResult {
        self.steps += 1;
        if self.steps >= STEPS_PER_PREEMPTION {
            self.steps = 0;
            if crate::arch::interrupt_pending() {
                return Err(SysError::Preempted);
            }
        }
        Ok(())
    }

    /// Chooses the thread to run next. Called at the end of every kernel entry.
    #[inline]
    pub fn schedule(&mut self) {
        while self.sched.schedule() {
            if let Some(tcb) = self.sched.take_timed_out() {
                fault::raise_timeout(self, tcb);
            }
        }
    }

    /// The slot that holds the notification told of DMA faults.
    pub fn dma_fault_slot(&self) -> SlotRef {
        // SAFETY: the kernel's state is static.
        unsafe { Ptr::from_ref(&self.dma_fault_notification) }
    }

    /// The notification told of DMA faults.
    pub fn dma_fault_target(&self) -> Option<(Ptr<Notification>, u64)> {
        match self.dma_fault_notification.cap() {
            crate::cap::Cap::Notification { object, badge, .. } => Some((object, badge)),
            _ => None,
        }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

/// The one kernel. Entry points take it (`KernelCell::get`), everything else is handed it.
pub static KERNEL: KernelCell<Kernel> = KernelCell::new(Kernel::new());
