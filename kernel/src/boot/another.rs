// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting the other processors (Intel SDM volume 3, section 9.4): each is woken in real mode at the beginning of a page below 1 MiB, gets
//! into 64-bit mode with the tables that the first one booted with, and waits for the kernel.

use core::arch::global_asm;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::memory::Ranges;
use super::params::Region;
use crate::arch::tables::{self, IST_BYTES, PerCpu, STACK_BYTES};
use crate::arch::{apic, cpu, entry as traps, isolation, phys_to_virt, smp, time, tlb, window};
use crate::processors::MAX_CPUS;
use crate::virt;
use crate::{cores, klog};

global_asm!(
    r#"
// Copied to its page, where CS begins.
.section .boot, "awx"
.code16
another_begin:
    cli
    cld
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    // lgdt cs:[another_gdt_pointer - another_begin]
    .byte 0x2e, 0x0f, 0x01, 0x16
    .short another_gdt_pointer - another_begin
    mov eax, 0x80000011
    mov cr0, eax
    // A far jump to a 32-bit offset in code segment 8.
    .byte 0x66, 0xea
    .long another_long_mode
    .short 8
another_gdt_pointer:
    .short 23
    .long boot_gdt
another_end:
.code64
another_long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    movabs rax, offset another_high
    jmp rax
.text
another_high:
    mov rax, [rip + {root}]
    mov cr3, rax
    mov rsp, [rip + {stack}]
    mov rdi, [rip + {block}]
    call {start}
    ud2
"#,
    root = sym ROOT,
    stack = sym STACK,
    block = sym BLOCK,
    start = sym start,
);

unsafe extern "C" {
    static another_begin: u8;
    static another_end: u8;
}

/// What the processor that is being started needs: the kernel's root table, the end of its stack, its block.
static ROOT: AtomicU64 = AtomicU64::new(0);
static STACK: AtomicU64 = AtomicU64::new(0);
static BLOCK: AtomicU64 = AtomicU64::new(0);
/// Its number.
static INDEX: AtomicU32 = AtomicU32::new(0);
static STATE: AtomicU32 = AtomicU32::new(STARTING);

const STARTING: u32 = 0;
const ARRIVED: u32 = 1;
/// It took too long, and won't be used.
const ABANDONED: u32 = 2;

/// Memory of one processor: its area, its two kinds of stacks, frames for virtualization.
const PAGE: usize = 4096;
const IST_AT: usize = core::mem::size_of::<PerCpu>();
const STACK_AT: usize = IST_AT + IST_BYTES;
const FRAMES_AT: usize = STACK_AT + STACK_BYTES;
const BLOCK_BYTES: usize = FRAMES_AT + 4 * PAGE;

/// Longest time until a processor has to be there, ms.
const PATIENCE_MS: u64 = 10_000;

/// Starts the processors with these local APICs, but for this one; gives the number of all that run. Of a core's threads one is used: what they
/// share (caches, buffers, predictors) would let two VMs see each other whatever is flushed when a guest is entered.
pub fn start_all(ids: &[u32], regions: &[Region], free: &mut Ranges) -> u64 {
    tables::FIRST.apic_id.set(apic::id());
    let (own, bits) = (apic::id(), cpu::thread_bits());
    let used = |id: u32| cores::is_used(ids, own, bits, id) && apic::can_name(id);
    let siblings = ids.iter().filter(|&&id| !used(id)).count();
    if siblings != 0 {
        klog!(
            "processors: {siblings} not used: each is a further thread of a core, or has an identifier that this mode can't name"
        );
    }
    let mut others = ids.iter().copied().filter(|&id| id != own && used(id)).peekable();
    if others.peek().is_none() {
        return 1;
    }
    let Some(page) = start_page(regions) else {
        klog!("processors: no memory below 1 MiB to start others in");
        return 1;
    };
    let mut count = 1;
    ROOT.store(window::kernel_root(), Ordering::Relaxed);
    let kept = Kept::put(page);
    for id in others {
        if count == MAX_CPUS as u64 {
            klog!("processors: {MAX_CPUS} are used, the others aren't");
            break;
        }
        let Some(block) = free.alloc(BLOCK_BYTES as u64, PAGE as u64) else {
            klog!("processors: no memory for one more");
            break;
        };
        if start_one(id, count as u8, block, page) {
            count += 1;
        } else {
            klog!("processors: the one with local APIC {id:#x} doesn't start, and isn't used");
        }
    }
    drop(kept);
    if count != 1 {
        klog!("processors: {count} used");
    }
    count
}

fn start_one(id: u32, index: u8, block: u64, page: u8) -> bool {
    let memory = phys_to_virt(block);
    // SAFETY: the block is fresh, and the processor's for ever.
    let area: &'static PerCpu = unsafe {
        memory.cast::<PerCpu>().write(PerCpu::empty());
        &*memory.cast()
    };
    if tlb::mode().isolated {
        // The tables are those of the first processor's area.
        isolation::map_area(index, block, block + IST_AT as u64, &mut || unreachable!());
    }
    STACK.store(memory as u64 + FRAMES_AT as u64, Ordering::Relaxed);
    BLOCK.store(block, Ordering::Relaxed);
    INDEX.store(index.into(), Ordering::Relaxed);
    STATE.store(STARTING, Ordering::Release);
    apic::send_init(id);
    wait_us(10_000);
    for _ in 0..2 {
        apic::send_start(id, page);
        wait_us(200);
    }
    let until = time::now() + PATIENCE_MS * 1000 * time::ticks_per_us();
    while STATE.load(Ordering::Acquire) == STARTING && time::now() < until {
        spin_loop();
    }
    if STATE.compare_exchange(STARTING, ABANDONED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        // It must not come later.
        apic::send_init(id);
        return false;
    }
    smp::add(area);
    true
}

fn wait_us(us: u64) {
    let until = time::now() + us * time::ticks_per_us();
    while time::now() < until && STATE.load(Ordering::Acquire) == STARTING {
        spin_loop();
    }
}

/// The Rust code of a further processor; interrupts are off.
extern "C" fn start(block: u64) -> ! {
    let memory = phys_to_virt(block);
    // SAFETY: the first processor has made the area.
    tables::enter(unsafe { &*memory.cast() }, INDEX.load(Ordering::Relaxed) as u8);
    run(block)
}

#[inline(never)]
fn run(block: u64) -> ! {
    let memory = phys_to_virt(block) as u64;
    // What the first processor can do, this one can.
    if cpu::init().is_err() {
        crate::arch::halt();
    }
    tlb::start();
    tables::load(memory + FRAMES_AT as u64, memory + IST_AT as u64);
    apic::init_another();
    let area = tables::this();
    area.apic_id.set(apic::id());
    let mut frames = block + FRAMES_AT as u64;
    virt::init_another(&mut |n| {
        let frame = frames;
        frames += (n * PAGE) as u64;
        assert!(frames <= block + BLOCK_BYTES as u64, "virtualization needs more frames of each processor");
        frame
    });
    if STATE.compare_exchange(STARTING, ARRIVED, Ordering::AcqRel, Ordering::Acquire).is_err() {
        crate::arch::halt();
    }
    while !smp::is_known(area) {
        spin_loop();
    }
    traps::leave(smp::acquire())
}

/// The number of a page of RAM below 640 KiB.
fn start_page(regions: &[Region]) -> Option<u8> {
    (1..0x9f).rev().find(|&page| {
        let start = u64::from(page) << 12;
        regions
            .iter()
            .any(|r| r.kind == 1 && r.base <= start && start + PAGE as u64 <= r.base.saturating_add(r.length))
    })
}

/// The code in its page; what was there comes back.
struct Kept {
    at: *mut u8,
    bytes: [u8; 128],
    length: usize,
}

impl Kept {
    fn put(page: u8) -> Self {
        let at = phys_to_virt(u64::from(page) << 12);
        let from = &raw const another_begin;
        let length = &raw const another_end as usize - from as usize;
        let mut bytes = [0; 128];
        assert!(length <= bytes.len(), "the code for starting processors has grown");
        // SAFETY: RAM that nobody else uses during boot; the code lies below 4 GiB, in the window.
        unsafe {
            core::ptr::copy_nonoverlapping(at, bytes.as_mut_ptr(), length);
            core::ptr::copy_nonoverlapping(phys_to_virt(from as u64), at, length);
        }
        Self { at, bytes, length }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: as in `put`. All processors that started have left it.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes.as_ptr(), self.at, self.length) }
    }
}
