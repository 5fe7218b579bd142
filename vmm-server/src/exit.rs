// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which exit goes where.
use crate::end::{End, Fault};
use crate::registers;
use crate::run::{Exit, Resume};
use crate::vm::Vm;
use protocol::start::signal;
use vmm_devices::decode::Mode;
use vmm_devices::exits::code;
use vmm_devices::fetch::{Code, fetch};
use vmm_devices::inject::{GENERAL_PROTECTION, INVALID_OPCODE, RFLAGS_IF};
use vmm_devices::ports::{self, Input, Output};

impl Vm {
    /// Answers an exit: how the guest goes on, or that it has ended.
    pub fn answer(&mut self, exit: &Exit) -> Result<Resume, End> {
        match exit.code {
            code::IOIO => self.port(exit),
            code::CPUID => Ok(self.cpuid(exit)),
            code::NPF => self.nested_fault(exit),
            code::MSR => Ok(self.msr(exit)),
            code::VINTR => Ok(exit.resume_at(exit.rip)),
            code::HLT => self.halt(exit),
            code::CR4_WRITE => self.write_cr4(exit),
            code::CR8_READ | code::CR8_WRITE => self.cr8(exit),
            code::XSETBV => Ok(self.xsetbv(exit)),
            code::INVD | code::WBINVD => Ok(exit.skip()),
            code::RDTSC | code::RDTSCP => self.rdtsc(exit),
            code::RDPMC => Ok(exit.raise(GENERAL_PROTECTION)),
            code::RSM
            | code::INVLPGA
            | code::VMRUN..=code::SKINIT
            | code::ICEBP
            | code::MONITOR
            | code::MWAIT
            | code::MWAIT_CONDITIONAL
            | code::RDPRU
            | code::INVLPGB
            | code::INVLPGB_ILLEGAL
            | code::MCOMMIT
            | code::TLBSYNC => Ok(exit.raise(INVALID_OPCODE)),
            code::SHUTDOWN => Err(End::Fault(Fault::Triple)),
            refused if refused as u32 == code::REFUSED => Err(End::Fault(Fault::Refused)),
            unknown => Err(End::Fault(Fault::UnknownExit(unknown))),
        }
    }

    fn port(&mut self, exit: &Exit) -> Result<Resume, End> {
        let Some(access) = ports::Access::from_info(exit.info1) else {
            return Err(End::Fault(Fault::UnknownExit(exit.code)));
        };
        if access.string {
            return Err(End::Fault(Fault::StringPort(access.port)));
        }
        let rax = registers::get(registers::RAX);
        let ports::Access { port, width, .. } = access;
        if access.read {
            #[cfg(feature = "deaths")]
            if port == crate::deaths::PORT {
                registers::set(registers::RAX, self.death.into());
                return Ok(Resume { registers: true, ..exit.skip() });
            }
            let value = match ports::input(port, width) {
                Input::Nothing => self.devices.read_port(port, width),
                Input::Uart(offset) => u32::from(self.uart.read(offset)) | !0xff,
                Input::ConfigAddress => self.config_ports.address(),
                Input::ConfigData => self.read_config(self.config_ports.target(port, width), width) as u32,
            };
            registers::set(registers::RAX, ports::merge_input(rax, width, value));
            return Ok(Resume { registers: true, ..exit.skip() });
        }
        #[cfg(feature = "deaths")]
        if port == crate::deaths::PORT {
            self.death = crate::deaths::kill(ports::output_value(rax, width));
            return Ok(exit.skip());
        }
        match ports::output(port, width, ports::output_value(rax, width)) {
            Output::Nothing => self.devices.write_port(port, width, ports::output_value(rax, width)),
            Output::Uart(offset, value) => self.uart.write(offset, value, component::log::bytes),
            Output::Statistics => component::log!("vmm: {}", self.exits),
            Output::PowerOff => return Err(End::PowerOff(0)),
            Output::Exit(code) => return Err(End::PowerOff(code)),
            Output::Reset => return Err(End::Reset),
            Output::ConfigAddress(value) => self.config_ports.set_address(value),
            Output::ConfigData(value) => {
                self.write_config(self.config_ports.target(port, width), width, value)?;
            }
        }
        Ok(exit.skip())
    }

    /// Sleeps until an interrupt can be delivered.
    fn halt(&mut self, exit: &Exit) -> Result<Resume, End> {
        if exit.rflags & RFLAGS_IF == 0 {
            return Err(End::Fault(Fault::Halted));
        }
        while self.apic.pending().is_none() {
            let bits = component::wait();
            self.signals(bits);
        }
        Ok(exit.skip())
    }

    /// Waits for pci-server's sign; everything else that comes meanwhile is done.
    pub fn wait_for_control(&mut self) {
        loop {
            let bits = component::wait();
            self.signals(bits);
            if bits & signal::VMM_CONTROL != 0 {
                return;
            }
        }
    }

    /// The code at `rip`, and the mode to decode it in. `cr3` is the guest's.
    pub fn code_at(&mut self, rip: u64, cr3: u64) -> (Code, Mode) {
        let state = self.cpu.code_state(rip, cr3);
        (fetch(&self.ram, state.paging, cr3, state.base.wrapping_add(rip)), state.mode)
    }

    /// The code of an exit.
    pub fn code_of(&mut self, exit: &Exit) -> (Code, Mode) {
        let cr3 = sel4::with_ipc_buffer(|buffer| buffer.msg_regs()[sel4_abi::vcpu::MR_CR3]);
        self.code_at(exit.rip, cr3)
    }
}
