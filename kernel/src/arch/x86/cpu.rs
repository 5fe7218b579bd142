// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control registers, and what is switched with a thread.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::cell::Cell;
use core::mem::offset_of;

use x86_64::registers::model_specific::Msr;

use super::tables::this;
use super::tlb::{self, Way};
use crate::arch::context::Bases;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;
const MSR_PAT: u32 = 0x277;
/// PAT entries WB, WT, UC-, UC, WC and three times UC- (`sel4_abi::vm_attributes`).
const PAT: u64 = 0x0707_0701_0007_0406;

/// What is in the processor's registers.
pub struct Loaded {
    /// Whose bases are loaded, where they are to be stored: a thread's, or `spare`.
    bases: Cell<*const Bases>,
    /// For bases that are nobody's.
    spare: Bases,
    fsgsbase: Cell<bool>,
    huge_pages: Cell<bool>,
}

impl Loaded {
    /// Before [`Loaded::init`].
    pub const fn empty() -> Self {
        Self {
            bases: Cell::new(core::ptr::null()),
            spare: Bases { fs: Cell::new(0), gs: Cell::new(0) },
            fsgsbase: Cell::new(false),
            huge_pages: Cell::new(false),
        }
    }

    /// Nobody's bases.
    pub fn init(&self) {
        self.bases.set(&raw const self.spare);
    }

    /// True if the processor holds the thread's bases; for other processors too, while they have the kernel.
    pub fn holds(&self, t: &Tcb) -> bool {
        core::ptr::eq(self.bases.get(), &raw const t.bases)
    }
}

fn loaded() -> &'static Loaded {
    &this().loaded
}

/// Reads a model-specific register that exists.
pub fn read_msr(msr: u32) -> u64 {
    // SAFETY: callers name architectural registers, or have looked at CPUID.
    unsafe { Msr::new(msr).read() }
}

/// Writes a model-specific register.
///
/// # Safety
/// The value leaves the kernel's own state intact.
pub unsafe fn write_msr(msr: u32, value: u64) {
    // SAFETY: by the caller's promise.
    unsafe { Msr::new(msr).write(value) }
}

/// True when pages can be 1 GiB.
pub fn has_huge_pages() -> bool {
    loaded().huge_pages.get()
}

/// What CPUID says under `number` (subleaf 0); zeros if there is no such leaf. The highest of each range is in EAX of its first.
pub fn leaf(number: u32) -> CpuidResult {
    if __cpuid(number & 0x8000_0000).eax < number {
        return CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    }
    __cpuid_count(number, 0)
}

/// Bits of physical addresses (AMD64 Architecture Programmer's Manual, volume 3, appendix E.4.7).
pub fn address_bits() -> u8 {
    match leaf(0x8000_0008).eax as u8 {
        0 => 36,
        bits => bits,
    }
}

/// How many of the low bits of a local APIC's identifier tell the threads of a core apart (Intel SDM volume 3, section 10.9.3; AMD64 Architecture
/// Programmer's Manual, volume 3, appendix E.4.17).
pub fn thread_bits() -> u32 {
    let threads = leaf(0xb);
    if threads.ebx & 0xffff != 0 {
        return threads.eax & 31;
    }
    if leaf(0x8000_0001).ecx & 1 << 22 != 0 {
        let threads = (leaf(0x8000_001e).ebx >> 8 & 0xff) + 1;
        return threads.next_power_of_two().trailing_zeros();
    }
    0
}

/// Sets the control registers, the page attributes and what of the processor the kernel uses.
///
/// # Errors
/// What the processor lacks.
pub fn init() -> Result<(), &'static str> {
    let extended = leaf(0x8000_0001);
    if extended.edx & 1 << 20 == 0 || extended.edx & 1 << 11 == 0 {
        return Err("the processor has no execute-disable or no SYSCALL");
    }
    loaded().huge_pages.set(extended.edx & 1 << 26 != 0);
    let basic = leaf(1);
    let seven = leaf(7).ebx;
    let mut cr4: u64;
    // SAFETY: reads a control register.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    // PGE, OSFXSR, OSXMMEXCPT.
    cr4 |= 1 << 7 | 1 << 9 | 1 << 10;
    loaded().fsgsbase.set(seven & 1 != 0);
    if seven & 1 != 0 {
        cr4 |= 1 << 16;
    }
    if seven & 1 << 7 != 0 {
        cr4 |= 1 << 20; // SMEP
    }
    if seven & 1 << 20 != 0 {
        cr4 |= 1 << 21; // SMAP: the kernel never touches memory through user mappings.
    }
    let xsave = basic.ecx & 1 << 26 != 0;
    if xsave {
        cr4 |= 1 << 18;
    }
    // SAFETY: turns on features that CPUID lists; CR0: write-protect on, no emulation, native FPU errors.
    unsafe {
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        let mut cr0: u64;
        asm!("mov {}, cr0", out(reg) cr0, options(nomem, nostack, preserves_flags));
        cr0 = cr0 & !(1 << 2 | 1 << 3 | 1 << 29 | 1 << 30) | 1 << 1 | 1 << 5 | 1 << 16;
        asm!("mov cr0, {}", in(reg) cr0, options(nostack, preserves_flags));
        if xsave {
            asm!("xsetbv", in("ecx") 0, in("eax") 3, in("edx") 0, options(nostack, preserves_flags));
        }
        write_msr(MSR_PAT, PAT);
    }
    super::fpu::init(xsave, loaded().fsgsbase.get());
    Ok(())
}

/// Loads what belongs to `t` beside its general registers: address space, segment bases, x87 and SSE state.
#[inline(always)]
pub fn activate(t: Ptr<Tcb>) {
    tlb::enter(t.space.get());
    activate_registers(t);
}

/// As [`activate`], without the address space.
#[inline(always)]
pub fn activate_registers(t: Ptr<Tcb>) {
    if !are_loaded(&t.bases) {
        if loaded().fsgsbase.get() { switch_bases(&t.bases) } else { switch_bases_by_msr(&t.bases) }
    }
    super::fpu::activate(t);
}

/// True if [`activate_ordinary`] can be used, and there is one processor with one domain.
#[inline(always)]
pub fn is_ordinary() -> bool {
    super::fpu::is_ordinary()
}

/// True if there is one processor and one domain.
#[inline(always)]
pub fn is_alone() -> bool {
    super::fpu::is_alone()
}

/// As [`activate`], without the cases that are rare. It gives what the way out of an isolated kernel loads; if it gives an area too, the
/// bases are still to be exchanged: what is in the processor goes there.
///
/// # Safety
/// [`is_ordinary`] has said so in this kernel entry, and the thread has x87 and SSE state.
#[inline(always)]
pub unsafe fn activate_ordinary<W: Way>(t: Ptr<Tcb>) -> (u64, Option<*const Bases>) {
    let cr3 = W::enter(t.space.get());
    // SAFETY: by the caller's promise.
    unsafe { super::fpu::activate_ordinary(t) };
    (cr3, (!are_loaded(&t.bases)).then(|| loaded().bases.replace(&raw const t.bases)))
}

/// Exchanges, with the instructions for that, the bases in the processor for those of a thread. In the kernel, KERNEL_GS_BASE holds user's GS base: SWAPGS brings it
/// within reach of the short instructions.
#[inline(always)]
fn switch_bases(new: &Bases) {
    let old = loaded().bases.replace(new);
    // SAFETY: CPUID lists the instructions and CR4 allows them; user's bases are canonical (`sanitize`, `canonical`). `old` is a live
    // thread's, or the spare ones. Between the two SWAPGS nothing uses GS; what could come between them (NMI, machine check) doesn't either.
    unsafe {
        asm!(
            "rdfsbase {t}", "mov [{old} + {FS}], {t}", "wrfsbase {fs}",
            "swapgs", "rdgsbase {t}", "wrgsbase {gs}", "swapgs", "mov [{old} + {GS}], {t}",
            t = out(reg) _, old = in(reg) old, fs = in(reg) new.fs.get(), gs = in(reg) new.gs.get(),
            FS = const offset_of!(Bases, fs), GS = const offset_of!(Bases, gs),
            options(nostack, preserves_flags)
        );
    }
}

#[cold]
fn switch_bases_by_msr(new: &Bases) {
    let old = loaded().bases.replace(new);
    // SAFETY: a live thread's, or the spare ones.
    store_bases(unsafe { &*old });
    // SAFETY: user's bases are canonical (`sanitize`, `canonical`); in the kernel, KERNEL_GS_BASE holds user's GS base.
    unsafe {
        write_msr(MSR_FS_BASE, new.fs.get());
        write_msr(MSR_KERNEL_GS_BASE, new.gs.get());
    }
}

fn store_bases(bases: &Bases) {
    bases.fs.set(read_msr(MSR_FS_BASE));
    bases.gs.set(read_msr(MSR_KERNEL_GS_BASE));
}

fn are_loaded(bases: &Bases) -> bool {
    core::ptr::eq(loaded().bases.get(), bases)
}

/// Makes the thread's bases what they are at this moment.
pub fn save_bases(t: Ptr<Tcb>) {
    if are_loaded(&t.bases) {
        store_bases(&t.bases);
    }
}

/// Sets a thread's FS base, a canonical address.
pub fn set_fs_base(t: Ptr<Tcb>, base: u64) {
    save_bases(t);
    t.bases.fs.set(base);
    forget_thread(t);
}

/// Sets a thread's GS base, a canonical address.
pub fn set_gs_base(t: Ptr<Tcb>, base: u64) {
    save_bases(t);
    t.bases.gs.set(base);
    forget_thread(t);
}

/// What the processor holds of a thread's bases is of no interest any more.
pub fn forget_thread(t: Ptr<Tcb>) {
    if are_loaded(&t.bases) {
        loaded().init();
    }
}

/// Stops the machine.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts off and halted: nothing happens any more.
        unsafe { asm!("cli; hlt", options(nomem, nostack)) }
    }
}

/// Saves the segment bases that the processor holds for a thread: it may be wanted elsewhere.
pub fn give_up_bases() {
    // SAFETY: a live thread's, or the spare ones.
    store_bases(unsafe { &*loaded().bases.get() });
    loaded().init();
}
