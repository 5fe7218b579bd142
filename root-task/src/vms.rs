// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMs: everything that one needs comes from its own memory, RAM and a fixed overhead.

use protocol::client;
use protocol::config::{Boot, FilePlace, VmmConfig, VmmDevice};
use protocol::start::{Range, RangeKind, cptr, mount, signal};
use root_task::layout::{LARGE, PAGE, STACK_PAGES, VMM_EMPTY_SLOTS, VmSlots, WINDOW, vmm_need};
use root_task::need::{self, Need, Role};
use sel4::abi::entry_flush;
use sel4::{AbsoluteCPtr, CapRights, ObjectBlueprintX86, VmAttributes, cap_type};
use system_spec::bundle::Kind;
use system_spec::compiled;

use crate::failure::{During, Failure};
use crate::log;
use crate::process::{self, Plan, Process, own_cptr};
use crate::resources::{Arena, at, in_slot};
use crate::system::{System, Vm};

/// CPU time of a VM without limits, microseconds: its turn among VMs of its priority.
const TURN: u64 = 5_000;

// What the tool accepts fits the parts' configurations.
const _: () = {
    assert!(compiled::MAX_VMS <= client::MAX_DEVICE_VMS && compiled::MAX_VMS <= client::MAX_VMS);
    assert!(compiled::MAX_DEVICES <= protocol::config::MAX_DEVICES);
    assert!(compiled::MAX_ALL_DEVICES <= protocol::pci::MAX_PROMISED);
    assert!(compiled::MAX_RESERVED <= protocol::pci::MAX_RESERVED);
    assert!(compiled::MAX_MATCHES <= protocol::pci::MAX_MATCHES);
    assert!(compiled::MAX_ARGS <= protocol::config::MAX_ARGS);
    assert!(compiled::MAX_NAME < protocol::start::NAME_BYTES);
};

/// CNodes that a VM's devices need, and where they are mounted.
struct Shared {
    dma: usize,
    dma_radix: usize,
}

impl Shared {
    fn dma_slot(&self, index: usize) -> AbsoluteCPtr {
        in_slot::<cap_type::CNode>(self.dma).absolute_cptr_from_bits_with_depth(index as u64, self.dma_radix)
    }
}

impl System<'_> {
    /// Starts a VM that waits. One that can't be built is refused; the others start.
    pub fn start_or_refuse(&mut self, number: usize) {
        if let Err(failure) = self.start_vm(number) {
            log!("vm {}: refused: {failure}", self.description.vms[number].name);
            self.life.refuse(number);
        }
    }

    fn start_vm(&mut self, number: usize) -> Result<(), Failure> {
        let described = &self.description.vms[number];
        let vm_client = client::of_vm(number as u16);
        if usize::from(described.cpu) >= self.common.processors {
            return Err(Failure::Processor { wanted: described.cpu, there: self.common.processors });
        }
        let slots = self.slots_of(described);
        let file =
            self.bundle.find(Kind::Guest, described.image).during("its image is not in the bundle")?.data;
        let place = place_of(file.len() as u64, described.memory)?;
        let image = process::image(self.part("vmm-server")?)?;
        let time = described.time.as_ref().map_or((TURN, TURN), |time| (time.budget, time.period));
        let config = vmm_config(number as u16, described, &slots, place)?;
        let plan = Plan {
            client: vm_client,
            priority: described.priority,
            cpu: described.cpu,
            time,
            serves: None,
            own_radix: slots.own_radix,
            stack_pages: STACK_PAGES,
            ring: self.ring(vm_client),
        };
        let need = vmm_need(image.pages(), image.tables(), described.memory, &slots);
        let (beside, ram) = self.memory_for(described.memory, &need)?;
        let made = Process::new(&mut self.resources, &self.common, &plan, &image, &need, beside);
        let mut process = match made {
            Ok(process) => process,
            Err(failure) => {
                self.resources.give_back(ram);
                return Err(failure);
            }
        };
        let built = self
            .furnish(number, &mut process, &ram, &slots, file, place)
            .and_then(|()| process.start(&mut self.resources, &self.common, described.name, &config));
        if let Err(failure) = built {
            self.resources.reclaim(process.arena)?;
            self.resources.reclaim(ram)?;
            return Err(failure);
        }
        log!(
            "vm {}: started: {} MiB of RAM, {} KiB beside it",
            described.name,
            described.memory >> 20,
            (need.bytes() + protocol::ring::RING_BYTES as u64) >> 10
        );
        self.vms[number] = Some(Vm { process, ram, started: crate::raw::tsc(), restart: None });
        self.life.start(number);
        self.records[number].starts = self.records[number].starts.saturating_add(1);
        Ok(())
    }

    /// Takes a VM's memory: what lies beside its RAM, and the RAM. Either both or nothing.
    fn memory_for(&mut self, memory: u64, need: &Need) -> Result<(Arena, Arena), Failure> {
        let short = self.resources.short_of(memory, need.bytes());
        let beside = self.resources.arena(need)?.ok_or(short)?;
        match self.resources.guest_ram(memory) {
            Ok(Some(ram)) => Ok((beside, ram)),
            other => {
                self.resources.give_back(beside);
                Err(other.err().unwrap_or(short))
            }
        }
    }

    /// RAM, devices' CNodes, endpoints and signals.
    fn furnish(
        &mut self,
        number: usize,
        process: &mut Process,
        ram: &Arena,
        slots: &VmSlots,
        file: &[u8],
        place: FilePlace,
    ) -> Result<(), Failure> {
        let vm_client = client::of_vm(number as u16);
        let console = self.server(client::CONSOLE)?.process.notification;
        let index = client::index(vm_client).during("too many VMs")?;
        process.console(console, signal::log_lines(index))?;
        process.endpoint(RangeKind::TimerEndpoint, self.endpoints.timer)?;
        let shared = match slots.shared {
            None => None,
            Some(radices) => {
                process.endpoint(RangeKind::PciEndpoint, self.endpoints.pci)?;
                Some(self.share(number as u16, process, slots, radices)?)
            }
        };
        process.empty_slots(VMM_EMPTY_SLOTS)?;
        self.give_nested_root(process, self.description.vms[number].entry_flush)?;
        self.fill_ram(process, ram, slots, shared.as_ref(), file, place)?;
        let frames = Range::new(RangeKind::GuestRam, own_cptr(slots.nested.first), slots.nested.count as u64);
        process.ranges.push(frames.mapped(WINDOW as u64, LARGE));
        self.introduce(vm_client, process)
    }

    /// The top of the guest's nested tables. It gets its number here, since a VMM has no ASID pool; so the VMM can't change what goes with it.
    fn give_nested_root(
        &mut self,
        process: &mut Process,
        flush: compiled::EntryFlush,
    ) -> Result<(), Failure> {
        let root = self.resources.make(&mut process.arena, ObjectBlueprintX86::EptPml4.into(), 1)?;
        let pool = sel4::init_thread::slot::ASID_POOL.cap();
        let flush = match flush {
            compiled::EntryFlush::Auto => entry_flush::AUTO,
            compiled::EntryFlush::On => entry_flush::ON,
            compiled::EntryFlush::Off => entry_flush::OFF,
        };
        pool.asid_pool_assign_nested(in_slot(root), flush)
            .during("giving a nested address space its number")?;
        let index = process.share(root)?;
        process.ranges.push(Range::new(RangeKind::NestedRoot, own_cptr(index), 1));
        Ok(())
    }

    /// Mounts `bars`, `irqs` and `dma` where they belong, and fills `dma` with I/O page tables.
    fn share(
        &mut self,
        number: u16,
        process: &mut Process,
        slots: &VmSlots,
        radices: need::Shared,
    ) -> Result<Shared, Failure> {
        let [bars, irqs, dma] = [Role::Bars, Role::Irqs, Role::Dma].map(|role| process.object(role));
        process.mount(mount::VMM_BARS, bars, radices.bars)?;
        process.mount(mount::VMM_IRQS, irqs, radices.irqs)?;
        let pci = &self.server(client::PCI)?.process;
        pci.mount(mount::pci_bars(number), bars, radices.bars)?;
        let iommu = &self.server(client::IOMMU)?.process;
        iommu.mount(mount::iommu_dma(number), dma, radices.dma)?;
        iommu.mount(mount::iommu_irqs(number), irqs, radices.irqs)?;
        let whole =
            |kind, mount, radix: usize| Range::new(kind, cptr(mount, 0), 1 << radix).at(number.into());
        process.ranges.push(whole(RangeKind::Bars, mount::VMM_BARS, radices.bars));
        process.ranges.push(whole(RangeKind::Irqs, mount::VMM_IRQS, radices.irqs));

        let shared = Shared { dma, dma_radix: radices.dma };
        for (device, place) in slots.devices.iter().zip(&self.description.vms[usize::from(number)].devices) {
            let frames = self.regions_of(place).into_iter().flat_map(|region| &self.region_frames[region]);
            for (n, frame) in frames.enumerate() {
                let copy = shared.dma_slot(device.regions.first + n);
                copy.copy(&at(*frame), CapRights::all()).during("copying a frame of reserved memory")?;
            }
            for n in 0..device.tables.count {
                let table =
                    self.resources.make(&mut process.arena, ObjectBlueprintX86::IOPageTable.into(), 1)?;
                shared
                    .dma_slot(device.tables.first + n)
                    .move_(&at(table))
                    .during("moving an I/O page table")?;
            }
        }
        Ok(shared)
    }

    /// Makes the RAM's frames, gives the copies out, and puts the guest's file at the top.
    fn fill_ram(
        &mut self,
        process: &mut Process,
        ram: &Arena,
        slots: &VmSlots,
        shared: Option<&Shared>,
        file: &[u8],
        place: FilePlace,
    ) -> Result<(), Failure> {
        let scratch = self.resources.slot()?;
        let all = CapRights::all();
        let mut number = 0;
        for piece in &ram.pieces {
            let count = (piece.bytes() / LARGE) as usize;
            process.large_frames(piece.slot, slots.nested.first + number, count)?;
            for _ in 0..count {
                let frame = process.slot(slots.nested.first + number);
                for (shared, device) in shared.iter().flat_map(|s| slots.devices.iter().map(move |d| (s, d)))
                {
                    let copy = shared.dma_slot(device.frames.first + number);
                    copy.copy(&frame, all).during("copying a RAM frame for a device")?;
                }
                at(scratch).copy(&frame, all).during("copying a RAM frame")?;
                self.write_file(scratch, number as u64 * LARGE, file, place)?;
                let address = WINDOW + number * LARGE as usize;
                let large = in_slot::<cap_type::LargePage>(scratch);
                let plain = VmAttributes::DEFAULT;
                process.map(&mut self.resources, large, address, CapRights::read_write(), plain)?;
                process.move_at(slots.mapped.first + number, scratch)?;
                number += 1;
            }
        }
        self.resources.slots.give_back(scratch);
        Ok(())
    }

    /// Writes the part of the guest's file that lies in the large frame at guest-physical `gpa`.
    fn write_file(&mut self, frame: usize, gpa: u64, file: &[u8], place: FilePlace) -> Result<(), Failure> {
        let (from, to) = (place.gpa.max(gpa), (place.gpa + place.bytes).min(gpa + LARGE));
        if from >= to {
            return Ok(());
        }
        let bytes = &file[(from - place.gpa) as usize..(to - place.gpa) as usize];
        self.resources.write_large_page(frame, (from - gpa) as usize, bytes)
    }

    /// Stops what is left of a VM and takes its memory back.
    pub fn reclaim_vm(&mut self, number: usize) -> Result<(), Failure> {
        match self.vms[number].take() {
            Some(vm) => {
                self.resources.reclaim(vm.process.arena)?;
                self.resources.reclaim(vm.ram)
            }
            None => Ok(()),
        }
    }
}

impl Process {
    /// Makes `count` frames of 2 MiB from the piece in the root task's slot `untyped`, in the part's own CNode from
    /// slot `first` on.
    fn large_frames(&self, untyped: usize, first: usize, count: usize) -> Result<(), Failure> {
        let node = self.node();
        for done in (0..count).step_by(256) {
            let n = (count - done).min(256);
            in_slot::<cap_type::Untyped>(untyped)
                .untyped_retype(&ObjectBlueprintX86::LargePage.into(), &node, first + done, n)
                .during("making RAM frames")?;
        }
        Ok(())
    }
}

/// Where the file lies: at the top of RAM, on a page.
fn place_of(bytes: u64, memory: u64) -> Result<FilePlace, Failure> {
    let room = bytes.next_multiple_of(PAGE as u64);
    let gpa = memory.checked_sub(room).filter(|gpa| *gpa >= memory / 2);
    gpa.map(|gpa| FilePlace { gpa, bytes }).during("its image takes more than half of its memory")
}

fn vmm_config(
    number: u16,
    described: &compiled::Vm,
    slots: &VmSlots,
    image: FilePlace,
) -> Result<VmmConfig, Failure> {
    let mut devices = heapless::Vec::new();
    for (device, slots) in described.devices.iter().zip(&slots.devices) {
        let device = VmmDevice {
            slot: u16::from(device.slot.bus) << 8 | u16::from(device.slot.function.0),
            bars_first: slots.bars.first as u16,
            bars_count: slots.bars.count as u16,
            irqs_first: slots.irqs.first as u16,
            irqs_count: slots.irqs.count as u16,
        };
        devices.push(device).ok().during("a VM has too many devices")?;
    }
    let args = heapless::String::try_from(described.args).ok().during("its command line is too long")?;
    Ok(VmmConfig { vm: number, memory: described.memory, image, boot: Boot::Auto, args, devices })
}
