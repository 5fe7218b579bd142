// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses to guest-physical memory that isn't mapped: trapped windows, and nowhere.
use crate::end::{End, Fault};
use crate::registers::Registers;
use crate::run::{Exit, Resume};
use crate::vm::Vm;
use sel4_abi::vmcb as field;
use vmm_devices::decode::Instruction;
use vmm_devices::ecam::{self, Target};
use vmm_devices::exits::nested_fault;
use vmm_devices::layout;

/// What lies at a trapped address.
#[derive(Clone, Copy)]
enum Place {
    /// The local APIC's page, at this offset.
    Apic(u32),
    /// The I/O APIC's page, at this offset.
    IoApic(u32),
    /// Configuration space, at this offset.
    Config(u64),
    /// Registers of a device that aren't mapped.
    Bar(crate::devices::BarPlace),
}

impl Vm {
    /// Answers a nested page fault.
    pub fn nested_fault(&mut self, exit: &Exit) -> Result<Resume, End> {
        let gpa = exit.info2;
        if exit.info1 & nested_fault::TABLE_WALK != 0 {
            return Err(End::Fault(Fault::TablesNowhere(gpa)));
        }
        if exit.info1 & nested_fault::FETCH != 0 {
            let fault = match self.devices.place(gpa) {
                Some(_) => Fault::FetchRegisters(gpa),
                None => Fault::FetchNowhere(gpa),
            };
            return Err(End::Fault(fault));
        }
        let Some(place) = self.place(gpa) else { return Err(End::Fault(Fault::Nowhere(gpa))) };
        let (code, mode) = self.code_of(exit);
        let Some(instruction) = self.cache.decode(exit.rip, code.bytes, code.available, mode) else {
            return Err(End::Fault(Fault::Instruction(code.bytes as u64)));
        };
        let registers = self.perform(place, &instruction)?;
        Ok(Resume { registers, ..exit.resume_at(exit.rip.wrapping_add(instruction.length.into())) })
    }

    fn place(&self, gpa: u64) -> Option<Place> {
        if gpa & !(layout::APIC_BYTES - 1) == layout::APIC {
            return Some(Place::Apic((gpa & (layout::APIC_BYTES - 1)) as u32));
        }
        if (layout::ECAM..layout::ECAM + layout::ECAM_BYTES).contains(&gpa) {
            return Some(Place::Config(gpa - layout::ECAM));
        }
        if gpa & !(layout::IO_APIC_BYTES - 1) == layout::IO_APIC {
            return Some(Place::IoApic((gpa & (layout::IO_APIC_BYTES - 1)) as u32));
        }
        self.devices.place(gpa).map(Place::Bar)
    }

    /// Does the access; whether it changed the registers.
    fn perform(&mut self, place: Place, instruction: &Instruction) -> Result<bool, End> {
        let mut file = Registers { stack_pointer: 0 };
        let uses_stack_pointer = instruction.uses_stack_pointer();
        if uses_stack_pointer {
            file.stack_pointer = self.cpu.read(field::RSP);
        }
        if let Some(value) = instruction.stored(&file) {
            self.store(place, instruction.width, value)?;
            return Ok(false);
        }
        let value = self.load(place, instruction.width);
        instruction.loaded(&mut file, value);
        if uses_stack_pointer {
            self.cpu.write(field::RSP, file.stack_pointer);
        }
        Ok(true)
    }

    fn load(&mut self, place: Place, width: u8) -> u64 {
        match place {
            Place::Apic(offset) => self.apic.read_page(offset, width, self.clock.now()).into(),
            Place::IoApic(offset) => self.devices.read_io_apic(offset, width).into(),
            Place::Config(offset) => self.read_config(ecam::target(offset, width), width),
            Place::Bar(place) => self.devices.read_bar(place, width),
        }
    }

    fn store(&mut self, place: Place, width: u8, value: u64) -> Result<(), End> {
        match place {
            Place::Apic(offset) => {
                self.apic.write_page(offset, width, value as u32, self.clock.now());
                self.clock.want(self.apic.deadline());
                self.tell_end();
            }
            Place::IoApic(offset) => self.devices.write_io_apic(offset, width, value as u32),
            Place::Config(offset) => self.write_config(ecam::target(offset, width), width, value as u32)?,
            Place::Bar(place) => self.devices.write_bar(place, width, value, &mut self.apic),
        }
        Ok(())
    }

    /// Reads configuration space; an access that can't be (`None`) reads all ones.
    pub fn read_config(&self, target: Option<Target>, width: u8) -> u64 {
        target.map_or(u64::MAX, |target| self.devices.read_config(target, width))
    }

    /// Writes configuration space; an access that can't be does nothing.
    pub fn write_config(&mut self, target: Option<Target>, width: u8, value: u32) -> Result<(), End> {
        let Some(target) = target else { return Ok(()) };
        match self.devices.write_config(target, width, value, &mut self.apic) {
            Some(device) => self.reset_device(device),
            None => Ok(()),
        }
    }

    /// The guest asked for a function-level reset.
    fn reset_device(&mut self, device: usize) -> Result<(), End> {
        component::log!("vmm: device {device}: the guest resets it");
        self.devices.detach(device);
        loop {
            match self.devices.attach(device) {
                Ok(()) => return Ok(()),
                Err(crate::device::DeviceError::Resetting) => self.wait_for_control(),
                Err(error) => {
                    component::log!("vmm: device {device}: {error}");
                    return Err(End::Fault(Fault::DeviceLost(device as u8)));
                }
            }
        }
    }
}
