// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's operations, for real.

use component::memory::slot_at;
use component::sel4::{CapRights, cap};
use iommu_server::kernel::Kernel;
use pci::RequesterId;
use protocol::iommu::Pin;
use sel4_abi::Error;

/// The capabilities that are invoked but lie in no VM's holdings.
pub struct Invocations {
    /// The IOSpace master.
    pub master: u64,
    /// IRQControl.
    pub irq_control: cap::IrqControl,
}

impl Kernel for Invocations {
    fn mint_io_space(&mut self, slot: u64, domain: u16, requester: RequesterId) -> Result<(), Error> {
        let badge = u64::from(domain) << 16 | u64::from(requester.0);
        slot_at(slot).mint(&slot_at(self.master), CapRights::all(), badge)
    }

    fn clear(&mut self, io_space: u64) -> Result<(), Error> {
        cap::IOSpace::from_bits(io_space).io_space_clear()
    }

    fn map_table(&mut self, table: u64, io_space: u64, iova: u64) -> Result<(), Error> {
        cap::IOPageTable::from_bits(table).iopt_map(cap::IOSpace::from_bits(io_space), iova as usize)
    }

    fn unmap_table(&mut self, table: u64) -> Result<(), Error> {
        cap::IOPageTable::from_bits(table).iopt_unmap()
    }

    fn map_frame(&mut self, io_space: u64, frame: u64, iova: u64) -> Result<(), Error> {
        let frame = cap::UnspecifiedPage::from_bits(frame);
        cap::IOSpace::from_bits(io_space).io_space_map_frame(frame, CapRights::read_write(), iova as usize)
    }

    fn unmap_frame(&mut self, frame: u64) -> Result<(), Error> {
        cap::UnspecifiedPage::from_bits(frame).frame_unmap()
    }

    fn make_handler(
        &mut self,
        slot: u64,
        requester: RequesterId,
        handle: u16,
        vector: u8,
    ) -> Result<(), Error> {
        let devfn = requester.devfn();
        self.irq_control.irq_control_get_msi(
            requester.bus().into(),
            devfn.device().into(),
            devfn.function().into(),
            handle.into(),
            vector.into(),
            &slot_at(slot),
        )
    }

    fn make_line(&mut self, slot: u64, pin: Pin, number: u8) -> Result<(), Error> {
        const LEVEL: u64 = 1;
        const ACTIVE_LOW: u64 = 1;
        let Pin { io_apic, input } = pin;
        let control = self.irq_control;
        control.irq_control_get_ioapic(
            io_apic.into(),
            input.into(),
            LEVEL,
            ACTIVE_LOW,
            number.into(),
            &slot_at(slot),
        )
    }

    fn block(&mut self, handler: u64, blocked: bool) -> Result<(), Error> {
        let handler = cap::IrqHandler::from_bits(handler);
        if blocked { handler.irq_handler_block() } else { handler.irq_handler_unblock() }
    }

    fn copy(&mut self, to: u64, from: u64) -> Result<(), Error> {
        slot_at(to).copy(&slot_at(from), CapRights::all())
    }

    fn destroy(&mut self, slot: u64) -> Result<(), Error> {
        slot_at(slot).revoke()?;
        slot_at(slot).delete()
    }
}
