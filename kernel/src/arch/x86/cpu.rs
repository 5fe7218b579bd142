// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control registers, address-space and segment-base switching.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};

use x86_64::registers::model_specific::Msr;

use super::window::kernel_root;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;
use crate::sync::KernelCell;

const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;
const MSR_PAT: u32 = 0x277;
/// PAT entries WB, WT, UC-, UC, WC and three times UC- (`sel4_abi::vm_attributes`).
const PAT: u64 = 0x0707_0701_0007_0406;

/// What is in the processor's registers.
struct Loaded {
    root: u64,
    bases: Option<Ptr<Tcb>>,
    fsgsbase: bool,
    huge_pages: bool,
}

static LOADED: KernelCell<Loaded> =
    KernelCell::new(Loaded { root: 0, bases: None, fsgsbase: false, huge_pages: false });

fn loaded() -> &'static mut Loaded {
    // SAFETY: the functions of this file take it one after the other and don't keep it.
    unsafe { LOADED.get() }
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

/// Loads an address space.
///
/// # Safety
/// It contains the kernel's part.
pub unsafe fn write_cr3(root: u64) {
    loaded().root = root;
    // SAFETY: by the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) }
}

/// The loaded address space.
pub fn loaded_root() -> u64 {
    loaded().root
}

/// Loads the kernel's own address space if `root` is loaded: it is going away.
pub fn leave_vspace(root: u64) {
    if loaded_root() == root {
        // SAFETY: the kernel's own.
        unsafe { write_cr3(kernel_root()) }
    }
}

/// True when pages can be 1 GiB.
pub fn has_huge_pages() -> bool {
    loaded().huge_pages
}

/// Bits of physical addresses (AMD64 Architecture Programmer's Manual, volume 3, appendix E.4.7).
pub fn address_bits() -> u8 {
    if __cpuid(0x8000_0000).eax >= 0x8000_0008 { __cpuid(0x8000_0008).eax as u8 } else { 36 }
}

/// Sets the control registers, the page attributes and what of the processor the kernel uses.
///
/// # Errors
/// What the processor lacks.
pub fn init() -> Result<(), &'static str> {
    let max = __cpuid(0x8000_0000).eax;
    if max < 0x8000_0001 {
        return Err("the processor is too old: no extended CPUID");
    }
    let extended = __cpuid(0x8000_0001);
    if extended.edx & 1 << 20 == 0 || extended.edx & 1 << 11 == 0 {
        return Err("the processor has no execute-disable or no SYSCALL");
    }
    loaded().huge_pages = extended.edx & 1 << 26 != 0;
    let basic = __cpuid(1);
    let seven = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
    let mut cr4: u64;
    // SAFETY: reads a control register.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    // PGE, OSFXSR, OSXMMEXCPT.
    cr4 |= 1 << 7 | 1 << 9 | 1 << 10;
    loaded().fsgsbase = seven & 1 != 0;
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
    super::fpu::init(xsave);
    Ok(())
}

/// Loads what belongs to `t` beside its general registers: address space, segment bases, x87 and SSE state.
#[inline]
pub fn activate(t: Ptr<Tcb>, root: Option<u64>) {
    let root = root.unwrap_or_else(kernel_root);
    if loaded().root != root {
        // SAFETY: roots get the kernel's part when they get their identifier.
        unsafe { write_cr3(root) }
    }
    if loaded().bases != Some(t) {
        switch_bases(t);
    }
    super::fpu::activate(t);
}

fn switch_bases(t: Ptr<Tcb>) {
    if let Some(old) = loaded().bases.replace(t) {
        store_bases(old);
    }
    // SAFETY: user's bases are canonical (`sanitize`, `canonical`); in the kernel, KERNEL_GS_BASE holds user's GS base.
    unsafe {
        if loaded().fsgsbase {
            asm!("wrfsbase {}", in(reg) t.fs_base.get(), options(nostack, preserves_flags));
        } else {
            write_msr(MSR_FS_BASE, t.fs_base.get());
        }
        write_msr(MSR_KERNEL_GS_BASE, t.gs_base.get());
    }
}

fn store_bases(t: Ptr<Tcb>) {
    let fs: u64;
    if loaded().fsgsbase {
        // SAFETY: CPUID lists the instruction and CR4 allows it.
        unsafe { asm!("rdfsbase {}", out(reg) fs, options(nomem, nostack, preserves_flags)) }
    } else {
        fs = read_msr(MSR_FS_BASE);
    }
    t.fs_base.set(fs);
    t.gs_base.set(read_msr(MSR_KERNEL_GS_BASE));
}

/// Makes the thread's `fs_base` and `gs_base` what they are at this moment.
pub fn save_bases(t: Ptr<Tcb>) {
    if loaded().bases == Some(t) {
        store_bases(t);
    }
}

/// Sets a thread's FS base, a canonical address.
pub fn set_fs_base(t: Ptr<Tcb>, base: u64) {
    save_bases(t);
    t.fs_base.set(base);
    if loaded().bases == Some(t) {
        loaded().bases = None;
    }
}

/// Sets a thread's GS base, a canonical address.
pub fn set_gs_base(t: Ptr<Tcb>, base: u64) {
    save_bases(t);
    t.gs_base.set(base);
    if loaded().bases == Some(t) {
        loaded().bases = None;
    }
}

/// A thread is going away.
pub fn forget_thread(t: Ptr<Tcb>) {
    if loaded().bases == Some(t) {
        loaded().bases = None;
    }
}

/// Stops the machine.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts off and halted: nothing happens any more.
        unsafe { asm!("cli; hlt", options(nomem, nostack)) }
    }
}
