// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtual CPU object: fields of its control block, and what of them is worth remembering.
use sel4::cap;
use sel4_abi::vmcb as field;
use vmm_devices::decode::Mode;
use vmm_devices::msr::EFER_VISIBLE;
use vmm_devices::vmcb;
use vmm_devices::walk::Paging;

const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;

/// The virtual CPU.
pub struct Cpu {
    vcpu: cap::VCpu,
    /// Whether EFER.LME is set. The guest's writes to EFER exit, so this is known without asking.
    long_mode_enabled: bool,
    /// TSC_AUX, held.
    pub tsc_aux: u32,
    /// Bits that XCR0 may hold.
    pub xcr0_offered: u64,
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
    /// Sets the entry state of a guest whose time 0 is `start` of the machine's time-stamp counter.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(vcpu: cap::VCpu, start: u64) -> Result<Self, sel4::Error> {
        vmcb::initial(start, |number, value| vcpu.vcpu_write_vmcb(number, value).map(drop))?;
        // The kernel stores what the processor can have; after reset only x87 is on.
        let xcr0_offered = vcpu.vcpu_write_vmcb(field::XCR0, u64::MAX)?;
        vcpu.vcpu_write_vmcb(field::XCR0, 1)?;
        Ok(Self { vcpu, long_mode_enabled: false, tsc_aux: 0, xcr0_offered })
    }

    /// Reads a field; 0 if the kernel refuses, which it doesn't for the fields of `sel4_abi::vmcb` while the guest is alive.
    pub fn read(&self, number: u64) -> u64 {
        self.vcpu.vcpu_read_vmcb(number).unwrap_or(0)
    }

    /// Writes a field; whether it now holds just that.
    pub fn write(&mut self, number: u64, value: u64) -> bool {
        self.vcpu.vcpu_write_vmcb(number, value) == Ok(value)
    }

    /// EFER as the guest sees it.
    pub fn efer(&self) -> u64 {
        self.read(field::EFER) & EFER_VISIBLE
    }

    /// Writes EFER; whether the processor can have that.
    pub fn set_efer(&mut self, value: u64) -> bool {
        let stored = self.vcpu.vcpu_write_vmcb(field::EFER, value);
        self.long_mode_enabled = self.read(field::EFER) & EFER_LME != 0;
        stored.is_ok_and(|stored| stored & EFER_VISIBLE == value)
    }

    /// How to decode the instruction that exited. In 64-bit mode this is one system call, otherwise a few.
    pub fn code_state(&self) -> CodeState {
        let attributes = self.read(vmcb::CS_ATTRIBUTES);
        let mode = vmcb::mode(attributes, self.long_mode_enabled);
        if mode == Mode::Bits64 {
            return CodeState { mode, paging: Paging::Long, base: 0 };
        }
        let (cr0, cr4, efer) = (self.read(field::CR0), self.read(field::CR4), self.read(field::EFER));
        let paging = Paging::from_registers(cr0, cr4, efer);
        CodeState {
            mode: vmcb::mode(attributes, efer & EFER_LMA != 0),
            paging,
            base: self.read(vmcb::CS_BASE),
        }
    }
}
