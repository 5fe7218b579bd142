// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptor tables and the per-processor area (Intel SDM volume 3, chapters 3, 6 and 8).

use core::arch::asm;

use super::cpu::{read_msr, write_msr};
use super::entry;
use crate::sync::KernelCell;

/// Kernel code segment.
pub const KERNEL_CS: u16 = 0x08;
const TSS_SELECTOR: u16 = 0x38;
/// Bytes of the kernel's stack.
pub const STACK_BYTES: usize = 32 << 10;

/// What kernel entry needs, at GS base. The entry code knows the offsets. Aligned so that it lies in one page.
#[repr(C, align(128))]
pub struct PerCpu {
    /// Its stack pointer for entry from user level is the end of the current thread's `Context`: the registers are pushed below, by the
    /// processor and by the entry code.
    pub tss: Tss,
    /// Top of the kernel's stack.
    pub kernel_stack: u64,
    /// User's stack pointer on the way through SYSCALL.
    pub scratch: u64,
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

#[repr(C, align(16))]
struct Stack<const N: usize>([u8; N]);

#[repr(C, align(16))]
struct Idt([[u64; 2]; 256]);

static GDT: KernelCell<[u64; 9]> = KernelCell::new([
    0,
    0x00af_9b00_0000_ffff, // 0x08 kernel code
    0x00cf_9300_0000_ffff, // 0x10 kernel data
    0,
    0x00cf_f300_0000_ffff, // 0x20 user data, where SYSRET finds the stack segment
    0x00af_fb00_0000_ffff, // 0x28 user code
    0x00cf_f300_0000_ffff, // 0x30 user data
    0,
    0,
]);
static IDT: KernelCell<Idt> = KernelCell::new(Idt([[0; 2]; 256]));
/// The per-processor area.
pub static PER_CPU: KernelCell<PerCpu> =
    KernelCell::new(PerCpu { tss: Tss::NEW, kernel_stack: 0, scratch: 0 });
static STACK: KernelCell<Stack<STACK_BYTES>> = KernelCell::new(Stack([0; STACK_BYTES]));
/// Stacks of NMI, double fault and machine check.
static IST: KernelCell<[Stack<4096>; 3]> = KernelCell::new([const { Stack([0; 4096]) }; 3]);

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const SFMASK: u32 = 0xc000_0084;
const EFER: u32 = 0xc000_0080;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
/// RFLAGS cleared on SYSCALL: TF IF DF IOPL NT AC.
const SYSCALL_FLAGS: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 18;

/// Top of the kernel's stack.
pub fn stack_top() -> u64 {
    STACK.as_ptr() as u64 + STACK_BYTES as u64
}

/// Selector of the task state segment, which VMLOAD and friends want restored.
pub fn tss_base() -> u64 {
    PER_CPU.as_ptr() as u64
}

fn gate(vector: usize, handler: u64, dpl: u64, ist: u64) {
    let low = handler & 0xffff
        | u64::from(KERNEL_CS) << 16
        | ist << 32
        | (0x8e | dpl << 5) << 40
        | (handler >> 16 & 0xffff) << 48;
    // SAFETY: boot, one at a time.
    unsafe { IDT.get().0[vector] = [low, handler >> 32] };
}

/// Loads all tables and turns SYSCALL on.
pub fn init() {
    let tss = tss_base();
    // SAFETY: boot: the statics are this function's; everything loaded here stays for ever.
    unsafe {
        let gdt = GDT.get();
        gdt[7] = 0x0000_8900_0000_0067 | (tss & 0xff_ffff) << 16 | (tss >> 24 & 0xff) << 56;
        gdt[8] = tss >> 32;
        let per_cpu = PER_CPU.get();
        for i in 0..3 {
            per_cpu.tss.ist[i] = IST.as_ptr() as u64 + 4096 * (i as u64 + 1);
        }
        for v in 0..256 {
            // Breakpoint and overflow are instructions that user level may execute.
            let dpl = if v == 3 || v == 4 { 3 } else { 0 };
            let ist = match v {
                2 => 1,
                8 => 2,
                18 => 3,
                _ => 0,
            };
            let handler = match v {
                2 => entry::nmi_entry as *const () as u64,
                8 => entry::double_fault_entry as *const () as u64,
                18 => entry::machine_check_entry as *const () as u64,
                _ => entry::stub(v),
            };
            gate(v, handler, dpl, ist);
        }
        let gdtr = Descriptor { limit: 9 * 8 - 1, base: GDT.as_ptr() as u64 };
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
        per_cpu.kernel_stack = stack_top();
        write_msr(GS_BASE, PER_CPU.as_ptr() as u64);
        write_msr(KERNEL_GS_BASE, 0);
        // SYSRET: CS = base + 16 = 0x2b, SS = base + 8 = 0x23.
        write_msr(STAR, 0x1b << 48 | u64::from(KERNEL_CS) << 32);
        write_msr(LSTAR, entry::syscall_entry as *const () as u64);
        write_msr(SFMASK, SYSCALL_FLAGS);
        write_msr(EFER, read_msr(EFER) | 1);
    }
}

#[repr(C, packed)]
struct Descriptor {
    limit: u16,
    base: u64,
}

/// Makes kernel entry push to the registers that end at `context_end`.
#[inline(always)]
pub fn set_context(context_end: u64) {
    // SAFETY: nobody else is in the static; a plain store.
    unsafe { PER_CPU.get().tss.rsp[0] = context_end };
}
