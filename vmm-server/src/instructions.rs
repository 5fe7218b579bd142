// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intercepted instructions that are emulated: CPUID, RDMSR, WRMSR, MOV CR8, XSETBV, RDTSC.
use crate::end::{End, Fault};
use crate::registers::{self, RAX, RBX, RCX, RDX, Registers};
use crate::run::{Exit, Resume};
use crate::vm::Vm;
use sel4_abi::vmcb as field;
use vmm_devices::cpuid;
use vmm_devices::decode::{self, Mode, MoveControl, Register, RegisterFile};
use vmm_devices::exits::code;
use vmm_devices::inject::GENERAL_PROTECTION;
use vmm_devices::msr::{self, Msr};

/// EXITINFO1 of an MSR exit: it was a write.
const MSR_WRITE: u64 = 1;

impl Vm {
    /// CPUID.
    pub fn cpuid(&mut self, exit: &Exit) -> Resume {
        let (leaf, subleaf) = (registers::get(RAX) as u32, registers::get(RCX) as u32);
        let (cr4, xcr0) = if cpuid::needs_registers(leaf) {
            (self.cpu.read(field::CR4), self.cpu.read(field::XCR0))
        } else {
            (0, 0)
        };
        let guest =
            cpuid::Guest { cr4, xcr0, xcr0_offered: self.cpu.xcr0_offered, tsc_khz: self.clock.khz() };
        let [a, b, c, d] = cpuid::filter(leaf, subleaf, &guest, |leaf, subleaf| {
            let host = component::cpu::cpuid(leaf, subleaf);
            [host.eax, host.ebx, host.ecx, host.edx]
        });
        registers::set(RAX, a.into());
        registers::set(RBX, b.into());
        registers::set(RCX, c.into());
        registers::set(RDX, d.into());
        Resume { registers: true, ..exit.skip() }
    }

    /// RDMSR and WRMSR.
    pub fn msr(&mut self, exit: &Exit) -> Resume {
        let number = registers::get(RCX) as u32;
        if exit.info1 & MSR_WRITE == 0 {
            let Some(value) = self.read_msr(number) else { return exit.raise(GENERAL_PROTECTION) };
            registers::set(RAX, value & 0xffff_ffff);
            registers::set(RDX, value >> 32);
            return Resume { registers: true, ..exit.skip() };
        }
        let value = registers::get(RAX) & 0xffff_ffff | registers::get(RDX) << 32;
        match self.write_msr(number, value) {
            Some(()) => exit.skip(),
            None => exit.raise(GENERAL_PROTECTION),
        }
    }

    fn read_msr(&self, number: u32) -> Option<u64> {
        Some(match msr::classify(number) {
            Msr::X2apic => return self.apic.read_msr(number, self.clock.now()).ok(),
            Msr::ApicBase => self.apic.base(),
            Msr::Tsc => self.clock.now(),
            Msr::TscAux => self.cpu.tsc_aux.into(),
            Msr::Efer => self.cpu.efer(),
            Msr::Field(number) => self.cpu.read(number),
            Msr::Zero => 0,
            Msr::None => return None,
        })
    }

    fn write_msr(&mut self, number: u32, value: u64) -> Option<()> {
        match msr::classify(number) {
            Msr::X2apic => {
                self.apic.write_msr(number, value, self.clock.now()).ok()?;
                self.clock.want(self.apic.deadline());
                self.tell_end();
            }
            Msr::ApicBase => self.apic.set_base(value).ok()?,
            Msr::TscAux => self.cpu.tsc_aux = u32::try_from(value).ok()?,
            Msr::Efer => {
                let value = msr::efer(self.cpu.efer(), value, self.cpu.read(field::CR0))?;
                return self.cpu.set_efer(value).then_some(());
            }
            Msr::Field(number) => {
                return (msr::can_hold(number, value) && self.cpu.write(number, value)).then_some(());
            }
            Msr::Tsc | Msr::Zero | Msr::None => return None,
        }
        Some(())
    }

    /// MOV to and from CR8: the task priority.
    pub fn cr8(&mut self, exit: &Exit) -> Result<Resume, End> {
        let (instruction, _) = self.move_of_control_register(exit, 8)?;
        let mut file = Registers { stack_pointer: 0 };
        let uses_stack_pointer = instruction.register == Register::RSP;
        let next = exit.resume_at(exit.rip.wrapping_add(instruction.length.into()));
        if exit.code == code::CR8_READ {
            file.set(instruction.register, self.apic.cr8());
            if uses_stack_pointer {
                self.cpu.write(field::RSP, file.stack_pointer);
            }
            return Ok(Resume { registers: true, ..next });
        }
        if uses_stack_pointer {
            file.stack_pointer = self.cpu.read(field::RSP);
        }
        match self.apic.set_cr8(file.get(instruction.register)) {
            Ok(()) => Ok(next),
            Err(_) => Ok(exit.raise(GENERAL_PROTECTION)),
        }
    }

    /// MOV to CR4.
    pub fn write_cr4(&mut self, exit: &Exit) -> Result<Resume, End> {
        let (instruction, mode) = self.move_of_control_register(exit, 4)?;
        let uses_stack_pointer = instruction.register == Register::RSP;
        let file =
            Registers { stack_pointer: if uses_stack_pointer { self.cpu.read(field::RSP) } else { 0 } };
        let value = file.get(instruction.register);
        let value = if mode == Mode::Bits64 { value } else { value & 0xffff_ffff };
        if self.cpu.set_cr4(value) {
            Ok(exit.resume_at(exit.rip.wrapping_add(instruction.length.into())))
        } else {
            Ok(exit.raise(GENERAL_PROTECTION))
        }
    }

    fn move_of_control_register(&mut self, exit: &Exit, number: u8) -> Result<(MoveControl, Mode), End> {
        let (bytes, mode) = self.code_of(exit);
        let all = bytes.bytes.to_le_bytes();
        match decode::move_control(&all[..bytes.available], mode, number) {
            Some(instruction) => Ok((instruction, mode)),
            None => Err(End::Fault(Fault::Instruction(bytes.bytes as u64))),
        }
    }

    /// XSETBV, where the processor intercepts it.
    pub fn xsetbv(&mut self, exit: &Exit) -> Resume {
        const X87: u64 = 1;
        let value = registers::get(RAX) & 0xffff_ffff | registers::get(RDX) << 32;
        let privileged = self.cpu.read(field::CPL) == 0;
        let old = self.cpu.read(field::XCR0);
        if !privileged || registers::get(RCX) as u32 != 0 || value & X87 == 0 {
            return exit.raise(GENERAL_PROTECTION);
        }
        if !self.cpu.write(field::XCR0, value) {
            self.cpu.write(field::XCR0, old);
            return exit.raise(GENERAL_PROTECTION);
        }
        exit.skip()
    }

    /// RDTSC and RDTSCP, should a processor let them exit; one reports both as RDTSC.
    pub fn rdtsc(&mut self, exit: &Exit) -> Result<Resume, End> {
        let (bytes, mode): (_, Mode) = self.code_of(exit);
        let all = bytes.bytes.to_le_bytes();
        let code = &all[..bytes.available];
        let plain = decode::length_of(code, mode, &[0x0f, 0x31]);
        let with_aux = decode::length_of(code, mode, &[0x0f, 0x01, 0xf9]);
        let Some(length) = plain.or(with_aux) else {
            return Err(End::Fault(Fault::Instruction(bytes.bytes as u64)));
        };
        let now = self.clock.now();
        registers::set(RAX, now & 0xffff_ffff);
        registers::set(RDX, now >> 32);
        if with_aux.is_some() {
            registers::set(RCX, self.cpu.tsc_aux.into());
        }
        Ok(Resume { registers: true, ..exit.resume_at(exit.rip.wrapping_add(length.into())) })
    }
}
