// SPDX-License-Identifier: MIT OR Apache-2.0
//! The initial thread: its image, its capability space, what it is told.

use sel4_abi::bootinfo as bi;
use sel4_abi::message::CapRights;
use sel4_abi::object as abi;
use sel4_abi::slot;

use super::Machine;
use super::memory::Ranges;
use crate::arch::{self, time};
use crate::cap::{Cap, Frame, FrameSize, Made, Mapping, Root, Slot, Table, Untyped};
use crate::cdt;
use crate::kernel::Kernel;
use crate::klog;
use crate::object::cnode::CNode;
use crate::object::sched_context::SchedContext;
use crate::object::tcb::{self, Tcb, ThreadState};
use crate::ptr::Ptr;
use crate::vspace::span_bits;

const PAGE: u64 = 4096;
const ASID: u16 = 1;
/// Slots left for the root server beside what the kernel puts there.
const SPARE_SLOTS: u64 = 4096;
/// The message window, where a write is an interrupt.
const MSI_WINDOW: (u64, u64) = (0xfee0_0000, 0xfef0_0000);

type Result<T> = core::result::Result<T, &'static str>;

/// A loadable segment.
#[derive(Clone, Copy)]
struct Segment {
    offset: u64,
    vaddr: u64,
    file_bytes: u64,
    bytes: u64,
}

/// The root server's ELF image (ELF-64 object file format).
struct Image {
    base: u64,
    length: u64,
    entry: u64,
    v_start: u64,
    v_end: u64,
}

fn read<T: Copy>(paddr: u64) -> T {
    // SAFETY: boot; callers stay inside the module, which lies in the window. `T` is an integer.
    unsafe { arch::phys_to_virt(paddr).cast::<T>().read_unaligned() }
}

impl Image {
    fn parse(base: u64, length: u64) -> Result<Self> {
        if length < 64
            || read::<u32>(base) != 0x464c_457f
            || read::<u8>(base + 4) != 2
            || read::<u16>(base + 18) != 62
        {
            return Err("the boot module is no 64-bit x86 ELF file");
        }
        let mut image = Self { base, length, entry: read(base + 24), v_start: u64::MAX, v_end: 0 };
        for s in image.segments() {
            let end = s
                .vaddr
                .checked_add(s.bytes)
                .ok_or("the boot module has a segment beyond the address space")?;
            if s.offset.checked_add(s.file_bytes).is_none_or(|e| e > length) || s.file_bytes > s.bytes {
                return Err("the boot module's file is shorter than its segments");
            }
            image.v_start = image.v_start.min(s.vaddr);
            image.v_end = image.v_end.max(end);
        }
        image.v_end = image.v_end.next_multiple_of(PAGE);
        if image.v_start >= image.v_end || !image.v_start.is_multiple_of(PAGE) {
            return Err("the boot module's lowest address is not page-aligned");
        }
        if image.v_end > sel4_abi::USER_TOP - (1 << 21)
            || !(image.v_start..image.v_end).contains(&image.entry)
        {
            return Err("the boot module does not fit into user addresses, or its entry is outside");
        }
        Ok(image)
    }

    fn segments(&self) -> impl Iterator<Item = Segment> + use<> {
        let (base, length) = (self.base, self.length);
        let (table, size, count) =
            (read::<u64>(base + 32), u64::from(read::<u16>(base + 54)), u64::from(read::<u16>(base + 56)));
        (0..count).filter_map(move |i| {
            let at = table.checked_add(i * size)?;
            if size < 56 || at.checked_add(56)? > length {
                return None;
            }
            let h = base + at;
            (read::<u32>(h) == 1).then(|| Segment {
                offset: read(h + 8),
                vaddr: read(h + 16),
                file_bytes: read(h + 32),
                bytes: read(h + 40),
            })
        })
    }

    /// Copies the segments to contiguous memory at `paddr`, which is clear.
    fn load(&self, paddr: u64) {
        for s in self.segments() {
            let to = arch::phys_to_virt(paddr + (s.vaddr - self.v_start));
            // SAFETY: `parse` checked both ranges; the destination is fresh memory.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    arch::phys_to_virt(self.base + s.offset),
                    to,
                    s.file_bytes as usize,
                );
            }
        }
    }
}

/// Hands out objects and slots while the initial capability space is being filled.
struct Builder<'a> {
    free: &'a mut Ranges,
    node: CNode,
    next: u64,
    root: u64,
}

impl Builder<'_> {
    fn alloc(&mut self, bytes: u64) -> Result<u64> {
        let align = bytes.next_power_of_two().min(PAGE);
        self.free.alloc(bytes, align).ok_or("not enough memory for the initial thread")
    }

    fn put(&mut self, slot: u64, cap: Cap) {
        cdt::insert_root(self.node.slot(slot), cap);
    }

    fn push(&mut self, cap: Cap) -> Result<u64> {
        let slot = self.next;
        if slot >= self.node.len() {
            return Err("the initial capability space is full");
        }
        self.put(slot, cap);
        self.next += 1;
        Ok(slot)
    }

    /// The entry of the table of `level` for `vaddr`; tables on the way are made.
    fn entry(&mut self, vaddr: u64, level: u8) -> Result<*mut u64> {
        let mut table = self.root;
        for at in (level + 1..=4).rev() {
            let e: *mut u64 = entry(table, at, vaddr);
            // SAFETY: an entry of one of the initial thread's tables.
            let value = unsafe { e.read() };
            table = if value & 1 != 0 {
                value & !0xfff
            } else {
                let paddr = self.alloc(PAGE)?;
                let base = vaddr & !((1u64 << span_bits(at)) - 1);
                let mapping = Mapping::VSpace { asid: ASID, vaddr: base };
                self.push(Cap::Table(Table { paddr, level: at - 1, mapping }))?;
                // SAFETY: as above.
                unsafe { e.write(paddr | 7) };
                paddr
            };
        }
        Ok(entry(table, level, vaddr))
    }

    /// Maps a frame, and gives its capability.
    fn map(&mut self, paddr: u64, vaddr: u64) -> Result<Cap> {
        let e = self.entry(vaddr, 1)?;
        // SAFETY: an entry of one of the initial thread's tables.
        unsafe { e.write(paddr | 7) };
        Ok(Cap::Frame(Frame {
            paddr,
            size: FrameSize::Small,
            device: false,
            rights: CapRights::READ_WRITE,
            mapping: Mapping::VSpace { asid: ASID, vaddr },
        }))
    }
}

fn entry(table: u64, level: u8, vaddr: u64) -> *mut u64 {
    arch::phys_to_virt(table + 8 * (vaddr >> span_bits(level) & 511)).cast()
}

/// Makes the initial thread and everything it is given, and makes it the current one.
///
/// # Errors
/// Why that is impossible.
pub fn create(k: &mut Kernel, m: &mut Machine, module: u64, module_end: u64) -> Result<()> {
    let image = Image::parse(module, module_end - module)?;
    let pages = (image.v_end - image.v_start) / PAGE;
    let slots = pages + SPARE_SLOTS;
    let radix = (64 - (slots - 1).leading_zeros()).max(13) as u8;
    let slots_paddr = m.free.alloc(32 << radix, PAGE).ok_or("not enough memory for the capability space")?;
    // SAFETY: fresh, clear, 2^radix slots.
    let first: Ptr<Slot> = unsafe { Ptr::from_paddr(slots_paddr) };
    let node = CNode { slots: first, radix, guard_bits: 64 - radix, guard: 0 };
    let root = m.free.alloc(PAGE, PAGE).ok_or("not enough memory")?;
    let mut b = Builder { free: &mut m.free, node, next: slot::FIRST_DYNAMIC, root };

    let frames = b.alloc(pages * PAGE)?;
    image.load(frames);
    let pool = b.alloc(PAGE)?;
    k.asids.set_pool(0, pool);
    k.asids.assign(ASID, root, 0);
    arch::install_kernel_mappings(root);

    let mut info = bi::BootInfo {
        num_nodes: m.cpus,
        num_io_pt_levels: m.iopt_levels,
        init_thread_cnode_size_bits: u64::from(radix),
        // SAFETY: the structure is made of integers.
        ..unsafe { core::mem::zeroed() }
    };
    info.sched_control = region(b.next, b.next + m.cpus);
    for core in 0..m.cpus {
        b.push(Cap::SchedControl { core: core as u16 })?;
    }
    if m.extensions.features & bi::FEATURE_DMA_REMAPPING != 0 {
        b.put(slot::IO_SPACE, Cap::IoSpace { rid: 0, domain: 0 });
        m.extensions.dma_fault_slot = b.push(Cap::DmaFault)?;
    }
    // Tables first, so that their slots are one region.
    let extra = extra_chunks(m.params.rsdp.as_ref(), &m.params.regions, &m.extensions);
    let extra_pages = (extra.len() as u64).div_ceil(PAGE);
    let paging = b.next;
    for p in 0..pages + 2 + extra_pages {
        b.entry(image.v_start + p * PAGE, 1)?;
    }
    info.user_image_paging = region(paging, b.next);

    info.ipc_buffer = image.v_end;
    let (buffer, page) = (b.alloc(PAGE)?, b.alloc(PAGE)?);
    let buffer_cap = b.map(buffer, image.v_end)?;
    b.put(slot::INIT_IPC_BUFFER, buffer_cap);
    let info_address = image.v_end + PAGE;
    let info_cap = b.map(page, info_address)?;
    b.put(slot::BOOT_INFO_FRAME, info_cap);
    let extra_start = b.next;
    let extra_frames = b.alloc(extra_pages * PAGE)?;
    for p in 0..extra_pages {
        let cap = b.map(extra_frames + p * PAGE, info_address + PAGE + p * PAGE)?;
        b.push(cap)?;
    }
    info.extra_bi_pages = region(extra_start, b.next);
    info.extra_len = extra.len() as u64;
    // SAFETY: the frames are fresh and large enough.
    unsafe { core::ptr::copy_nonoverlapping(extra.as_ptr(), arch::phys_to_virt(extra_frames), extra.len()) };

    let image_start = b.next;
    for p in 0..pages {
        let cap = b.map(frames + p * PAGE, image.v_start + p * PAGE)?;
        b.push(cap)?;
    }
    info.user_image_frames = region(image_start, b.next);

    let (tcb_paddr, sc_paddr) = (b.alloc(1 << abi::TCB_BITS)?, b.alloc(1 << abi::MIN_SCHED_CONTEXT_BITS)?);
    // SAFETY: fresh, clear memory of these objects' sizes.
    let (thread, sc): (Ptr<Tcb>, Ptr<SchedContext>) =
        unsafe { (Ptr::from_paddr(tcb_paddr), Ptr::from_paddr(sc_paddr)) };
    b.put(slot::INIT_TCB, Cap::Thread(thread));
    b.put(slot::INIT_CNODE, Cap::CNode(node));
    b.put(slot::INIT_VSPACE, Cap::Pml4(Root { paddr: root, asid: ASID }));
    b.put(slot::IRQ_CONTROL, Cap::IrqControl);
    b.put(slot::ASID_CONTROL, Cap::AsidControl);
    b.put(slot::INIT_ASID_POOL, Cap::AsidPool { paddr: pool, index: 0 });
    b.put(slot::IO_PORT_CONTROL, Cap::IoPortControl);
    b.put(slot::DOMAIN, Cap::Domain);
    let sc_bits = abi::MIN_SCHED_CONTEXT_BITS as u8;
    b.put(slot::INIT_SC, Cap::SchedContext { object: sc, size_bits: sc_bits });

    untyped(&mut b, &mut info, m.params.regions.as_slice(), &m.firmware, (module, module_end))?;
    info.empty = region(b.next, node.len());
    // SAFETY: the boot-information frame is fresh and a page long.
    unsafe { arch::phys_to_virt(page).cast::<bi::BootInfo>().write(info) };

    start_thread(k, thread, sc, node, image.entry, info_address, info.ipc_buffer);
    klog!("root server: {} KiB at {:#x}, {} slots", pages * 4, image.v_start, node.len());
    Ok(())
}

const fn region(start: u64, end: u64) -> bi::SlotRegion {
    bi::SlotRegion { start, end }
}

/// Untyped capabilities: devices' first, then what boot gives back, then RAM.
fn untyped(
    b: &mut Builder<'_>,
    info: &mut bi::BootInfo,
    regions: &[super::params::Region],
    firmware: &super::firmware::Firmware,
    module: (u64, u64),
) -> Result<()> {
    let mut devices = Ranges::new();
    devices.push(0, 1 << 47);
    for r in regions.iter().filter(|r| r.kind == 1 && r.base + r.length > 1 << 20) {
        devices.remove(r.base.next_multiple_of(PAGE).max(1 << 20), (r.base + r.length) & !(PAGE - 1));
    }
    devices.remove(MSI_WINDOW.0, MSI_WINDOW.1);
    for &(address, _) in &firmware.io_apics {
        devices.remove(address & !(PAGE - 1), (address & !(PAGE - 1)) + PAGE);
    }
    for &(unit, length) in &firmware.remapping_units {
        devices.remove(unit & !(PAGE - 1), unit.saturating_add(length).next_multiple_of(PAGE));
    }
    let mut recycled = Ranges::new();
    recycled.push(module.0 & !(PAGE - 1), module.1.next_multiple_of(PAGE));
    let start = b.next;
    let mut n = 0;
    let (mut lost, node) = (0, b.node);
    let free = core::mem::take(b.free);
    for (ranges, device) in [(&devices, true), (&recycled, false), (&free, false)] {
        for (paddr, size_bits) in ranges.chunks() {
            if n == bi::MAX_UNTYPED {
                lost += 1;
                continue;
            }
            let u = Untyped { paddr, size_bits, device, watermark: 0, cleared: 0, made: Made::Zeros };
            cdt::insert_root(node.slot(start + n as u64), Cap::Untyped(u));
            info.untyped_list[n] =
                bi::UntypedDesc { paddr, size_bits, is_device: u8::from(device), padding: [0; 6] };
            n += 1;
        }
    }
    if lost != 0 {
        klog!("{lost} pieces of memory are unused: the boot information describes {}", bi::MAX_UNTYPED);
    }
    b.next = start + n as u64;
    info.untyped = region(start, b.next);
    Ok(())
}

fn start_thread(
    k: &mut Kernel,
    t: Ptr<Tcb>,
    sc: Ptr<SchedContext>,
    node: CNode,
    entry: u64,
    info: u64,
    buffer: u64,
) {
    t.init();
    for (index, source) in [
        (tcb::slot::CSPACE, slot::INIT_CNODE),
        (tcb::slot::VSPACE, slot::INIT_VSPACE),
        (tcb::slot::IPC_BUFFER, slot::INIT_IPC_BUFFER),
    ] {
        let from = node.slot(source);
        let cap = match from.cap() {
            Cap::Frame(f) => Cap::Frame(Frame { mapping: Mapping::None, ..f }),
            cap => cap,
        };
        cdt::insert(t.slot(index), cap, from, false);
    }
    t.context.rip.set(entry);
    t.context.rdi.set(info);
    t.ipc_buffer.set(buffer);
    t.priority.set(255);
    t.mcp.set(255);
    t.state.set(ThreadState::Running);
    let slice = sel4_abi::sched::BOOT_TIME_SLICE_MS * 1000 * arch::ticks_per_us();
    sc.configure(slice, slice, 0, arch::now());
    sc.tcb.set(Some(t));
    t.sc.set(Some(sc));
    k.wake(t);
}

type Chunks = heapless::Vec<u8, 2048>;

fn chunk(out: &mut Chunks, id: u64, payload: &[&[u8]]) {
    let length: usize = payload.iter().map(|p| p.len()).sum();
    // All chunks together are shorter than the vector.
    let mut add = |bytes: &[u8]| {
        let _ = out.extend_from_slice(bytes);
    };
    add(&id.to_le_bytes());
    add(&(16 + length as u64).to_le_bytes());
    payload.iter().for_each(|p| add(p));
}

/// The extra chunks of the boot information, in the ABI's order.
fn extra_chunks(
    rsdp: Option<&[u8; 36]>,
    regions: &[super::params::Region],
    extensions: &bi::Extensions,
) -> Chunks {
    const MAP_ENTRIES: usize = 50;
    let mut out = Chunks::new();
    if let Some(rsdp) = rsdp {
        chunk(&mut out, bi::ID_RSDP, &[rsdp]);
    }
    let mut map = [0; 24 * MAP_ENTRIES];
    let used = regions.len().min(MAP_ENTRIES);
    for (entry, r) in map.chunks_exact_mut(24).zip(regions) {
        entry[..4].copy_from_slice(&20u32.to_le_bytes());
        entry[4..12].copy_from_slice(&r.base.to_le_bytes());
        entry[12..20].copy_from_slice(&r.length.to_le_bytes());
        entry[20..].copy_from_slice(&r.kind.to_le_bytes());
    }
    chunk(&mut out, bi::ID_MEMORY_MAP, &[&(24 * used as u32).to_le_bytes(), &map]);
    chunk(&mut out, bi::ID_TSC_FREQ, &[&time::mhz().to_le_bytes()]);
    let x = extensions;
    let words = [x.version, x.features, x.vcpu_backend, x.irte_count, x.first_label, x.first_type]
        .map(u32::to_le_bytes);
    chunk(&mut out, bi::ID_POSTERN, &[words.as_flattened(), &x.dma_fault_slot.to_le_bytes()]);
    out
}
