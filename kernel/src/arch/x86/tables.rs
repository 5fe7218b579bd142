// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptor tables and the per-processor area (Intel SDM volume 3, chapters 3, 6 and 8).

use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::sync::atomic::AtomicU32;

use ::tlb::{Mode, Translations};

use super::cpu::{Loaded, read_msr, write_msr};
use super::{entry, fpu, gate, isolation, tlb};
use crate::sync::KernelCell;

/// Kernel code segment.
pub const KERNEL_CS: u16 = 0x08;
const TSS_SELECTOR: u16 = 0x38;
/// Bytes of the kernel's stack.
pub const STACK_BYTES: usize = 32 << 10;

/// What belongs to one processor, at its GS base while the kernel runs. The entry code knows offsets in the first two fields.
#[repr(C, align(4096))]
pub struct PerCpu {
    /// What user level's address space has too, if the kernel is isolated.
    pub gate: Gate,
    /// Its stack pointer for entry from user level is the end of the current thread's `Context`: the registers are pushed below, by the
    /// processor and by the entry code.
    pub tss: UnsafeCell<Tss>,
    /// Top of the kernel's stack.
    pub kernel_stack: Cell<u64>,
    this: Cell<*const PerCpu>,
    /// Its number; 0 is the processor that booted.
    pub index: Cell<u8>,
    /// Identifier of its local APIC.
    pub apic_id: Cell<u32>,
    /// What others want of it (`smp`).
    pub mail: AtomicU32,
    /// What is in its registers.
    pub loaded: Loaded,
    /// Which address space it has loaded, and what it has cached of others.
    pub translations: Translations,
    /// Whose x87 and SSE state it holds.
    pub fpu: fpu::State,
}

/// Of a processor: what the way into the kernel and out of it needs.
#[repr(C, align(4096))]
pub struct Gate {
    /// A register of user level's, on the way.
    pub scratch: Cell<u64>,
    /// Address, in each address space, of what IRET takes from `frame`.
    pub frame_at: Cell<u64>,
    /// Where an interrupt of user level leaves RIP, CS, RFLAGS, RSP and SS, if the kernel is isolated; below these, error code and vector.
    pub frame: [Cell<u64>; 8],
    /// The task state segment then: its stack is `frame`.
    tss: UnsafeCell<Tss>,
    gdt: UnsafeCell<[u64; 9]>,
}

impl Gate {
    const fn new() -> Self {
        Self {
            scratch: Cell::new(0),
            frame_at: Cell::new(0),
            frame: [const { Cell::new(0) }; 8],
            tss: UnsafeCell::new(Tss::NEW),
            gdt: UnsafeCell::new(GDT),
        }
    }
}

// SAFETY: what is not atomic is the processor's own; others may read `index`, `apic_id` and `loaded`, and use `translations`, which
// they do while they have the kernel (`smp`).
unsafe impl Sync for PerCpu {}

impl PerCpu {
    /// Nothing loaded.
    pub const fn empty() -> Self {
        Self {
            gate: Gate::new(),
            tss: UnsafeCell::new(Tss::NEW),
            kernel_stack: Cell::new(0),
            this: Cell::new(core::ptr::null()),
            index: Cell::new(0),
            apic_id: Cell::new(0),
            mail: AtomicU32::new(0),
            loaded: Loaded::empty(),
            translations: Translations::new(),
            fpu: fpu::State::empty(),
        }
    }
}

/// The area of this processor.
#[inline(always)]
pub fn this() -> &'static PerCpu {
    let this: *const PerCpu;
    // SAFETY: the kernel's GS base is the area from `enter` on, whose address never changes.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) this, const offset_of!(PerCpu, this), options(pure, nomem, nostack, preserves_flags));
        &*this
    }
}

/// Makes `area` that of this processor: the first thing that each one does.
pub fn enter(area: &'static PerCpu, index: u8) {
    area.this.set(area);
    area.index.set(index);
    area.loaded.init();
    area.fpu.init();
    // SAFETY: the kernel uses GS for this alone.
    unsafe { write_msr(GS_BASE, core::ptr::from_ref(area) as u64) }
}

/// The task state segment.
#[repr(C, packed(4))]
pub struct Tss {
    reserved: u32,
    /// Stack pointers for privilege levels 0 to 2.
    pub rsp: [u64; 3],
    reserved2: u64,
    ist: [u64; 7],
    reserved3: [u16; 5],
    io_map: u16,
}

impl Tss {
    /// No stacks, and no I/O permission map.
    const NEW: Self = Self {
        reserved: 0,
        rsp: [0; 3],
        reserved2: 0,
        ist: [0; 7],
        reserved3: [0; 5],
        io_map: core::mem::size_of::<Self>() as u16,
    };
}

#[repr(C, align(4096))]
struct Stack<const N: usize>([u8; N]);

#[repr(C, align(4096))]
struct Idt([[u64; 2]; 256]);

const GDT: [u64; 9] = [
    0,
    0x00af_9b00_0000_ffff, // 0x08 kernel code
    0x00cf_9300_0000_ffff, // 0x10 kernel data
    0,
    0x00cf_f300_0000_ffff, // 0x20 user data, where SYSRET finds the stack segment
    0x00af_fb00_0000_ffff, // 0x28 user code
    0x00cf_f300_0000_ffff, // 0x30 user data
    0,
    0,
];
static IDT: KernelCell<Idt> = KernelCell::new(Idt([[0; 2]; 256]));
/// The area of the processor that boots.
pub static FIRST: PerCpu = PerCpu::empty();
static STACK: KernelCell<Stack<STACK_BYTES>> = KernelCell::new(Stack([0; STACK_BYTES]));
/// Stacks of NMI, double fault, machine check and debug exceptions.
static IST: KernelCell<Stack<IST_BYTES>> = KernelCell::new(Stack([0; IST_BYTES]));
const IST_ONE: usize = 4096;
const ISTS: usize = 4;
/// Bytes of the stacks of NMI, double fault, machine check and debug exceptions.
pub const IST_BYTES: usize = ISTS * IST_ONE;

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const SFMASK: u32 = 0xc000_0084;
const EFER: u32 = 0xc000_0080;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// RFLAGS cleared on SYSCALL: TF IF DF IOPL NT AC.
const SYSCALL_FLAGS: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 18;

/// Top of the stack of the processor that boots.
pub fn stack_top() -> u64 {
    STACK.as_ptr() as u64 + STACK_BYTES as u64
}

fn set_gate(vector: usize, handler: u64, dpl: u64, ist: u64) {
    let low = handler & 0xffff
        | u64::from(KERNEL_CS) << 16
        | ist << 32
        | (0x8e | dpl << 5) << 40
        | (handler >> 16 & 0xffff) << 48;
    // SAFETY: boot, one at a time.
    unsafe { IDT.get().0[vector] = [low, handler >> 32] };
}

/// The one interrupt descriptor table.
pub fn idt() -> *const u8 {
    IDT.as_ptr().cast()
}

/// Stacks of [`IST_BYTES`] of the processor that boots.
pub fn first_ist() -> *const u8 {
    IST.as_ptr().cast()
}

/// Fills the one interrupt descriptor table.
fn fill_idt() {
    let isolated = tlb::mode().isolated;
    for v in 0..256 {
        // Breakpoint and overflow are instructions that user level may execute.
        let dpl = if v == 3 || v == 4 { 3 } else { 0 };
        let ist = match v {
            2 => 1,
            8 => 2,
            18 => 3,
            1 => 4,
            _ => 0,
        };
        let handler = match v {
            1 if isolated => gate::gate_debug as *const () as u64,
            1 => entry::debug_entry as *const () as u64,
            2 => gate::nmi_entry as *const () as u64,
            8 => gate::double_fault_entry as *const () as u64,
            18 => gate::machine_check_entry as *const () as u64,
            _ if isolated => gate::stub(v),
            _ => entry::stub(v),
        };
        set_gate(v, handler, dpl, ist);
    }
}

/// Loads all tables and turns SYSCALL on, on the processor that boots; anew when its kernel has been isolated.
pub fn init() {
    fill_idt();
    load(stack_top(), IST.as_ptr() as u64);
}

/// Loads all tables and turns SYSCALL on, for a processor whose stack ends at `stack` and whose stacks of [`IST_BYTES`] begin at `ist`.
pub fn load(stack: u64, ist: u64) {
    let area = this();
    let isolated = tlb::mode().isolated && isolation::empty_root() != 0;
    let index = area.index.get();
    // Where the area and the stacks are in all address spaces.
    let (at, ist) = if isolated {
        (isolation::area_of(index), isolation::ist_of(index))
    } else {
        (core::ptr::from_ref(area) as u64, ist)
    };
    let (own_tss, tss) = if isolated {
        (area.gate.tss.get(), at + (offset_of!(PerCpu, gate) + offset_of!(Gate, tss)) as u64)
    } else {
        (area.tss.get(), area.tss.get() as u64)
    };
    let frame = at + (offset_of!(PerCpu, gate) + offset_of!(Gate, frame)) as u64;
    // SAFETY: boot of this processor: its area is this function's; everything loaded here stays for ever.
    unsafe {
        if isolated {
            (*own_tss).rsp[0] = frame + 64;
            area.gate.frame_at.set(frame + 24);
        }
        let gdt = &mut *area.gate.gdt.get();
        gdt[7] = 0x0000_8900_0000_0067 | (tss & 0xff_ffff) << 16 | (tss >> 24 & 0xff) << 56;
        gdt[8] = tss >> 32;
        for i in 0..ISTS {
            (*own_tss).ist[i] = ist + (IST_ONE * (i + 1)) as u64;
        }
        let gdtr = Descriptor {
            limit: 9 * 8 - 1,
            base: at + (offset_of!(PerCpu, gate) + offset_of!(Gate, gdt)) as u64,
        };
        let idtr = Descriptor { limit: 4095, base: IDT.as_ptr() as u64 };
        asm!(
            "lgdt [{g}]",
            "push {cs}",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "retfq",
            "2:",
            "mov ds, {z:x}", "mov es, {z:x}", "mov ss, {d:x}", "mov fs, {z:x}", "mov gs, {z:x}",
            "lidt [{i}]",
            "ltr {s:x}",
            g = in(reg) &raw const gdtr, i = in(reg) &raw const idtr, t = out(reg) _,
            cs = const KERNEL_CS as u64, z = in(reg) 0u64, d = in(reg) 0x10u64, s = in(reg) u64::from(TSS_SELECTOR),
        );
        area.kernel_stack.set(stack);
        // Loading a selector has set the base to zero.
        write_msr(GS_BASE, at);
        write_msr(KERNEL_GS_BASE, 0);
        // SYSRET: CS = base + 16 = 0x2b, SS = base + 8 = 0x23.
        write_msr(STAR, 0x1b << 48 | u64::from(KERNEL_CS) << 32);
        write_msr(SFMASK, SYSCALL_FLAGS);
        write_msr(EFER, read_msr(EFER) | 1);
    }
    aim_system_calls();
}

/// Makes SYSCALL enter the kernel in the way in which address spaces are switched.
pub fn aim_system_calls() {
    let target = match tlb::mode() {
        Mode { isolated: true, tagged: true, .. } => entry::gate_syscall_tagged,
        Mode { isolated: true, .. } => entry::gate_syscall,
        Mode { tagged: true, .. } => entry::syscall_entry_tagged,
        _ => entry::syscall_entry,
    };
    // SAFETY: all of them are entries.
    unsafe { write_msr(LSTAR, target as *const () as u64) }
}

#[repr(C, packed)]
struct Descriptor {
    limit: u16,
    base: u64,
}

/// Makes kernel entry push to the registers that end at `context_end`.
#[inline(always)]
pub fn set_context(context_end: u64) {
    // SAFETY: a store to the processor's own area, which only entry from user level reads.
    unsafe {
        asm!("mov gs:[{}], {}", const offset_of!(PerCpu, tss) + offset_of!(Tss, rsp), in(reg) context_end,
            options(nostack, preserves_flags));
    }
}
