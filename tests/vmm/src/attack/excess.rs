// SPDX-License-Identifier: MIT OR Apache-2.0
//! Too much of what is allowed, and too little: lengths beyond everything, answers and signals that nobody fetches, a thread without time.

use core::sync::atomic::{AtomicBool, Ordering};

use component::memory::Memory;
use component::sel4::{self, CNodeCapData, MessageInfo, ObjectBlueprint, UserContext, cap, cap_type};
use component::{log, slot};
use protocol::message::{Protocol, Request, encode};
use protocol::pci::{Attach, ConfigWrite, Detach, MaskVector};
use protocol::timer::SetDeadline;

use super::{Attack, set_words};
use crate::check;

/// Lengths in bytes that no message has: none of those with so many words can be whole.
const HUGE: [u64; 9] = [953, 960, 961, 0xffff, 1 << 31, u32::MAX as u64, 1 << 32, 1 << 63, u64::MAX];
/// Requests that nobody waits for the answers of.
const UNHEARD: usize = 500;
/// A word of an encoding that says in each place that endless bytes follow (postcard: an integer is at most ten bytes).
const ENDLESS: u64 = u64::MAX;
/// One small number or two, and then a text of very many bytes.
const LONG_TEXTS: [u64; 2] = [
    u64::from_le_bytes([0, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0]),
    u64::from_le_bytes([0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
];
/// The guard of a part's root CNode (`docs/architecture.md`, "Capability spaces of the parts").
const ROOT_GUARD: CNodeCapData = CNodeCapData::skip(42);

static RAN: AtomicBool = AtomicBool::new(false);

/// What must never run.
extern "C" fn stranger() -> ! {
    RAN.store(true, Ordering::Relaxed);
    loop {
        core::hint::spin_loop();
    }
}

impl Attack {
    /// Every operation with lengths that are too large for a message, for memory, for a word, and with texts of such lengths.
    pub(super) fn huge_lengths(&mut self) {
        let servers = [
            (self.pci, Protocol::PCI),
            (self.timer, Protocol::TIMER),
            (slot::SUPERVISOR, Protocol::SUPERVISOR),
        ];
        for (endpoint, protocol) in servers {
            for operation in 0..16 {
                for bytes in HUGE {
                    // The kernel takes 127 words for 120.
                    for words in [1, 2, 119, 120, 127] {
                        self.fill();
                        set_words(&[bytes]);
                        self.malformed_raw(endpoint, protocol.label(operation), words);
                    }
                }
                for word in LONG_TEXTS.into_iter().chain([ENDLESS]) {
                    for bytes in [9, 15, 16, 952] {
                        set_words(&[word; 120]);
                        set_words(&[bytes]);
                        let words = 1 + bytes.div_ceil(8) as usize;
                        self.malformed_raw(endpoint, protocol.label(operation), words);
                    }
                }
            }
        }
        log!("attack: huge lengths are sent");
    }

    fn malformed_raw(&mut self, endpoint: cap::Endpoint, label: u64, words: usize) {
        let answer = endpoint.call(MessageInfo::new(label, 0, 0, words)).label();
        if !(1..=3).contains(&answer) {
            log!(
                "attack: BROKEN: label {label:#x} with a length that can't be was answered with {answer:#x}"
            );
        }
    }

    /// More time, and threads of its own.
    pub(super) fn own_threads(&mut self, memory: &mut Memory) {
        let own = slot::TCB;
        for priority in [1, 101, 200, 220, 255, u64::MAX] {
            let raised = own.tcb_set_mc_priority(own, priority).is_ok()
                || priority > 100 && own.tcb_set_priority(own, priority).is_ok()
                || own
                    .tcb_set_sched_params(own, priority, priority, slot::SCHED_CONTEXT, slot::SUPERVISOR)
                    .is_ok();
            if raised {
                log!("attack: BROKEN: it has given itself priority {priority}");
            }
        }
        if let Err(error) = self.second_thread(memory) {
            log!("attack: BROKEN: a thread of its own can't be made: {error:?}");
        }
        log!("attack: it has a thread without time");
    }

    fn second_thread(&mut self, memory: &mut Memory) -> Result<(), sel4::Error> {
        let thread: cap::Tcb = memory.make::<cap_type::Tcb>()?;
        let blueprint = ObjectBlueprint::SchedContext { size_bits: 8 };
        let time = cap::SchedContext::from_bits(memory.make_from(slot::UNTYPED, &blueprint)?);
        let no_buffer = cap::_4k::from_bits(0);
        thread.tcb_configure(slot::CNODE, ROOT_GUARD, slot::VSPACE, 0, no_buffer)?;
        if thread.tcb_set_priority(slot::TCB, 255).is_ok() || thread.tcb_set_priority(thread, 1).is_ok() {
            log!("attack: BROKEN: it has given a thread a priority");
        }
        time.sched_context_bind(thread)?;
        let registers = UserContext { rip: stranger as *const () as u64, ..UserContext::default() };
        thread.tcb_write_all_registers(true, &registers)?;
        // Its faults would be requests to a server.
        thread.tcb_set_space(
            sel4::CPtr::from_bits(self.pci.bits()),
            slot::CNODE,
            ROOT_GUARD,
            slot::VSPACE,
        )?;
        let _ = time.sched_context_yield_to();
        sel4::yield_();
        Ok(())
    }

    /// Asks for everything and fetches nothing: answers find nobody, signals aren't waited for, a reset has no second call.
    pub(super) fn unheard(&mut self) {
        let _ = check::attach(self.pci);
        for n in 0..UNHEARD as u64 {
            self.ask(self.pci, &Attach { device: 0 });
            self.ask(self.pci, &MaskVector { device: 0, vector: n as u16 % 3, masked: n % 2 == 0 });
            self.ask(self.pci, &ConfigWrite { device: 0, offset: 4, width: 2, value: (n as u32 % 8) });
            self.ask(self.timer, &SetDeadline { tsc: n });
        }
        log!("attack: nobody fetches what was asked for");
    }

    /// Makes the VM end while its device is reset, its deadline has passed, and nothing was ever fetched.
    pub(super) fn leave_a_reset(&mut self) {
        if RAN.load(Ordering::Relaxed) {
            log!("attack: BROKEN: a thread without time has run");
        }
        self.ask(self.timer, &SetDeadline { tsc: 0 });
        self.ask(self.pci, &Detach { device: 0 });
        self.ask(self.pci, &Attach { device: 0 });
    }

    fn ask<R: Request>(&mut self, endpoint: cap::Endpoint, request: &R) {
        let length = sel4::with_ipc_buffer_mut(|buffer| encode(request, buffer.msg_regs_mut()));
        endpoint.nb_send(MessageInfo::new(R::LABEL, 0, 0, length.unwrap_or(0)));
    }
}

/// Says that it is ready and faults. The fault is a message to `server`, not to the supervisor: nobody ends this VM.
pub fn fault_to(server: cap::Endpoint) -> ! {
    component::ready();
    let place = sel4::CPtr::from_bits(server.bits());
    match slot::TCB.tcb_set_space(place, slot::CNODE, ROOT_GUARD, slot::VSPACE) {
        Ok(()) => log!("attack: its fault goes to a server"),
        Err(error) => log!("attack: BROKEN: its faults can't go to a server: {error:?}"),
    }
    // SAFETY: UD2 raises an exception, after which the thread doesn't go on here.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}
