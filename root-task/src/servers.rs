// SPDX-License-Identifier: MIT OR Apache-2.0
//! The four servers: what each is given, and nothing else.

use protocol::client;
use protocol::config::{ConsoleConfig, RingOwner, TimerConfig};
use protocol::iommu::{self, IommuConfig, IommuDevice, IommuVm};
use protocol::pci::{EcamRange, GuestSlot, PciConfig, PciDevice, Reserved, Virtuals};
use protocol::start::{Range, RangeKind, cptr, mount, signal};
use root_task::layout::{
    DEVICES, LARGE, LARGE_STACK_PAGES, PAGE, RING_PAGES, STACK_PAGES, WINDOW, kept_pages, server_need,
};
use root_task::lifecycle::ShortLives;
use root_task::memory_map;
use root_task::pins;
use sel4::init_thread::slot;
use sel4::{BootInfoPtr, CapRights, VmAttributes, abi, cap_type};
use serde::Serialize;

use crate::failure::{During, Failure};
use crate::firmware::{self, Pin};
use crate::log;
use crate::process::{self, Plan, Process, own_cptr};
use crate::resources::{at, in_slot};
use crate::system::{Server, System, ring_place};

/// First port of COM1.
const COM1: u64 = 0x3f8;
/// User interrupt numbers of the two pins; 0 to 15 are for pins.
const COM1_IRQ: u64 = 4;
const HPET_IRQ: u64 = 5;
/// A server's time: as much as it needs, in turns with others of its priority.
const UNLIMITED: (u64, u64) = (10_000, 10_000);
/// Empty slots of pci-server, for device frames.
const PCI_EMPTY_SLOTS: usize = 1024;

impl System<'_> {
    fn build(
        &mut self,
        name: &str,
        client: u64,
        priority: u8,
        serves: Option<usize>,
        own_radix: usize,
        untyped_bits: u8,
    ) -> Result<(Process, usize), Failure> {
        let ring = self.ring(client);
        let plan = Plan {
            client,
            cpu: 0,
            priority,
            time: UNLIMITED,
            serves,
            own_radix,
            stack_pages: if client == client::PCI { LARGE_STACK_PAGES } else { STACK_PAGES },
            ring,
        };
        let image = process::image(self.part(name)?)?;
        let (pages, tables) = (image.pages(), image.tables());
        let need = server_need(pages, tables, plan.stack_pages, own_radix, untyped_bits, kept_pages(client));
        let arena = self.resources.arena(&need)?.ok_or_else(|| self.resources.short_of(0, need.bytes()))?;
        let mut process = Process::new(&mut self.resources, &self.common, &plan, &image, &need, arena)?;
        let clients = Self::reserve_clients(&mut process)?;
        process.keep(&mut self.resources)?;
        if client != client::CONSOLE {
            let console = self.server(client::CONSOLE)?.process.notification;
            process.console(console, signal::log_lines(client as usize))?;
        }
        Ok((process, clients))
    }

    fn run<T: Serialize>(
        &mut self,
        name: &'static str,
        client: u64,
        mut process: Process,
        clients: usize,
        config: &T,
    ) -> Result<(), Failure> {
        self.introduce(client, &process)?;
        process.start(&mut self.resources, &self.common, name, config)?;
        self.servers[client as usize] = Some(Server {
            process,
            clients,
            name,
            ready: false,
            restarts: 0,
            started: crate::raw::tsc(),
            short_lives: ShortLives::default(),
            #[cfg(feature = "deaths")]
            derailed: false,
            #[cfg(feature = "deaths")]
            doomed: false,
        });
        self.wait_until_ready(client);
        Ok(())
    }

    /// Makes the handler of a pin, bound to the part's notification.
    fn pin(&mut self, process: &mut Process, pin: Pin, irq: u64) -> Result<(), Failure> {
        let handler = self.resources.slot()?;
        slot::IRQ_CONTROL
            .cap()
            .irq_control_get_ioapic(
                pin.io_apic as u64,
                pin.input.into(),
                pin.level.into(),
                pin.low.into(),
                irq,
                &at(handler),
            )
            .during("making a pin's handler")?;
        let badged = self.resources.slot()?;
        at(badged)
            .mint(&at(process.notification), CapRights::all(), signal::DEVICE)
            .during("badging a notification")?;
        in_slot::<cap_type::IrqHandler>(handler)
            .irq_handler_set_notification(in_slot(badged))
            .during("binding a pin's handler")?;
        at(badged).delete().during("deleting a badged notification")?;
        let index = process.take(handler)?;
        self.resources.slots.give_back(handler);
        self.resources.slots.give_back(badged);
        process.ranges.push(Range::new(RangeKind::IrqHandler, own_cptr(index), 1).at(pin.input.into()));
        Ok(())
    }

    /// console-server gets COM1 (its ports lie in slot `ports`) and all rings. From here on the root task writes to its own.
    pub fn start_console(&mut self, ports: usize) -> Result<(), Failure> {
        let (mut process, clients) = self.build("console-server", client::CONSOLE, 210, None, 7, 12)?;
        let pin = self.firmware.com1.during("COM1 has no interrupt")?;
        self.pin(&mut process, pin, COM1_IRQ)?;
        let count = self.rings();
        for place in 0..count {
            let first = self.ring_at(place);
            for n in 0..RING_PAGES {
                let copy = self.resources.slot()?;
                at(copy).copy(&at(first + n), CapRights::all()).during("copying a ring's frame")?;
                process.arena.used.push(copy);
                let frame = in_slot::<cap_type::_4k>(copy);
                let address = DEVICES + (place * RING_PAGES + n) * PAGE;
                let plain = VmAttributes::DEFAULT;
                process.map(&mut self.resources, frame, address, CapRights::read_write(), plain)?;
            }
        }
        let rings = Range::new(RangeKind::LogRings, 0, count as u64);
        process.ranges.push(rings.mapped(DEVICES as u64, protocol::ring::RING_BYTES as u64));
        let config = self.console_config()?;

        let own = self.resources.slot()?;
        at(own)
            .mint(&at(process.notification), CapRights::write_only(), signal::log_lines(0))
            .during("badging console-server's notification")?;
        let ring = self.map_own_ring()?;
        log::to_ring(ring, own);
        let index = process.take(ports)?;
        process.ranges.push(Range::new(RangeKind::IoPorts, own_cptr(index), 1).mapped(0, 8).at(COM1));
        self.run("console-server", client::CONSOLE, process, clients, &config)
    }

    fn console_config(&self) -> Result<ConsoleConfig, Failure> {
        let name = |text: &str| heapless::String::try_from(text).ok().during("a name is too long");
        let mut config = ConsoleConfig::default();
        let servers = ["root-task", "pci-server", "iommu-server", "console-server", "timer-server"];
        for (index, server) in servers.into_iter().enumerate() {
            let owner = RingOwner { index: index as u8, name: name(server)?, is_vm: false };
            config.rings.push(owner).ok().during("too many rings")?;
        }
        for (number, vm) in self.description.vms.iter().enumerate() {
            let vm_client = client::of_vm(number as u16);
            let index = client::index(vm_client).during("too many VMs")? as u8;
            debug_assert_eq!(config.rings.len(), ring_place(vm_client));
            let owner = RingOwner { index, name: name(vm.name)?, is_vm: true };
            config.rings.push(owner).ok().during("too many rings")?;
        }
        Ok(config)
    }

    /// timer-server gets the HPET's page and one comparator's pin.
    pub fn start_timer(&mut self) -> Result<(), Failure> {
        let hpet = self.firmware.hpet.during("this machine has no HPET")?;
        let serves = Some(self.endpoints.timer);
        let (mut process, clients) = self.build("timer-server", client::TIMER, 240, serves, 7, 12)?;
        let offset = hpet.address as usize % PAGE;
        let frame = self.resources.device_frame(hpet.address - offset as u64, 12)?;
        let comparator = pins::comparator(hpet.comparators);
        let reachable = firmware::hpet_pins(&mut self.resources, frame, offset, comparator)?;
        let lines = self.description.vms.iter().flat_map(|vm| &vm.devices).filter_map(|device| device.intx);
        let gsi =
            pins::choose(reachable & !pins::set(lines)).during("the HPET reaches no pin that is free")?;
        let (io_apic, input) =
            pins::locate(gsi.into(), &self.firmware.io_apics).during("the HPET's pin has no I/O APIC")?;
        self.pin(&mut process, Pin { io_apic, input, level: false, low: false }, HPET_IRQ)?;
        let registers = in_slot::<cap_type::_4k>(frame);
        let rights = CapRights::read_write();
        process.map(&mut self.resources, registers, DEVICES, rights, VmAttributes::UNCACHEABLE)?;
        let index = process.take(frame)?;
        let range = Range::new(RangeKind::DeviceRegisters, own_cptr(index), 1);
        let (address, bytes) = ((DEVICES + offset) as u64, (PAGE - offset) as u64);
        process.ranges.push(range.mapped(address, bytes).at(hpet.address));
        let config = TimerConfig { comparator, pin: gsi, level: false };
        self.run("timer-server", client::TIMER, process, clients, &config)
    }

    /// The input that a line's global interrupt is; one that no I/O APIC has if it is none.
    fn pin_of(&self, line: u8) -> iommu::Pin {
        let place = pins::locate(line.into(), &self.firmware.io_apics);
        let narrow = |(io_apic, input)| Some((u8::try_from(io_apic).ok()?, u8::try_from(input).ok()?));
        let (io_apic, input) = place.and_then(narrow).unwrap_or((u8::MAX, u8::MAX));
        iommu::Pin { io_apic, input }
    }

    /// iommu-server gets the IOSpace master, IRQControl and the DMA-fault control, where the kernel has them.
    pub fn start_iommu(&mut self) -> Result<(), Failure> {
        let serves = Some(self.endpoints.iommu);
        let (mut process, clients) = self.build("iommu-server", client::IOMMU, 230, serves, 9, 14)?;
        process.endpoint(RangeKind::TimerEndpoint, self.endpoints.timer)?;
        let extensions = self.common.extensions;
        if self.common.io_levels != 0 {
            let index = process.share(slot::IO_SPACE.index())?;
            process.ranges.push(Range::new(RangeKind::IoSpaceMaster, own_cptr(index), 1));
        }
        if extensions.dma_fault_slot != 0 {
            let index = process.share(extensions.dma_fault_slot as usize)?;
            process.ranges.push(Range::new(RangeKind::DmaFaultControl, own_cptr(index), 1));
        }
        // It can't be copied. All pins' handlers exist by now.
        let index = process.take(slot::IRQ_CONTROL.index())?;
        process.ranges.push(Range::new(RangeKind::IrqControl, own_cptr(index), 1));
        let mut config =
            IommuConfig { fault_limit: self.description.pci.fault_limit, ..IommuConfig::default() };
        let (mut devices, mut domain) = (0, 0);
        for (number, vm) in self.description.vms.iter().enumerate().filter(|(_, vm)| !vm.devices.is_empty()) {
            let number = number as u16;
            let slots = self.slots_of(vm);
            let mut entry = IommuVm { vm: number, devices: heapless::Vec::new() };
            for (device, (slots, described)) in slots.devices.iter().zip(&vm.devices).enumerate() {
                domain += 1;
                devices += 1;
                let what = u64::from(number) << 16 | device as u64;
                let dma = |run: root_task::layout::Run| cptr(mount::iommu_dma(number), run.first as u64);
                process.ranges.extend([
                    Range::new(RangeKind::DmaTables, dma(slots.tables), slots.tables.count as u64).at(what),
                    Range::new(RangeKind::DmaFrames, dma(slots.frames), slots.frames.count as u64)
                        .mapped(0, LARGE)
                        .at(what),
                    Range::new(RangeKind::DmaHandlers, dma(slots.handlers), slots.handlers.count as u64)
                        .at(what),
                ]);
                process
                    .ranges
                    .extend(self.region_ranges(number, described, slots.regions.first).map(|r| r.at(what)));
                let device = IommuDevice {
                    domain,
                    irqs_first: slots.irqs.first as u16,
                    irqs_count: slots.irqs.count as u16,
                    line: described.intx.map(|line| self.pin_of(line)),
                };
                entry.devices.push(device).ok().during("a VM has too many devices")?;
            }
            config.vms.push(entry).ok().during("too many VMs have devices")?;
        }
        process.empty_slots(devices + 8)?;
        self.run("iommu-server", client::IOMMU, process, clients, &config)
    }

    /// pci-server gets configuration space and the device memory where BARs may lie.
    pub fn start_pci(&mut self, bootinfo: &BootInfoPtr) -> Result<(), Failure> {
        let serves = Some(self.endpoints.pci);
        let (mut process, clients) = self.build("pci-server", client::PCI, 220, serves, 11, 17)?;
        process.endpoint(RangeKind::TimerEndpoint, self.endpoints.timer)?;
        process.endpoint(RangeKind::IommuEndpoint, self.endpoints.iommu)?;
        let mut config = self.pci_config()?;
        let mut address = WINDOW;
        for region in self.firmware.ecam.clone() {
            let (start, end) = (region.start(), region.start().saturating_add(region.length()));
            let problem = if !start.is_multiple_of(LARGE) || !region.length().is_multiple_of(LARGE) {
                Some("it is not aligned to 2 MiB")
            } else if !self.resources.device.hold(start, end) {
                Some("there is something else, or nothing")
            } else if config.ecam.is_full() {
                Some("there are too many regions")
            } else {
                None
            };
            if let Some(problem) = problem {
                log!("configuration space at {start:#x} is left out: {problem}");
                // What may be configuration space must not become a device's registers.
                self.resources.take_device_range(start, end)?;
                continue;
            }
            let count = (region.length() / LARGE) as usize;
            let first = process.reserve(count)?;
            for n in 0..count {
                let at = start + n as u64 * LARGE;
                let frame = self.resources.device_frame(at, 21)?;
                let large = in_slot::<cap_type::LargePage>(frame);
                let (rights, uncached) = (CapRights::read_write(), VmAttributes::UNCACHEABLE);
                process.map(&mut self.resources, large, address + n * LARGE as usize, rights, uncached)?;
                process.move_at(first + n, frame)?;
                self.resources.slots.give_back(frame);
            }
            let range = Range::new(RangeKind::DeviceRegisters, own_cptr(first), count as u64);
            process.ranges.push(range.mapped(address as u64, LARGE).at(start));
            let ecam =
                EcamRange { segment: region.segment, first_bus: region.first_bus, last_bus: region.last_bus };
            config.ecam.push(ecam).ok().during("too many regions of configuration space")?;
            address += count * LARGE as usize;
        }
        process.empty_slots(PCI_EMPTY_SLOTS)?;
        self.give_windows(bootinfo, &mut process)?;
        self.run("pci-server", client::PCI, process, clients, &config)
    }

    fn give_windows(&mut self, bootinfo: &BootInfoPtr, process: &mut Process) -> Result<(), Failure> {
        let map = bootinfo.extra().find(|chunk| chunk.id == abi::bootinfo::ID_MEMORY_MAP);
        let map = memory_map::parse(map.map_or(&[], |chunk| chunk.content));
        // CPUID 8000_0008: bits of physical addresses (AMD64 Architecture Programmer's Manual, volume 3, appendix E).
        let bits = core::arch::x86_64::__cpuid(0x8000_0008).eax as u8;
        for (start, end) in memory_map::windows(&map, bits) {
            for piece in self.resources.take_device_range(start, end)? {
                let index = process.take(piece.slot)?;
                let range = Range::new(RangeKind::DeviceUntyped, own_cptr(index), 1);
                process.ranges.push(range.mapped(0, piece.bytes()).at(piece.address));
            }
        }
        Ok(())
    }

    fn pci_config(&self) -> Result<PciConfig, Failure> {
        let mut config = PciConfig::default();
        let pci = &self.description.pci;
        config.matches.extend_from_slice(&pci.matches).ok().during("too many entries in `pci.matches`")?;
        config.reserve.extend_from_slice(&pci.reserve).ok().during("too many entries in `pci.reserve`")?;
        for (location, count) in &pci.vfs {
            let virtuals = Virtuals { location: location.clone(), count: *count };
            config.virtuals.push(virtuals).ok().during("too many entries in `pci.vfs`")?;
        }
        let regions = &self.firmware.regions;
        let all = config.regions.extend_from_slice(regions).is_ok();
        config.regions_unknown = self.firmware.regions_unknown || !all;
        for (number, vm) in self.description.vms.iter().enumerate().filter(|(_, vm)| !vm.devices.is_empty()) {
            let slots = self.slots_of(vm);
            for (index, (device, slots)) in vm.devices.iter().zip(&slots.devices).enumerate() {
                let device = PciDevice {
                    vm: number as u16,
                    index: index as u8,
                    owner: heapless::String::try_from(vm.name).ok().during("a name is too long")?,
                    location: device.path.clone(),
                    slot: GuestSlot { bus: device.slot.bus, devfn: device.slot.function },
                    vectors: device.vectors.map(u16::from),
                    reserved: Reserved {
                        policy: pci.policy(&device.path),
                        mapped: self.mapped(device),
                        ram: vm.memory,
                    },
                    rom: device.rom,
                    unsafe_interrupts: false,
                    bars_first: slots.bars.first as u16,
                    bars_count: slots.bars.count as u16,
                    irqs_first: slots.irqs.first as u16,
                    irqs_count: slots.irqs.count as u16,
                    intx: device.intx,
                };
                config.devices.push(device).ok().during("the VMs have too many devices together")?;
            }
        }
        Ok(config)
    }
}
