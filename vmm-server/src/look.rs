// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows what the console wants to see of the guest.
use crate::vm::Vm;
use protocol::look::ask::{Question, Show, View, WhatIsAsked};
use protocol::look::guest::{self, REASONS};
use sel4_abi::vcpu::EXIT_WORDS;
use vmm_devices::exits::Reason;

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
}
