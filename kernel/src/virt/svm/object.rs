// SPDX-License-Identifier: MIT OR Apache-2.0
//! The VCPU object of this backend: control block, general registers, extended state.

use core::cell::Cell;
use core::mem::{offset_of, size_of};

use ::mitigations::Steps;
use bitflags::bitflags;
use sel4_abi::message::REGISTERS as IN_REGISTERS;
use sel4_abi::vcpu::{
    CONTROL_INTERRUPT_WINDOW, MR_CONTROL, MR_CR3, MR_EVENT, MR_EXIT_CODE, MR_EXIT_INFO1, MR_EXIT_INFO2,
    MR_INSTRUCTION_LENGTH, MR_INTERRUPT_SHADOW, MR_REGISTERS, MR_RFLAGS, MR_RIP, REGISTERS,
};
use sel4_abi::vmcb;
use svm::event::Event;
use svm::features::Features;
use svm::field::{Field, State};
use svm::intercept::{self, misc1};
use svm::limits::{XCR0_X87, canonical};
use svm::tlb::Tag;
use svm::vmcb::{NESTED_PAGING, Vmcb, int_ctl};
use svm::{check, exit};

use super::extended::Image;
use super::{Machine, Pause, Vcpu};
use crate::transfer::Buffer;
use crate::virt::vcpu::{HEADER, Header, VCPU_SIZE};

// The words that travel in registers are RIP, controls, event and exit code.
const _: () =
    assert!(MR_RIP == 0 && MR_CONTROL == 1 && MR_EVENT == 2 && MR_EXIT_CODE == 3 && IN_REGISTERS == 4);

/// The object. Page 0 is the processor's, page 1 the kernel's, page 2 the extended state, page 3 is spare.
#[repr(C, align(4096))]
pub struct SvmVcpu {
    pub vmcb: Vmcb,
    pub header: Header,
    /// RAX RBX RCX RDX RSI RDI RBP R8–R15. RAX goes to the control block and back around each run.
    pub registers: [Cell<u64>; REGISTERS],
    /// DR0–DR3 while another guest owns the debug registers.
    pub debug: [u64; 4],
    /// XCR0, as the guest left it.
    pub xcr0: u64,
    /// MR1 of the last entry.
    pub control: u64,
    /// Identifier in the translation cache.
    pub tag: Tag,
    /// Exceptions that the VMM wants to see.
    pub exceptions: u32,
    /// What an entry begins with.
    pub due: Due,
    /// What its entries do against speculation, as its nested root says.
    pub steps: Steps,
    pub counters: Counters,
    pub extended: Page<Image>,
    spare: Page<[u8; 4096]>,
}

bitflags! {
    /// What most entries needn't do.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub struct Due: u8 {
        /// A field was written since the last entry, so the block needs its check.
        const CHECK = 1 << 0;
        /// Among the steps was the fill, in which interrupts are off: they are looked for before it.
        const LOOK = 1 << 1;
    }
}

/// How often entries took a step against speculation, or dropped translations.
#[derive(Default)]
#[repr(C)]
pub struct Counters {
    pub l1d_flushes: u64,
    pub buffer_clears: u64,
    pub predictor_barriers: u64,
    /// Entries with nothing of the guest's in the translation cache.
    pub renewals: u64,
    /// Those of them for which the processor had to flush.
    pub tlb_flushes: u64,
}

/// Something on a page of its own.
#[repr(C, align(4096))]
pub struct Page<T>(T);

impl<T> core::ops::Deref for Page<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> core::ops::DerefMut for Page<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

const _: () = {
    assert!(size_of::<SvmVcpu>() == VCPU_SIZE);
    assert!(offset_of!(SvmVcpu, header) == HEADER);
    assert!(offset_of!(SvmVcpu, extended) == 0x2000);
};

/// The allow-list's field of a model-specific register that VCPU_ReadMSR and VCPU_WriteMSR know.
pub fn field_of_msr(msr: u64) -> Option<u64> {
    Some(match msr {
        0xc000_0081 => vmcb::STAR,
        0xc000_0082 => vmcb::LSTAR,
        0xc000_0083 => vmcb::CSTAR,
        0xc000_0084 => vmcb::SFMASK,
        _ => return None,
    })
}

impl SvmVcpu {
    /// The object's memory in this backend's shape.
    #[inline]
    pub fn of<'a>(vcpu: Vcpu) -> &'a mut Self {
        // SAFETY: the object is live and 16 KiB; every bit pattern is valid but for the two booleans of the header, which
        // only the kernel writes. The backend's entry points take one VCPU each, and where one has two (an owner that is
        // displaced) they differ.
        unsafe { &mut *vcpu.as_ptr().cast() }
    }

    /// A processor after reset, under the kernel's intercepts.
    pub fn reset(&mut self, vcpu: Vcpu, machine: &Machine) {
        self.vmcb.clone_from(&Vmcb::RESET);
        let control = &mut self.vmcb.control;
        control.intercept_cr = intercept::CR;
        control.intercept_dr = intercept::DR;
        control.intercept_exceptions = intercept::EXCEPTIONS;
        control.intercept_misc1 = intercept::MISC1;
        control.intercept_misc2 = intercept::MISC2;
        control.intercept_misc3 = intercept::MISC3;
        control.iopm_base = match vcpu.header().io_map.get() {
            0 => machine.io_map,
            map => map,
        };
        control.msrpm_base = machine.msr_map;
        control.int_ctl = int_ctl::V_INTR_MASKING;
        control.nested_control = NESTED_PAGING;
        self.registers.iter().for_each(|r| r.set(0));
        self.debug = [0; 4];
        self.xcr0 = XCR0_X87;
        self.control = 0;
        self.tag = Tag::default();
        self.exceptions = 0;
        self.due = Due::CHECK;
        self.steps = Steps::empty();
        self.counters = Counters::default();
        self.extended.reset();
        self.header.dead.set(false);
        self.header.ready.set(true);
    }

    /// See `Backend::load_entry`.
    #[inline]
    pub fn load_entry(&mut self, [rip, control, event]: [u64; 3]) {
        let rip = canonical(rip);
        if rip != self.vmcb.save.rip {
            // The VMM skipped or emulated an instruction, so the shadow of the one before is over.
            self.vmcb.save.rip = rip;
            self.vmcb.control.interrupt_shadow = 0;
        }
        self.vmcb.control.event_inj = Event::to_inject(event).0;
        if (control ^ self.control) & CONTROL_INTERRUPT_WINDOW != 0 {
            self.set_interrupt_window(control & CONTROL_INTERRUPT_WINDOW != 0);
        }
        self.control = control;
    }

    /// A virtual interrupt that is never delivered: its intercept exits when the guest could take it.
    fn set_interrupt_window(&mut self, open: bool) {
        const REQUEST: u64 = int_ctl::V_IRQ | int_ctl::V_INTR_PRIO | int_ctl::V_IGN_TPR;
        let control = &mut self.vmcb.control;
        if open {
            control.int_ctl |= REQUEST;
            control.intercept_misc1 |= misc1::VINTR;
        } else {
            control.int_ctl &= !REQUEST;
            control.intercept_misc1 &= !misc1::VINTR;
        }
    }

    /// See `Backend::exit_message`.
    #[inline]
    pub fn exit_message(&self, features: &Features, buffer: Option<Buffer>) -> [u64; IN_REGISTERS] {
        let (control, save) = (&self.vmcb.control, &self.vmcb.save);
        let dead = self.header.dead.get();
        if let Some(buffer) = buffer {
            if dead {
                (IN_REGISTERS..MR_REGISTERS).for_each(|n| buffer.set_message(n, 0));
            } else {
                let next_rip = features.next_rip.then_some(control.next_rip);
                let length =
                    exit::instruction_length(control.exit_code, save.rip, control.exit_info2, next_rip);
                buffer.set_message(MR_EXIT_INFO1, control.exit_info1);
                buffer.set_message(MR_INSTRUCTION_LENGTH, length);
                buffer.set_message(MR_EXIT_INFO2, control.exit_info2);
                buffer.set_message(MR_RFLAGS, save.rflags);
                buffer.set_message(MR_INTERRUPT_SHADOW, control.interrupt_shadow & 1);
                buffer.set_message(MR_CR3, save.cr3);
            }
            for (n, register) in self.registers.iter().enumerate() {
                buffer.set_message(MR_REGISTERS + n, register.get());
            }
        }
        if dead {
            // The save area is the host's now.
            return [0, self.control, 0, exit::REFUSED];
        }
        [save.rip, self.control, control.event_inj, control.exit_code]
    }

    /// See `Backend::pause`.
    pub fn pause(&self) -> Pause {
        let (control, save) = (&self.vmcb.control, &self.vmcb.save);
        Pause {
            words: [save.rip, self.control, control.event_inj],
            rflags: save.rflags,
            shadow: control.interrupt_shadow & 1,
        }
    }

    fn state(&mut self) -> State<'_> {
        State { vmcb: &mut self.vmcb, exceptions: &mut self.exceptions, xcr0: &mut self.xcr0 }
    }

    /// See `Backend::read_field`.
    pub fn read_field(&mut self, number: u64) -> Option<u64> {
        match number {
            vmcb::L1D_FLUSHES => return Some(self.counters.l1d_flushes),
            vmcb::BUFFER_CLEARS => return Some(self.counters.buffer_clears),
            vmcb::PREDICTOR_BARRIERS => return Some(self.counters.predictor_barriers),
            vmcb::TLB_RENEWALS => return Some(self.counters.renewals),
            vmcb::TLB_FLUSHES => return Some(self.counters.tlb_flushes),
            _ => {}
        }
        match Field::from_number(number)? {
            Field::Rax => Some(self.registers[0].get()),
            field => Some(self.state().read(field)),
        }
    }

    /// See `Backend::write_field`.
    pub fn write_field(&mut self, number: u64, value: u64, machine: &Machine) -> Option<u64> {
        let field = Field::from_number(number)?;
        let stored = self.state().write(field, value, &machine.features.limits);
        if field.is_translation() {
            self.tag.drop_translations();
        }
        if field == Field::Rax {
            self.registers[0].set(stored);
        }
        self.vmcb.control.intercept_exceptions = self.exceptions | intercept::EXCEPTIONS;
        self.due |= Due::CHECK;
        Some(stored)
    }

    /// True if VMRUN can be tried: `svm::check` has nothing against the block.
    pub fn check(&self, machine: &Machine) -> bool {
        check::save_area(&self.vmcb.save, &machine.features.limits).is_ok()
    }
}
