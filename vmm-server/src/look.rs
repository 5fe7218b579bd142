// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows what the console wants to see of the guest.
use crate::vm::Vm;
use protocol::look::ask::{Question, Show, View, WhatIsAsked};
use protocol::look::guest::{self, CONTROL, Map, REASONS, Range, What};
use sel4_abi::vcpu::EXIT_WORDS;
use sel4_abi::vmcb as field;
use vmm_devices::exits::Reason;
use vmm_devices::layout;
use vmm_devices::map::{self, Area, Piece};
use vmm_devices::memory::GuestMemory;
use vmm_devices::msr::EFER_VISIBLE;

/// In the order of [`REASONS`].
const COUNTED: [Reason; REASONS.len()] = [
    Reason::Cpuid,
    Reason::Port,
    Reason::Npf,
    Reason::Hlt,
    Reason::Window,
    Reason::Msr,
    Reason::Msi,
    Reason::Signal,
    Reason::Other,
];

/// Where EFER stands among the shown fields, of which the guest sees some bits only.
const EFER: usize = 7;

const _: () = {
    assert!(CONTROL[EFER].1 == field::EFER && CONTROL[0].1 == field::RIP && CONTROL[8].1 == field::XCR0);
};

impl Vm {
    /// Shows what is asked for, if anything is. The exit message is afterwards as it was.
    #[cold]
    #[inline(never)]
    pub fn look(&mut self) {
        let mut words = [0; EXIT_WORDS];
        sel4::with_ipc_buffer(|buffer| words.copy_from_slice(&buffer.msg_regs()[..EXIT_WORDS]));
        if let Ok(Some(question)) = component::call(component::slot::SUPERVISOR, &WhatIsAsked)
            && let Some(view) = self.view(question)
        {
            // Whoever asked may have lost interest.
            let _ = component::call(component::slot::SUPERVISOR, &Show(view));
        }
        sel4::with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut()[..EXIT_WORDS].copy_from_slice(&words));
    }

    fn view(&self, question: Question) -> Option<View> {
        match question {
            Question::Exits => Some(View::Exits(self.show_exits())),
            Question::Registers => Some(View::Registers(self.show_registers())),
            Question::Memory(from) => Some(View::Memory(self.show_memory(from))),
            Question::Devices(_) => None,
        }
    }

    fn show_exits(&self) -> guest::Exits {
        let mut exits = guest::Exits {
            reasons: COUNTED.map(|reason| self.exits.total(reason)),
            dma_faults: self.dma_faults,
            ..Default::default()
        };
        // Those without room aren't shown.
        let _ = self.exits.interrupts().try_for_each(|counted| exits.interrupts.push(counted));
        exits
    }

    fn show_registers(&self) -> guest::Registers {
        let mut fields = CONTROL.map(|(_, number)| self.cpu.read(number));
        fields[EFER] &= EFER_VISIBLE;
        guest::Registers { general: self.cpu.registers(), fields }
    }

    fn show_memory(&self, mut from: u64) -> Map {
        let mut map = Map::default();
        while let Some(range) = self.range(from) {
            if map.ranges.push(range).is_err() {
                map.next = Some(from);
                break;
            }
            from = range.start + range.bytes;
        }
        map
    }

    /// The first range at `from` or behind it.
    fn range(&self, from: u64) -> Option<Range> {
        let ram = self.ram.size();
        let fixed = [
            (0, ram, What::Ram, Some(0..ram)),
            (layout::ECAM, layout::ECAM_BYTES, What::Config, None),
            (layout::IO_APIC, layout::IO_APIC_BYTES, What::IoApic, None),
            (layout::APIC, layout::APIC_BYTES, What::Apic, None),
        ]
        .map(|(start, bytes, what, mapped)| Area { start, bytes, what, mapped: mapped.into_iter() });
        let bar = self.devices.piece(from).map(|(device, piece, has_table)| {
            let Piece { start, bytes, what: bar, mapped } = piece;
            let device = device as u8;
            let what = if has_table { What::Table { device, bar } } else { What::Bar { device, bar } };
            Piece { start, bytes, what, mapped }
        });
        let piece =
            map::next(fixed.into_iter(), from).into_iter().chain(bar).min_by_key(|piece| piece.start)?;
        let Piece { start, bytes, what, mapped } = piece;
        Some(Range { start, bytes, what, mapped })
    }
}
