// SPDX-License-Identifier: MIT OR Apache-2.0
//! The run loop: enter the guest, answer what ended the run, enter again.
use crate::end::End;
use crate::vm::Vm;
use sel4::VmEnterResult;
use sel4_abi::{vcpu, vmcb};
use vmm_devices::decode;
use vmm_devices::exits::{Reason, code};
use vmm_devices::inject::{self, RFLAGS_IF};

/// What the guest goes on with.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// Its instruction pointer.
    pub rip: u64,
    /// An event that must be delivered: an exception for the instruction that exited, or a delivery that was interrupted. 0: none.
    pub event: u64,
    /// Its general registers are to be taken from the exit message.
    pub registers: bool,
}

/// An exit, as far as it isn't in the IPC buffer.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// EXITCODE.
    pub code: u64,
    /// RIP of the instruction that exited.
    pub rip: u64,
    /// EXITINFO1.
    pub info1: u64,
    /// EXITINFO2.
    pub info2: u64,
    /// Bytes of the instruction, 0 if the processor didn't say.
    pub length: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// The event that must be delivered again.
    pub event: u64,
}

impl Exit {
    /// Goes on at `rip` with what was under way.
    pub fn resume_at(&self, rip: u64) -> Resume {
        Resume { rip, event: self.event, registers: false }
    }
    /// Goes on behind the instruction, whose length is known.
    pub fn skip(&self) -> Resume {
        self.resume_at(self.rip.wrapping_add(self.length))
    }
    /// Raises an exception at the instruction.
    pub fn raise(&self, exception: u64) -> Resume {
        Resume { rip: self.rip, event: exception, registers: false }
    }
}

/// Opcode.
const HLT: u8 = 0xf4;

/// Runs the guest from `rip` to its end. The general registers are those of the IPC buffer.
pub fn run(vm: &mut Vm, rip: u64) -> End {
    let mut resume = Resume { rip, event: 0, registers: true };
    let mut can_interrupt = false;
    loop {
        let entry = inject::next_entry(&mut vm.apic, resume.event, can_interrupt);
        if resume.event & inject::VALID == 0 && entry.event != 0 {
            vm.exits.delivered(entry.event as u8);
        }
        let control = if entry.window { vcpu::CONTROL_INTERRUPT_WINDOW } else { 0 };
        let result = sel4::with_ipc_buffer_mut(|buffer| {
            sel4::vm_enter_with(buffer, resume.rip, control, entry.event, resume.registers)
        });
        match result {
            VmEnterResult::Exit { rip, event, exit_code, .. } => {
                let (exit, shadow) = sel4::with_ipc_buffer(|buffer| {
                    let words = buffer.msg_regs();
                    let exit = Exit {
                        code: exit_code,
                        rip,
                        info1: words[vcpu::MR_EXIT_INFO1],
                        info2: words[vcpu::MR_EXIT_INFO2],
                        length: words[vcpu::MR_INSTRUCTION_LENGTH],
                        rflags: words[vcpu::MR_RFLAGS],
                        event,
                    };
                    (exit, words[vcpu::MR_INTERRUPT_SHADOW])
                });
                vm.exits.record(exit_code, rip, exit.info1, exit.info2);
                resume = match vm.answer(&exit) {
                    Ok(resume) => resume,
                    Err(end) => return end,
                };
                // The window's exit says so itself. An instruction that was skipped took its predecessor's shadow with it.
                can_interrupt = exit.code == code::VINTR
                    || exit.rflags & RFLAGS_IF != 0 && (shadow == 0 || resume.rip != rip);
            }
            VmEnterResult::Notification { badge, rip, event, .. } => {
                vm.exits.count(if badge >> 8 != 0 { Reason::Msi } else { Reason::Signal });
                vm.signals(badge);
                resume = Resume { rip, event, registers: false };
                can_interrupt = vm.apic.pending().is_some() && interruptible(vm, &mut resume);
            }
        }
    }
}

/// Whether the guest, stopped by a notification, can take an interrupt.
///
/// If it stands before the HLT of an `STI; HLT`, that HLT is done here: it would end at once. Delivering the interrupt before it would
/// lose the wake-up, and not every processor takes the shadow back at the next entry.
fn interruptible(vm: &mut Vm, resume: &mut Resume) -> bool {
    let (rflags, shadow) = sel4::with_ipc_buffer(|buffer| {
        (buffer.msg_regs()[vcpu::MR_RFLAGS], buffer.msg_regs()[vcpu::MR_INTERRUPT_SHADOW])
    });
    if rflags & RFLAGS_IF == 0 || shadow == 0 {
        return rflags & RFLAGS_IF != 0;
    }
    let cr3 = vm.cpu.read(vmcb::CR3);
    let (bytes, mode) = vm.code_at(resume.rip, cr3);
    match decode::length_of(&bytes.bytes.to_le_bytes()[..bytes.available], mode, &[HLT]) {
        Some(length) => {
            resume.rip = resume.rip.wrapping_add(length.into());
            true
        }
        None => false,
    }
}
