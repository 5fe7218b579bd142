// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the start page to the guest's first instruction.
use crate::clock::Clock;
use crate::cpu::Cpu;
use crate::device::{Device, DeviceError, Reserved};
use crate::devices::Devices;
use crate::end;
use crate::ram::Ram;
use crate::registers;
use crate::run;
use crate::vm::Vm;
use component::{Part, slot};
use core::convert::Infallible;
use core::fmt;
use protocol::config::VmmConfig;
use protocol::start::RangeKind;
use protocol::supervisor::Reason;
use sel4::{cap, cap_type};
use sel4_abi::vcpu::{MR_REGISTERS, REGISTERS};
use vmm_devices::ecam::Placement;
use vmm_devices::elf::{self, ImageError, Place};
use vmm_devices::memory::GuestMemory;
use vmm_devices::{acpi, boot, layout, vmcb};

/// Why the VM can't be run.
enum StartError {
    /// The start page lacks something.
    Missing(&'static str),
    /// The guest would have too much or too little memory.
    Memory(u64),
    /// The kernel has no way to run guests that this VMM knows.
    NoBackend,
    /// The kernel refused something.
    Kernel(&'static str, sel4::Error),
    /// The image is no good.
    Image(ImageError),
    /// A device can't be had.
    Device(usize, DeviceError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "the VMM was given no {what}"),
            Self::Memory(bytes) => {
                write!(f, "vm.memory of {bytes} bytes: a multiple of 2M from 2M to 3G is possible")
            }
            Self::NoBackend => f.write_str("this machine's kernel can't run guests: no AMD SVM"),
            Self::Kernel(what, error) => write!(f, "the kernel refused {what}: {error:?}"),
            Self::Image(error) => error.fmt(f),
            Self::Device(number, error) => write!(f, "device {number}: {error}"),
        }
    }
}

/// Runs the VM that the start page describes.
pub fn main(mut part: Part) -> ! {
    let config: VmmConfig = match part.config() {
        Ok(config) => config,
        Err(error) => {
            component::log!("vmm: the configuration can't be read: {:?}", error);
            refuse(u16::MAX, format_args!("the VMM's configuration can't be read"))
        }
    };
    let Err(error) = start(&mut part, &config);
    component::log!("vmm: the VM can't be run: {error}");
    refuse(config.vm, format_args!("{error}"))
}

/// Tells the supervisor why, and stands still: the root task takes the process away.
fn refuse(vm: u16, why: fmt::Arguments) -> ! {
    let mut reason = Reason::new();
    // A reason that doesn't fit is cut.
    let _ = fmt::write(&mut reason, why);
    component::refuse(vm, reason);
    loop {
        component::wait();
    }
}

/// Builds the VM and runs it to its end. It is large, so it is made in its place, of pieces that come one by one.
fn start(part: &mut Part, config: &VmmConfig) -> Result<Infallible, StartError> {
    const SVM: u32 = sel4_abi::bootinfo::BACKEND_SVM;
    if part.extensions().vcpu_backend != SVM {
        return Err(StartError::NoBackend);
    }
    let range = *part.find(RangeKind::GuestRam).ok_or(StartError::Missing("guest memory"))?;
    let ram = Ram(part.guest_memory().ok_or(StartError::Missing("guest memory"))?);
    if ram.size() != config.memory || !(1 << 21..=layout::MAX_RAM).contains(&ram.size()) {
        return Err(StartError::Memory(config.memory));
    }

    let mut memory = part.memory().ok_or(StartError::Missing("memory of its own"))?;
    // The largest first: what is made from an untyped is aligned to its size.
    let vcpu = memory.make::<cap_type::VCpu>().map_err(|error| StartError::Kernel("a virtual CPU", error))?;
    let root: cap::EptPml4 = part.cap(RangeKind::NestedRoot).ok_or(StartError::Missing("nested table"))?;
    let mut vm = Vm {
        cpu: Cpu::new(vcpu),
        ram,
        apic: Default::default(),
        uart: Default::default(),
        clock: Clock::new(part.facts().tsc_khz, part.cap(RangeKind::TimerEndpoint)),
        devices: Devices::new(root, vcpu, memory),
        config_ports: Default::default(),
        cache: Default::default(),
        exits: Default::default(),
        dma_faults: 0,
        #[cfg(feature = "deaths")]
        death: 0,
    };
    vm.devices.map_ram(&range).map_err(|error| StartError::Kernel("the guest's memory", error))?;
    vcpu.vcpu_set_tcb(slot::TCB).map_err(|error| StartError::Kernel("binding the virtual CPU", error))?;
    slot::TCB.tcb_set_ept_root(root).map_err(|error| StartError::Kernel("the nested tables", error))?;
    attach_all(part, config, &mut vm.devices, &mut vm.ram)?;
    acpi::write(&mut vm.ram, &vm.devices.routes()).ok_or(StartError::Memory(config.memory))?;

    // Other VMs may wait for this. Nothing of the guest's has been looked at before, so no guest holds them up.
    component::ready();
    let entry = load(&mut vm.ram, config)?;

    // Guest time begins here.
    let now = vm.clock.begin();
    vm.cpu.begin(now).map_err(|error| StartError::Kernel("the entry state", error))?;
    // The signal for it may have come while a device was waited for.
    vm.look();
    set_entry_registers();
    let end = run::run(&mut vm, entry);
    vm.uart.flush(component::log::bytes);
    end::log(end, &vm.cpu, &vm.exits);
    end::report(end)
}

/// Loads the image; the entry address.
fn load(ram: &mut Ram, config: &VmmConfig) -> Result<u64, StartError> {
    let file = Place { gpa: config.image.gpa, bytes: config.image.bytes };
    let entry = elf::load(ram, file).map_err(StartError::Image)?;
    // The file is no use to anyone any more; its place was checked.
    ram.zero(file.gpa, file.bytes).ok_or(StartError::Memory(config.memory))?;
    Ok(entry.into())
}

/// Gets the devices, and writes what the guest finds in RAM of memory: its own, and where devices don't reach that.
#[inline(never)]
fn attach_all(
    part: &Part,
    config: &VmmConfig,
    devices: &mut Devices,
    ram: &mut Ram,
) -> Result<(), StartError> {
    let mut reserved = Reserved::new();
    if !config.devices.is_empty() {
        let features = part.extensions().features;
        if features & sel4_abi::bootinfo::FEATURE_NESTED_NO_EXECUTE == 0 {
            return Err(StartError::Missing("kernel that keeps a guest from executing a device's registers"));
        }
        let server = part.cap(RangeKind::PciEndpoint).ok_or(StartError::Missing("way to pci-server"))?;
        let mut placement = Placement::new();
        for number in 0..config.devices.len() {
            let failed = |error| StartError::Device(number, error);
            let device = Device::describe(server, number as u8, &mut placement, &mut reserved);
            devices.add(device.map_err(failed)?);
            attach(devices, number).map_err(failed)?;
        }
    }
    boot::write(ram, config.args.as_bytes(), &reserved).ok_or(StartError::Memory(config.memory))
}

fn attach(devices: &mut Devices, number: usize) -> Result<(), DeviceError> {
    loop {
        match devices.attach(number) {
            // Nothing else can come before the guest runs.
            Err(DeviceError::Resetting) => _ = component::wait(),
            other => return other,
        }
    }
}

/// The general registers of the first entry, where an exit would have left them.
fn set_entry_registers() {
    sel4::with_ipc_buffer_mut(|buffer| buffer.msg_regs_mut()[MR_REGISTERS..][..REGISTERS].fill(0));
    registers::set(registers::RBX, vmcb::ENTRY_RBX);
}
