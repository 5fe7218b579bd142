// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual CPU object: fields of its control block, and what of them is worth remembering.
use sel4::cap;
use sel4_abi::vmcb as field;
use vmm_devices::decode::Mode;
use vmm_devices::msr::{self, EFER_VISIBLE};
use vmm_devices::vmcb;
use vmm_devices::walk::Paging;

const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const CR4_PAE: u64 = 1 << 5;

const KNOWN: usize = 16;

fn place_of(rip: u64) -> usize {
    (rip ^ rip >> 4) as usize % KNOWN
}

/// The virtual CPU.
pub struct Cpu {
    vcpu: cap::VCpu,
    /// Whether EFER.LME is set. The guest's writes to EFER exit, so this is known without asking.
    long_mode_enabled: bool,
    /// RIP and CR3 of instructions that were found to be 64-bit code, by [`place_of`].
    known: [(u64, u64); KNOWN],
    /// TSC_AUX, held.
    pub tsc_aux: u32,
    /// Bits that XCR0 may hold.
    pub xcr0_offered: u64,
    /// EFER.LME is set as far as the guest knows, and held back until it turns PAE on.
    long_mode_waits: bool,
}

/// How the code that exited is addressed and decoded.
#[derive(Clone, Copy)]
pub struct CodeState {
    /// Default sizes.
    pub mode: Mode,
    /// Translation of linear addresses.
    pub paging: Paging,
    /// Base of the code segment.
    pub base: u64,
}

impl Cpu {
    /// Not to be run before [`Self::begin`].
    pub fn new(vcpu: cap::VCpu) -> Self {
        let known = [(u64::MAX, 0); KNOWN];
        Self { vcpu, long_mode_enabled: false, known, tsc_aux: 0, xcr0_offered: 0, long_mode_waits: false }
    }

    /// Sets the entry state of a guest whose time 0 is `start` of the machine's time-stamp counter.
    ///
    /// # Errors
    /// The kernel's.
    pub fn begin(&mut self, start: u64) -> Result<(), sel4::Error> {
        vmcb::initial(start, |number, value| self.vcpu.vcpu_write_vmcb(number, value).map(drop))?;
        // The kernel stores what the processor can have; after reset only x87 is on.
        self.xcr0_offered = self.vcpu.vcpu_write_vmcb(field::XCR0, u64::MAX)?;
        self.vcpu.vcpu_write_vmcb(field::XCR0, 1).map(drop)
    }

    /// Reads a field; 0 if the kernel refuses, which it doesn't for the fields of `sel4_abi::vmcb` while the guest is alive.
    pub fn read(&self, number: u64) -> u64 {
        self.vcpu.vcpu_read_vmcb(number).unwrap_or(0)
    }

    /// The guest's general registers as they were when it ran last, by the encoding's numbers.
    pub fn registers(&self) -> [u64; 16] {
        let sel4::VCpuContext { rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15 } =
            self.vcpu.vcpu_read_registers().unwrap_or_default();
        let rsp = self.read(field::RSP);
        [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15]
    }

    /// Writes a field; whether it now holds just that.
    pub fn write(&mut self, number: u64, value: u64) -> bool {
        self.vcpu.vcpu_write_vmcb(number, value) == Ok(value)
    }

    /// EFER as the guest sees it.
    pub fn efer(&self) -> u64 {
        self.read(field::EFER) & EFER_VISIBLE | if self.long_mode_waits { EFER_LME } else { 0 }
    }

    /// Writes EFER; whether the processor can have that.
    pub fn set_efer(&mut self, value: u64) -> bool {
        self.long_mode_waits = value & EFER_LME != 0
            && msr::long_mode_waits(value, self.read(field::CR0), self.read(field::CR4));
        let value = if self.long_mode_waits { value & !EFER_LME } else { value };
        let stored = self.vcpu.vcpu_write_vmcb(field::EFER, value);
        self.known = [(u64::MAX, 0); KNOWN];
        self.long_mode_enabled = self.read(field::EFER) & EFER_LME != 0;
        stored.is_ok_and(|stored| stored & EFER_VISIBLE == value)
    }

    /// Writes CR4; whether the processor can have that.
    pub fn set_cr4(&mut self, value: u64) -> bool {
        let (efer, old) = (self.efer(), self.read(field::CR4));
        if !msr::may_write_cr4(efer, value) {
            return false;
        }
        if !self.write(field::CR4, value) {
            self.write(field::CR4, old);
            return false;
        }
        // Whether EFER.LME has to wait depends on PAE.
        (old ^ value) & CR4_PAE == 0 || self.set_efer(efer)
    }

    /// How to decode the instruction at `rip` of the address space `cr3`.
    ///
    /// That an instruction is 64-bit code is remembered, since asking costs a system call: a guest that runs the same address of
    /// the same address space as 32-bit code later has it decoded wrongly, to its own loss only.
    pub fn code_state(&mut self, rip: u64, cr3: u64) -> CodeState {
        const LONG: CodeState = CodeState { mode: Mode::Bits64, paging: Paging::Long, base: 0 };
        let known = &mut self.known[place_of(rip)];
        if *known == (rip, cr3) {
            return LONG;
        }
        let read = |number| self.vcpu.vcpu_read_vmcb(number).unwrap_or(0);
        let attributes = read(vmcb::CS_ATTRIBUTES);
        if vmcb::mode(attributes, self.long_mode_enabled) == Mode::Bits64 {
            *known = (rip, cr3);
            return LONG;
        }
        let (cr0, cr4, efer) = (read(field::CR0), read(field::CR4), read(field::EFER));
        let paging = Paging::from_registers(cr0, cr4, efer);
        CodeState { mode: vmcb::mode(attributes, efer & EFER_LMA != 0), paging, base: read(vmcb::CS_BASE) }
    }
}
