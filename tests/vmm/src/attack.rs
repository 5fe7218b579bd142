// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that a VMM can try. Each step is said in the log; a step that succeeds where it must not says `BROKEN`.

use component::memory::{Memory, slot_at};
use component::sel4::{self, CapRights, MessageInfo, cap};
use component::{Part, log, slot};
use protocol::client;
use protocol::config::VmmConfig;
use protocol::message::{FAILED, Protocol, Request, encode};
use protocol::pci::{Attach, BarRead, BarWrite, ConfigRead, ConfigWrite, Describe, Detach, MaskVector};
use protocol::ring::RING_BYTES;
use protocol::start::{RangeKind, cptr, mount};
use protocol::supervisor::{Death, Exited, Kill, Quieted, Refused, reason};
use protocol::timer::SetDeadline;

use crate::check;
use crate::random::Random;

pub mod excess;

/// Calls of one kind in a row.
const FLOOD: usize = 3_000;
/// The address of the part's log ring (`docs/architecture.md`, "Memory").
const RING: usize = 0x1020_0000;

struct Attack {
    pci: cap::Endpoint,
    timer: cap::Endpoint,
    console: cap::Notification,
    random: Random,
}

/// Attacks, beside other VMs, and ends with a forged fault.
pub fn run(part: &Part, mut memory: Memory, config: &VmmConfig) -> ! {
    let (Some(pci), Some(timer), Some(console)) = (
        part.cap(RangeKind::PciEndpoint),
        part.cap(RangeKind::TimerEndpoint),
        part.cap(RangeKind::ConsoleNotification),
    ) else {
        panic!("endpoints are missing")
    };
    let mut attack = Attack { pci, timer, console, random: Random(0x5eed_0000_0001) };
    component::ready();
    attack.malformed();
    attack.huge_lengths();
    attack.capabilities_in_messages(part);
    attack.other_ways_to_send();
    attack.others_vms();
    attack.wrong_requests();
    attack.strange_capabilities(part, config);
    attack.unheard();
    attack.own_threads(&mut memory);
    attack.own_capabilities_gone(part, config);
    attack.floods();
    attack.log_ring();
    attack.leave_a_reset();
    log!("attack: over");
    // A page fault that never was, told to the supervisor as the kernel would.
    slot::SUPERVISOR.call(MessageInfo::new(6, 0, 0, 4));
    log!("attack: BROKEN: the supervisor has answered a fault");
    loop {
        component::wait();
    }
}

fn set_words(words: &[u64]) {
    sel4::with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut()[..words.len()].copy_from_slice(words));
}

impl Attack {
    fn raw(&mut self, endpoint: cap::Endpoint, label: u64, length: usize) {
        let answer = endpoint.call(MessageInfo::new(label, 0, 0, length)).label();
        if answer > FAILED || answer > 3 && answer < FAILED {
            log!("attack: BROKEN: label {label:#x} was answered with {answer:#x}");
        }
    }

    fn fill(&mut self) {
        let random = &mut self.random;
        sel4::with_ipc_buffer_mut(|buffer| {
            let small = random.below(3) == 0;
            for word in buffer.msg_regs_mut() {
                *word = if small { random.below(8) } else { random.next() };
            }
            // Often a length that is right.
            if random.below(2) == 0 {
                buffer.msg_regs_mut()[0] = random.below(40);
            }
        });
    }

    /// Every operation of every version of every protocol, with random bytes of every length.
    fn malformed(&mut self) {
        for (endpoint, ours) in [(self.pci, Protocol::PCI), (self.timer, Protocol::TIMER)] {
            for number in [0, 1, 2, 3, 4, 5, 0xffff] {
                for version in [0, 1, 2, 0xffff] {
                    for operation in (0..12).chain([0x7fff, 0xffff]) {
                        for length in [0, 1, 2, 3, 6, 120] {
                            self.fill();
                            self.raw(endpoint, Protocol { number, version }.label(operation), length);
                        }
                    }
                }
            }
            for operation in 0..12 {
                for length in 0..=120 {
                    self.fill();
                    self.raw(endpoint, ours.label(operation), length);
                }
            }
        }
        // Two of the supervisor's requests would end this VM.
        for operation in
            (0..16).filter(|operation| ![Refused::OPERATION, Exited::OPERATION].contains(operation))
        {
            for length in 0..=120 {
                self.fill();
                self.raw(slot::SUPERVISOR, Protocol::SUPERVISOR.label(operation), length);
            }
        }
        for version in [0, 1, 2] {
            for operation in [0, 1, 2, 3, 4, 5, 0xffff] {
                set_words(&[u64::MAX; 8]);
                self.raw(slot::SUPERVISOR, Protocol { number: 1, version }.label(operation), 8);
            }
        }
        for label in [1u64 << 32, 2 << 32, u64::from(u32::MAX) << 16, 7, 0xfff] {
            self.raw(slot::SUPERVISOR, label, 0);
        }
        log!("attack: malformed messages are sent");
    }

    /// Capabilities that nobody asked for, of several kinds.
    fn capabilities_in_messages(&mut self, part: &Part) {
        let ram = part.find(RangeKind::GuestRam).map_or(0, |range| range.first);
        let objects = [
            slot::TCB.bits(),
            slot::CNODE.bits(),
            slot::VSPACE.bits(),
            slot::REPLY.bits(),
            slot::NOTIFICATION.bits(),
            slot::UNTYPED.bits(),
            slot::SCHED_CONTEXT.bits(),
        ];
        let others = [self.pci.bits(), self.console.bits(), slot::SUPERVISOR.bits(), ram, 0, cptr(9, 9)];
        let requests = [
            (self.pci, Describe::LABEL),
            (self.timer, SetDeadline::LABEL),
            (slot::SUPERVISOR, Quieted::LABEL),
        ];
        for (endpoint, label) in requests {
            for kind in objects.into_iter().chain(others) {
                sel4::with_ipc_buffer_mut(|buffer| buffer.caps_or_badges_mut().fill(kind));
                for extra in 1..=3 {
                    set_words(&[1, 0]);
                    endpoint.nb_send(MessageInfo::new(label, 0, extra, 2));
                    set_words(&[1, 0]);
                    let _ = endpoint.call(MessageInfo::new(label, 0, extra.min(1), 2));
                }
            }
        }
        log!("attack: capabilities are sent");
    }

    /// Sends that leave nobody to be answered, and an endpoint as if it were something else.
    fn other_ways_to_send(&mut self) {
        for endpoint in [self.pci, self.timer, slot::SUPERVISOR] {
            for label in [0, 1 << 32, Describe::LABEL, SetDeadline::LABEL] {
                set_words(&[u64::MAX, 0]);
                if label != 0 {
                    endpoint.send(MessageInfo::new(label, 0, 0, 2));
                }
                endpoint.nb_send(MessageInfo::new(label | 1 << 40, 0, 0, 2));
            }
            if slot_at(endpoint.bits()).cancel_badged_sends().is_ok() {
                log!("attack: BROKEN: badged sends could be cancelled");
            }
        }
        log!("attack: sends without callers are sent");
    }

    /// What only others may say.
    fn others_vms(&mut self) {
        for vm in [0, 1, 7, 31, 32, 0xffff] {
            let quieted = component::call(slot::SUPERVISOR, &Quieted { vm });
            let refused = (vm != 0)
                .then(|| component::call(slot::SUPERVISOR, &Refused { vm, reason: reason("not mine") }));
            if quieted.is_ok() || refused.is_some_and(|refused| refused.is_ok()) {
                log!("attack: BROKEN: it could speak for VM {vm}");
            }
        }
        // Only a root task that was built for tests kills anybody.
        for client in [client::TIMER, client::PCI, client::of_vm(1)] {
            for death in [Death::Stopped, Death::Fault, Death::Request] {
                if component::call(slot::SUPERVISOR, &Kill { client, death }).is_ok() {
                    log!("attack: BROKEN: it could kill client {client:#x}");
                }
            }
        }
        log!("attack: others' words are said");
    }

    /// Whole requests that ask for what isn't there.
    fn wrong_requests(&mut self) {
        for device in [1, 2, 8, 255] {
            let read = BarRead { device, bar: 0, offset: 0, width: 4 };
            let granted = component::call(self.pci, &Describe { device }).is_ok()
                || component::call(self.pci, &Attach { device }).is_ok()
                || component::call(self.pci, &read).is_ok()
                || component::call(self.pci, &Detach { device }).is_ok();
            if granted {
                log!("attack: BROKEN: device {device} isn't this VM's");
            }
        }
        let pci = self.pci;
        // In every state: quiet, being reset, attached.
        for state in 0..3 {
            for _ in 0..500 {
                let random = &mut self.random;
                let (offset, value) = (random.next() >> random.below(64), random.next());
                let (bar, width) = (random.below(8) as u8, [1, 2, 3, 4, 8, 0][random.below(6) as usize]);
                let _ = component::call(pci, &BarRead { device: 0, bar, offset, width });
                // The device is one whose registers are all mapped, so no write reaches it.
                let _ = component::call(pci, &BarWrite { device: 0, bar, offset, width, value });
                let offset = offset as u16;
                let _ = component::call(pci, &ConfigRead { device: 0, offset, width });
                let _ = component::call(pci, &ConfigWrite { device: 0, offset, width, value: value as u32 });
                let vector = value as u16 >> random.below(16);
                let _ = component::call(pci, &MaskVector { device: 0, vector, masked: value & 1 != 0 });
            }
            match state {
                0 => _ = component::call(pci, &Attach { device: 0 }),
                1 => _ = check::attach(pci),
                _ => _ = component::call(pci, &Detach { device: 0 }),
            }
        }
        log!("attack: wrong requests are made");
    }

    /// Capabilities of other kinds where servers put theirs.
    fn strange_capabilities(&mut self, part: &Part, config: &VmmConfig) {
        let Some(device) = config.devices.first() else { return };
        let kinds = [
            slot::TCB.bits(),
            slot::NOTIFICATION.bits(),
            slot::CNODE.bits(),
            slot::VSPACE.bits(),
            slot::SCHED_CONTEXT.bits(),
            self.pci.bits(),
            part.find(RangeKind::GuestRam).map_or(0, |range| range.first),
        ];
        let places =
            |mount, first: u16, count: u16| (first..first + count).map(move |n| cptr(mount, n.into()));
        let all = || {
            places(mount::VMM_BARS, device.bars_first, device.bars_count).chain(places(
                mount::VMM_IRQS,
                device.irqs_first,
                device.irqs_count,
            ))
        };
        for kind in kinds {
            for place in all() {
                let _ = slot_at(place).copy(&slot_at(kind), CapRights::all());
            }
            if check::attach(self.pci).is_ok() {
                log!("attack: BROKEN: a device was attached into slots that were taken");
            }
            for place in all() {
                let _ = slot_at(place).delete();
            }
        }
        // With the slots empty again everything is as before; then what the servers put there goes away under them.
        if check::attach(self.pci).is_err() {
            log!("attack: BROKEN: the device is lost");
        }
        for place in all() {
            let _ = slot_at(place).revoke();
            let _ = slot_at(place).delete();
            let _ = slot_at(place).copy(&slot_at(slot::TCB.bits()), CapRights::all());
        }
        if component::call(self.pci, &Detach { device: 0 }).is_err() {
            log!("attack: BROKEN: the device can't be detached");
        }
        for place in all() {
            let _ = slot_at(place).delete();
        }
        log!("attack: strange capabilities are placed");
    }

    /// Its own RAM and CNodes go away while its device is attached, and while it is to be attached.
    fn own_capabilities_gone(&mut self, part: &Part, config: &VmmConfig) {
        let Some(ram) = part.find(RangeKind::GuestRam) else { return };
        let _ = check::attach(self.pci);
        for n in 0..ram.count / 2 {
            // The holdings' copies descend from this one.
            let _ = slot_at(ram.first + n).revoke();
            let _ = slot_at(ram.first + n).delete();
        }
        let _ = component::call(self.pci, &Detach { device: 0 });
        let again = check::attach(self.pci);
        log!("attack: without half of its RAM the device is attached: {}", again.is_ok());
        for vector in 0..config.devices.first().map_or(0, |device| device.irqs_count) {
            let handler = cap::IrqHandler::from_bits(cptr(mount::VMM_IRQS, u64::from(vector) + 1));
            let _ = handler.irq_handler_set_notification(cap::Notification::from_bits(slot::TCB.bits()));
            let _ = handler.irq_handler_ack();
            let _ = handler.irq_handler_clear();
        }
        log!("attack: its own memory is gone");
    }

    /// The same thing again and again.
    fn floods(&mut self) {
        for n in 0..FLOOD as u64 {
            let _ = component::call(self.timer, &SetDeadline { tsc: [0, u64::MAX, n][n as usize % 3] });
            let _ = component::call(self.pci, &Describe { device: 0 });
            self.console.signal();
            self.raw(slot::SUPERVISOR, 1 << 33, 0);
            // A reset is under way, or over.
            let _ = component::call(self.pci, &Attach { device: 0 });
        }
        let mut words = [0; 4];
        let length = encode(&SetDeadline { tsc: u64::MAX }, &mut words).unwrap_or(0);
        for _ in 0..FLOOD {
            set_words(&words);
            self.timer.nb_send(MessageInfo::new(SetDeadline::LABEL, 0, 0, length));
        }
        log!("attack: floods are over");
    }

    /// Anything at all in the log ring, header and data.
    fn log_ring(&mut self) {
        let capacity = RING_BYTES as u64 - 128;
        for round in 0..60u64 {
            let (tail, bytes) = (self.random.below(capacity), self.random.below(2_000));
            // Head, lost lines, tail.
            let words = match round % 4 {
                0 => [(tail + bytes) % capacity, round, tail],
                1 => [capacity, u64::MAX, capacity],
                2 => [self.random.next(), self.random.next(), self.random.next()],
                _ => [u64::MAX, 0, 1],
            };
            for n in 0..bytes / 8 {
                let place = ((tail + 8 * n) % (capacity - 8)) & !7;
                put(128 + place as usize, self.random.next());
            }
            for (place, word) in [0, 4, 64].into_iter().zip(words) {
                put(place, word as u32);
            }
            self.console.signal();
        }
        [0, 4, 64].into_iter().for_each(|place| put(place, 0u32));
    }
}

/// Writes into the log ring, which nobody here holds a reference to meanwhile.
fn put<T>(place: usize, value: T) {
    assert!(place.is_multiple_of(size_of::<T>()) && place + size_of::<T>() <= RING_BYTES);
    // SAFETY: the ring is mapped there, read-write; the place is aligned and inside.
    unsafe { ((RING + place) as *mut T).write_volatile(value) };
}
