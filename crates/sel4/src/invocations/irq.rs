// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts.

use sel4_abi::label;

use crate::{AbsoluteCPtr, Cap, InvocationContext, Result, Word, cap, cap_type};

impl<C: InvocationContext> Cap<cap_type::IrqControl, C> {
    /// Makes a handler of interrupt `irq` of the legacy controller: always IllegalOperation, the IOAPIC is in use.
    pub fn irq_control_get<C1>(self, irq: Word, dst: &AbsoluteCPtr<C1>) -> Result<()> {
        self.invoke(
            label::IRQ_ISSUE_IRQ_HANDLER,
            [irq, dst.path().bits(), dst.path().depth() as Word],
            [dst.root().bits()],
        )
        .map(drop)
    }

    /// Makes a handler of a pin of an IOAPIC. `level`: 0 edge, 1 level; `polarity`: 0 active high, 1 active low;
    /// `vector`: user interrupt number.
    pub fn irq_control_get_ioapic<C1>(
        self,
        ioapic: Word,
        pin: Word,
        level: Word,
        polarity: Word,
        vector: Word,
        dst: &AbsoluteCPtr<C1>,
    ) -> Result<()> {
        self.invoke(
            label::IRQ_CONTROL_GET_IOAPIC,
            [dst.path().bits(), dst.path().depth() as Word, ioapic, pin, level, polarity, vector],
            [dst.root().bits()],
        )
        .map(drop)
    }

    /// Makes a handler of messages of a PCI function. With interrupt remapping, `handle` is the index of the remapping
    /// entry (extension X3); otherwise it is only recorded. `vector`: user interrupt number.
    pub fn irq_control_get_msi<C1>(
        self,
        pci_bus: Word,
        pci_device: Word,
        pci_function: Word,
        handle: Word,
        vector: Word,
        dst: &AbsoluteCPtr<C1>,
    ) -> Result<()> {
        self.invoke(
            label::IRQ_CONTROL_GET_MSI,
            [
                dst.path().bits(),
                dst.path().depth() as Word,
                pci_bus,
                pci_device,
                pci_function,
                handle,
                vector,
            ],
            [dst.root().bits()],
        )
        .map(drop)
    }
}

impl<C: InvocationContext> Cap<cap_type::IrqHandler, C> {
    /// Lets the next interrupt through.
    #[inline(always)]
    pub fn irq_handler_ack(self) -> Result<()> {
        self.invoke(label::IRQ_ACK_IRQ, [], []).map(drop)
    }

    /// Sets the notification that is signalled at each interrupt.
    pub fn irq_handler_set_notification(self, notification: cap::Notification) -> Result<()> {
        self.invoke(label::IRQ_SET_IRQ_HANDLER, [], [notification.bits()]).map(drop)
    }

    /// Takes the notification away.
    pub fn irq_handler_clear(self) -> Result<()> {
        self.invoke(label::IRQ_CLEAR_IRQ_HANDLER, [], []).map(drop)
    }

    /// Clears the present bit of the remapping entry (extension X3).
    pub fn irq_handler_block(self) -> Result<()> {
        self.invoke(label::IRQ_HANDLER_BLOCK, [], []).map(drop)
    }

    /// Sets the present bit of the remapping entry (extension X3).
    pub fn irq_handler_unblock(self) -> Result<()> {
        self.invoke(label::IRQ_HANDLER_UNBLOCK, [], []).map(drop)
    }
}
