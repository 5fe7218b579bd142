// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest with 2 MiB of memory, and the little of a VMM that the checks need.

use core::mem;

use kernel_tests::{Env, Failure, Outcome, check, check_eq};
use sel4::init_thread::slot;
use sel4::{CapRights, EptVmAttributes, IpcBuffer, VmAttributes, VmEnterResult, cap, cap_type};
use sel4_abi::{entry_flush, vcpu, vmcb};

use crate::code;

/// Exit codes (APM volume 2, appendix C).
pub mod exit {
    #![allow(missing_docs)]
    pub const VINTR: u64 = 0x64;
    pub const CPUID: u64 = 0x72;
    pub const HLT: u64 = 0x78;
    pub const IOIO: u64 = 0x7b;
    pub const MSR: u64 = 0x7c;
    pub const SHUTDOWN: u64 = 0x7f;
    pub const XSETBV: u64 = 0x8d;
    pub const VMMCALL: u64 = 0x81;
    pub const NESTED_PAGE_FAULT: u64 = 0x400;
    pub const REFUSED: u64 = u64::MAX;
}

/// EVENTINJ of the external interrupt 0x41.
pub const INTERRUPT: u64 = 0x8000_0041;
/// One that is refused: an exception of the vector of NMIs.
pub const REFUSED_EVENT: u64 = 0x8000_0302;
/// Where the first guest's memory is in the initial thread's address space; the next ones follow.
const RAM: usize = 0x90_0000_0000;
/// Bytes of a guest's memory.
const RAM_BYTES: usize = 1 << 21;
const RW: CapRights = CapRights::read_write();

/// Indices of the general registers in a message.
pub mod reg {
    #![allow(missing_docs)]
    pub const RAX: usize = 0;
    pub const RBX: usize = 1;
    pub const RCX: usize = 2;
    pub const RDX: usize = 3;
    pub const RDI: usize = 5;
}

/// A guest.
pub struct Vm {
    pub vcpu: cap::VCpu,
    pub root: cap::EptPml4,
    /// Its memory, as it is mapped for the guest.
    pub nested: cap::LargePage,
    ram: usize,
    /// RIP of the next entry.
    pub rip: u64,
    /// MR1 of the next entry.
    pub control: u64,
    /// MR2 of the next entry.
    pub event: u64,
    /// General registers.
    pub registers: [u64; vcpu::REGISTERS],
    words: [u64; vcpu::EXIT_WORDS],
    paused: bool,
}

/// What ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// An exit with this code.
    Exit(u64),
    /// A notification with this badge.
    Notification(u64),
}

impl Vm {
    /// Makes guest number `n` that begins at `entry`, bound to nobody.
    pub fn new(env: &mut Env, n: usize, entry: u64) -> Outcome<Self> {
        Self::entered(env, n, entry, entry_flush::AUTO)
    }

    /// The same for a guest that is entered as `flush` says, one of `sel4_abi::entry_flush`.
    pub fn entered(env: &mut Env, n: usize, entry: u64, flush: u64) -> Outcome<Self> {
        if env.bootinfo.extensions().is_none_or(|e| e.vcpu_backend != 2) {
            return Err(Failure::skip("the machine has no SVM"));
        }
        let ram = RAM + n * RAM_BYTES;
        if n == 0 {
            let (vspace, attributes) = (slot::VSPACE.cap(), VmAttributes::DEFAULT);
            env.make::<cap_type::Pdpt>()?.pdpt_map(vspace, ram, attributes)?;
            env.make::<cap_type::PageDirectory>()?.page_directory_map(vspace, ram, attributes)?;
        }
        let frame: cap::LargePage = env.make()?;
        frame.frame_map(slot::VSPACE.cap(), ram, RW, VmAttributes::DEFAULT)?;
        let root: cap::EptPml4 = env.make()?;
        // Nested roots take their identifier from the same pools.
        slot::ASID_POOL.cap().asid_pool_assign_nested(root, flush)?;
        let attributes = EptVmAttributes::DEFAULT;
        env.make::<cap_type::EptPdpt>()?.ept_pdpt_map(root, 0, attributes)?;
        env.make::<cap_type::EptPageDirectory>()?.ept_page_directory_map(root, 0, attributes)?;
        let nested = env.copy(frame, CapRights::all())?;
        nested.frame_map_ept(root, 0, RW, attributes)?;
        let vcpu: cap::VCpu = env.make()?;
        let zero = [0; vcpu::REGISTERS];
        let words = [0; vcpu::EXIT_WORDS];
        let vm = Self {
            vcpu,
            root,
            nested,
            ram,
            rip: entry,
            control: 0,
            event: 0,
            registers: zero,
            words,
            paused: false,
        };
        vm.fill_memory();
        vm.long_mode()?;
        vm.set(vmcb::RFLAGS, env.guest_flags())?;
        Ok(vm)
    }

    /// Makes guest number `n` and binds it to the initial thread.
    pub fn bound(env: &mut Env, n: usize, entry: u64) -> Outcome<Self> {
        let vm = Self::new(env, n, entry)?;
        vm.bind(slot::TCB.cap())?;
        Ok(vm)
    }

    /// Binds it to a thread, nested tables and all.
    pub fn bind(&self, tcb: cap::Tcb) -> Outcome {
        self.vcpu.vcpu_set_tcb(tcb)?;
        tcb.tcb_set_ept_root(self.root)?;
        Ok(())
    }

    fn at<T>(&self, gpa: usize) -> *mut T {
        assert!(gpa + mem::size_of::<T>() <= RAM_BYTES);
        (self.ram + gpa) as *mut T
    }

    /// Where a guest-physical address is in the initial thread's address space.
    pub fn address(&self, gpa: usize) -> u64 {
        self.at::<u64>(gpa) as u64
    }

    /// Writes a word of the guest's memory.
    pub fn poke(&self, gpa: usize, value: u64) {
        // SAFETY: inside the frame mapped there, which is only used through these two.
        unsafe { self.at::<u64>(gpa).write_volatile(value) }
    }

    /// Reads a word of the guest's memory.
    pub fn peek(&self, gpa: usize) -> u64 {
        // SAFETY: as for `poke`.
        unsafe { self.at::<u64>(gpa).read_volatile() }
    }

    /// Page tables, IDT, GDT and code, where `guest.s` says.
    fn fill_memory(&self) {
        self.poke(0x1000, 0x2003);
        self.poke(0x2000, 0x83);
        self.poke(0x7008, 0x00af_9b00_0000_ffff);
        self.poke(0x7010, 0x00cf_9300_0000_ffff);
        for (vector, handler) in [(0x41, code::entry::guest_irq()), (1, code::entry::guest_db())] {
            let gate = handler & 0xffff | 8 << 16 | 0x8e00 << 32 | (handler >> 16 & 0xffff) << 48;
            self.poke(0x8000 + 16 * vector, gate);
            self.poke(0x8000 + 16 * vector + 8, handler >> 32);
        }
        for (n, byte) in code::bytes().iter().enumerate() {
            // SAFETY: as for `poke`; the code is shorter than the memory.
            unsafe { self.at::<u8>(code::BASE as usize + n).write_volatile(*byte) }
        }
    }

    /// Writes a field and sees that it is stored as it is.
    pub fn set(&self, field: u64, value: u64) -> Outcome {
        let stored = self.vcpu.vcpu_write_vmcb(field, value)?;
        check!(stored == value, "field {field:#x}: {stored:#x} stored instead of {value:#x}");
        Ok(())
    }

    fn segment(&self, n: u64, selector: u64, attributes: u64, limit: u64, base: u64) -> Outcome {
        let field = vmcb::ES_SELECTOR + n * vmcb::SEGMENT_STRIDE;
        self.set(field, selector)?;
        self.set(field + 2, attributes)?;
        self.set(field + 4, limit)?;
        self.set(field + 8, base)
    }

    /// Lets the guest use XSAVE, and with it AVX.
    pub fn allow_xsave(&self) -> Outcome {
        const OSXSAVE: u64 = 1 << 18;
        let cr4 = self.vcpu.vcpu_read_vmcb(vmcb::CR4)? | OSXSAVE;
        if self.vcpu.vcpu_write_vmcb(vmcb::CR4, cr4)? != cr4 {
            return Err(Failure::skip("the machine has no XSAVE"));
        }
        Ok(())
    }

    /// 64-bit mode with SSE.
    pub fn long_mode(&self) -> Outcome {
        const EFER_SVME: u64 = 1 << 12;
        self.set(vmcb::EFER, 0xd00 | EFER_SVME)?;
        self.set(vmcb::CR0, 0x8000_0033)?;
        self.set(vmcb::CR4, 0x620)?;
        self.set(vmcb::CR3, 0x1000)?;
        for n in [0, 2, 3, 4, 5] {
            self.segment(n, 16, 0xc93, 0xffff_ffff, 0)?;
        }
        self.segment(1, 8, 0xa9b, 0xffff_ffff, 0)?;
        self.segment(6, 0, 0, 0x17, 0x7000)?;
        self.segment(8, 0, 0, 0xfff, 0x8000)?;
        self.set(vmcb::RSP, 0x20000)
    }

    /// Maps a fresh 2 MiB page at a guest-physical address; its word at offset 8 is as `guest_memory` wants it.
    pub fn map(&self, env: &mut Env, gpa: usize, rights: CapRights) -> Outcome<cap::LargePage> {
        let frame = self.page(env, 0x1122_3344_5566_7788)?;
        frame.frame_map_ept(self.root, gpa, rights, EptVmAttributes::DEFAULT)?;
        Ok(frame)
    }

    /// A fresh 2 MiB page with that word at offset 8.
    pub fn page(&self, env: &mut Env, word: u64) -> Outcome<cap::LargePage> {
        let frame: cap::LargePage = env.make()?;
        let window = RAM + 100 * RAM_BYTES;
        frame.frame_map(slot::VSPACE.cap(), window, RW, VmAttributes::DEFAULT)?;
        // SAFETY: just mapped there, and unmapped right after.
        unsafe { ((window + 8) as *mut u64).write_volatile(word) };
        frame.frame_unmap()?;
        Ok(frame)
    }

    /// Word `n` of the last exit's message.
    pub fn word(&self, n: usize) -> u64 {
        self.words[n]
    }

    /// Enters with the initial thread's buffer.
    pub fn enter(&mut self) -> End {
        sel4::with_ipc_buffer_mut(|buffer| self.enter_with(buffer))
    }

    /// Enters the guest of the calling thread. After a notification the general registers are those in the VCPU.
    pub fn enter_with(&mut self, buffer: &mut IpcBuffer) -> End {
        if !self.paused {
            buffer.msg_regs_mut()[vcpu::MR_REGISTERS..vcpu::EXIT_WORDS].copy_from_slice(&self.registers);
        }
        match sel4::vm_enter_with(buffer, self.rip, self.control, self.event, !self.paused) {
            VmEnterResult::Exit { rip, control, event, exit_code } => {
                self.words.copy_from_slice(&buffer.msg_regs()[..vcpu::EXIT_WORDS]);
                self.words[..4].copy_from_slice(&[rip, control, event, exit_code]);
                self.registers.copy_from_slice(&self.words[vcpu::MR_REGISTERS..]);
                (self.rip, self.control, self.event) = (rip, 0, event);
                self.paused = false;
                End::Exit(exit_code)
            }
            VmEnterResult::Notification { badge, rip, control, event } => {
                self.words.copy_from_slice(&buffer.msg_regs()[..vcpu::EXIT_WORDS]);
                (self.rip, self.control, self.event) = (rip, control, event);
                self.paused = true;
                End::Notification(badge)
            }
        }
    }

    /// Enters and expects an exit.
    #[track_caller]
    pub fn expect(&mut self, code: u64) -> Outcome {
        let end = self.enter();
        if end == End::Exit(code) {
            return Ok(());
        }
        let (rax, rdi) = (self.registers[reg::RAX], self.registers[reg::RDI]);
        let (rip, words) = (self.rip, &self.words[3..7]);
        Err(Failure::new(format_args!(
            "{end:x?} instead of {code:#x}, rip {rip:#x} rax {rax:#x} rdi {rdi} words {words:x?}"
        )))
    }

    /// Steps over the exiting instruction, whose length must be `length`.
    #[track_caller]
    pub fn skip(&mut self, length: u64) -> Outcome {
        check_eq!(self.word(vcpu::MR_INSTRUCTION_LENGTH), length, "the instruction's length");
        self.rip += length;
        Ok(())
    }

    /// Expects VMMCALL with this RAX, and steps over it.
    #[track_caller]
    pub fn expect_call(&mut self, rax: u64) -> Outcome {
        self.expect(exit::VMMCALL)?;
        self.judge_call(rax)
    }

    #[track_caller]
    fn judge_call(&mut self, rax: u64) -> Outcome {
        check_eq!(self.word(vcpu::MR_EXIT_CODE), exit::VMMCALL, "the exit");
        let (found, place) = (self.registers[reg::RAX], self.registers[reg::RDI]);
        if found == code::FAILED {
            return Err(Failure::new(format_args!("the guest failed at {place}")));
        }
        check_eq!(found, rax, "RAX of VMMCALL");
        self.skip(3)
    }

    /// [`Vm::expect_call`] of a guest that sets XCR0 before: some emulators let it do so by itself.
    #[track_caller]
    pub fn expect_call_behind_xsetbv(&mut self, rax: u64) -> Outcome {
        if self.enter() == End::Exit(exit::XSETBV) {
            self.set(vmcb::XCR0, self.registers[reg::RAX])?;
            self.skip(3)?;
            self.enter();
        }
        self.judge_call(rax)
    }

    /// Expects the end of the routine.
    #[track_caller]
    pub fn expect_done(&mut self) -> Outcome {
        self.expect_call(code::DONE)
    }
}
