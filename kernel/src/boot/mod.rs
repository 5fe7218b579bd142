// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the loader to the first user instruction.

mod another;
mod entry;
mod firmware;
mod memory;
mod params;
mod root_server;

use core::fmt;
use core::ptr::NonNull;

use ::tlb::Mode;
use sel4_abi::bootinfo as bi;

use crate::arch::{
    self, apic, cpu, entry as traps, ioapic, isolation, serial, smp, tables, time, tlb, window,
};
use crate::iommu::{self, BootEnv};
use crate::kernel::{KERNEL, Kernel};
use crate::klog;
use crate::processors::Processors;
use crate::virt;
use memory::Ranges;
use params::Params;

unsafe extern "C" {
    static kernel_phys_start: u8;
    static kernel_phys_end: u8;
}

/// Everything that boot knows and the root server is told.
pub struct Machine {
    /// Processors that run.
    cpus: u64,
    params: Params,
    /// RAM that nobody has.
    free: Ranges,
    firmware: firmware::Firmware,
    extensions: bi::Extensions,
    iopt_levels: u64,
}

/// Stops with a sentence on COM1.
fn give_up(why: &str) -> ! {
    klog!("cannot start: {why}");
    arch::halt()
}

/// The kernel's first Rust code; interrupts are off.
extern "C" fn start(magic: u32, info: u32) -> ! {
    tables::enter(&tables::FIRST, 0);
    smp::add(&tables::FIRST);
    boot(magic, info)
}

// Not a part of `start`: there the processor's own area isn't in place yet.
#[inline(never)]
fn boot(magic: u32, info: u32) -> ! {
    serial::init();
    klog!("Postern kernel {}", env!("CARGO_PKG_VERSION"));
    if let Err(why) = cpu::init() {
        give_up(why);
    }
    tables::init();
    let params = Params::parse(magic, u64::from(info)).unwrap_or_else(|why| give_up(why));
    let Some((module, module_end)) = params.module else {
        give_up("no boot module: a root server image is needed (QEMU: -initrd)")
    };
    let (mut free, top) = free_memory(&params);
    let (start, end) = (&raw const kernel_phys_start as u64, &raw const kernel_phys_end as u64);
    free.remove(start, end.next_multiple_of(4096));
    free.remove(module & !0xfff, module_end.next_multiple_of(4096));
    tlb::choose(!params.has("pcid=off"), is_isolated(&params));
    window::build(top, || free.alloc(4096, 4096).unwrap_or_else(|| give_up("no memory for page tables")));

    tlb::start();
    if tlb::mode().isolated {
        isolation::init(&mut || {
            free.alloc(4096, 4096).unwrap_or_else(|| give_up("no memory for page tables"))
        });
    } else {
        tables::aim_system_calls();
    }
    klog!("address spaces: {}", switching());

    let firmware = firmware::read(&params);
    mask_8259();
    apic::init(firmware.local_apic);
    time::calibrate();
    let virtualization = virt::init(&mut |n| {
        free.alloc(4096 * n as u64, 4096).unwrap_or_else(|| give_up("no memory for virtualization"))
    });
    let backend = match virtualization {
        Ok(kind) => kind as u32,
        Err(why) => {
            klog!("no virtual machine can run: {why}");
            bi::BACKEND_NONE
        }
    };
    let info = if params.has("disable_iommu") {
        klog!("iommu: disabled by the command line: DMA and interrupts are not remapped");
        iommu::Info::default()
    } else {
        let mut env = Env { free: &mut free, regions: &params.regions, io_apics: &firmware.io_apics };
        firmware.with_dmar(|dmar| iommu::init(&mut env, dmar, !params.has("intremap=off")))
    };
    iommu::set_reserved(&firmware.reserved);
    for io in &firmware.io_apics {
        ioapic::add(io.0, io.1);
    }
    let domains = params.domains().unwrap_or_else(|why| give_up(why));
    let cpus = another::start_all(&firmware.processors, &params.regions, &mut free);
    let mut machine = Machine {
        cpus,
        params,
        free,
        firmware,
        extensions: extensions(&info, backend),
        iopt_levels: u64::from(info.levels),
    };
    // SAFETY: boot is the kernel's only user until it leaves.
    let k = unsafe { KERNEL.get() };
    make_domains(k, domains, cpus as usize, &mut machine.free);
    root_server::create(k, &mut machine, module, module_end).unwrap_or_else(|why| give_up(why));
    traps::leave(k)
}

/// Makes all scheduling domains but the first one, which is always there.
fn make_domains(k: &mut Kernel, domains: u16, cpus: usize, free: &mut Ranges) {
    if domains == 1 {
        return;
    }
    let bytes = Processors::bytes_for(cpus, domains) as u64;
    let memory = free.alloc(bytes, 4096).and_then(|paddr| NonNull::new(arch::phys_to_virt(paddr)));
    let Some(memory) = memory else {
        give_up("no memory for so many scheduling domains: `domains=` wants less")
    };
    // SAFETY: fresh memory of this length, in pages.
    unsafe { k.sched.add_domains(memory, cpus, domains) };
    tables::FIRST.fpu.leave_the_short_way();
    k.domains.begin(domains, arch::now());
    k.change_domain();
    klog!("domains: {domains}");
}

/// True if user level is to run without the kernel in its address space: where the processor needs it, and where the command line says so.
fn is_isolated(params: &Params) -> bool {
    let verdict = virt::mitigations::isolation();
    let (isolated, why) = match (params.has("kpti=on"), params.has("kpti=off")) {
        (true, false) => (true, "by the command line"),
        (false, true) => (false, "by the command line"),
        _ => (verdict.is_needed(), "by the processor"),
    };
    let state = if isolated { "on" } else { "off" };
    klog!("kernel page-table isolation: {state}, {why}; {verdict}");
    isolated
}

/// How address spaces are switched, for the log.
fn switching() -> &'static str {
    match tlb::mode() {
        Mode { tagged: false, .. } => "switched without identifiers",
        Mode { by_page: false, .. } => "switched with identifiers (PCID)",
        _ => "switched with identifiers (PCID, INVPCID)",
    }
}

fn extensions(info: &iommu::Info, backend: u32) -> bi::Extensions {
    let bit = |on: bool, feature: u32| if on { feature } else { 0 };
    bi::Extensions {
        version: 1,
        features: bit(info.dma_remapping, bi::FEATURE_DMA_REMAPPING)
            | bit(info.interrupt_remapping, bi::FEATURE_INTERRUPT_REMAPPING)
            | bit(info.page_sizes_2m, bi::FEATURE_DMA_2M)
            | bit(info.page_sizes_1g, bi::FEATURE_DMA_1G)
            | bit(info.fault_reports, bi::FEATURE_DMA_FAULTS)
            | bit(backend == bi::BACKEND_SVM, bi::FEATURE_NESTED_NO_EXECUTE)
            | virt::mitigations::features(),
        vcpu_backend: backend,
        irte_count: info.irte_count,
        first_label: sel4_abi::label::FIRST_EXTENSION as u32,
        first_type: sel4_abi::object::ObjectType::IoPermissionMap as u32,
        dma_fault_slot: 0,
    }
}

/// RAM above 1 MiB and inside the window, and where RAM ends.
fn free_memory(params: &Params) -> (Ranges, u64) {
    let mut free = Ranges::new();
    let mut top = 1 << 32;
    for r in params.regions.iter().filter(|r| r.kind == 1) {
        let start = r.base.next_multiple_of(4096).max(1 << 20);
        let end = (r.base.saturating_add(r.length) & !0xfff).min(window::WINDOW_BYTES);
        free.push(start, end);
        top = top.max(end);
    }
    (free, top)
}

/// Moves the two 8259s out of the way of exceptions and masks them.
fn mask_8259() {
    for (port, value) in [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ] {
        arch::port_write(port, 1, value);
    }
}

struct Env<'a> {
    free: &'a mut Ranges,
    regions: &'a [params::Region],
    io_apics: &'a [(u64, u8)],
}

impl BootEnv for Env<'_> {
    fn alloc_frames(&mut self, count: usize, align: u64) -> Option<u64> {
        self.free.alloc(4096 * count as u64, align.max(4096))
    }
    fn map_device(&mut self, paddr: u64, length: u64) -> *mut u8 {
        window::map_device(paddr, length)
    }
    fn ram(&self, index: usize) -> Option<(u64, u64)> {
        let ram = self.regions.iter().filter(|region| region.kind == 1);
        ram.map(|region| (region.base, region.base.saturating_add(region.length))).nth(index)
    }
    fn address_bits(&self) -> u8 {
        cpu::address_bits()
    }
    fn read_config(&mut self, bus: u8, device: u8, function: u8, offset: u16) -> u32 {
        if offset >= 256 {
            return u32::MAX;
        }
        let address = 1 << 31 | u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8;
        arch::port_write(0xcf8, 4, address | u32::from(offset & 0xfc));
        arch::port_read(0xcfc, 4)
    }
    fn apic_id(&self) -> u8 {
        apic::id() as u8
    }
    fn io_apic(&self, index: usize) -> Option<u8> {
        self.io_apics.get(index).map(|&(_, id)| id)
    }
    fn log(&mut self, line: fmt::Arguments<'_>) {
        klog!("{line}");
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => klog!("PANIC: {} at {}:{}", info.message(), at.file(), at.line()),
        None => klog!("PANIC: {}", info.message()),
    }
    smp::end();
    arch::halt()
}
