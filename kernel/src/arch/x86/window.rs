// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's own address space: all RAM in one window, the image in the top 2 GiB, device registers behind it.
//!
//! | virtual | what |
//! | --- | --- |
//! | 0xffff_ff80_0000_0000 | physical memory up to the end of RAM, not executable |
//! | 0xffff_ffff_8000_0000 | the first 4 MiB of physical memory: the image, its sections with their own rights |
//! | 0xffff_ffff_c000_0000 | device registers, uncached |
//!
//! The window covers the holes below the end of RAM too; firmware's MTRRs make these uncached (Intel SDM volume 3, 12.11), and
//! nothing in the kernel reads there.

use core::arch::asm;

use super::{isolation, tlb};
use crate::sync::KernelCell;
use crate::vspace::KERNEL_INDEX;

/// Start of the window on physical memory.
pub const WINDOW: u64 = 0xffff_ff80_0000_0000;
/// Start of the kernel image's mapping.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;
/// Start of device mappings.
pub const DEVICES: u64 = 0xffff_ffff_c000_0000;
/// Start of what both the kernel and user level find of each processor, if the kernel is isolated (`isolation`).
pub const AREAS: u64 = DEVICES + (4 << 20);
/// Largest physical address in the window: two of its 512 GiB are the image's and the devices'.
pub const WINDOW_BYTES: u64 = 510 << 30;

/// Bits of an entry of a table.
pub const PRESENT: u64 = 1;
/// See [`PRESENT`].
pub const WRITE: u64 = 2;
const UNCACHED: u64 = 3 << 3;
const LARGE: u64 = 1 << 7;
/// See [`PRESENT`].
pub const NX: u64 = 1 << 63;

#[repr(C, align(4096))]
struct Page([u64; 512]);

static ROOT: KernelCell<Page> = KernelCell::new(Page([0; 512]));
static PDPT: KernelCell<Page> = KernelCell::new(Page([0; 512]));
static IMAGE_PD: KernelCell<Page> = KernelCell::new(Page([0; 512]));
static IMAGE_PTS: KernelCell<[Page; 2]> = KernelCell::new([const { Page([0; 512]) }; 2]);
static DEVICE_PD: KernelCell<Page> = KernelCell::new(Page([0; 512]));
static DEVICE_PTS: KernelCell<[Page; 2]> = KernelCell::new([const { Page([0; 512]) }; 2]);
static DEVICE_PAGES: KernelCell<usize> = KernelCell::new(0);

unsafe extern "C" {
    static kernel_text_start: u8;
    static kernel_rodata_start: u8;
    static kernel_data_start: u8;
    static kernel_virt_end: u8;
}

/// The window's address of physical address `paddr`.
#[inline(always)]
pub fn phys_to_virt(paddr: u64) -> *mut u8 {
    (WINDOW + paddr) as *mut u8
}

/// The inverse of [`phys_to_virt`].
#[inline(always)]
pub fn virt_to_phys(p: *mut u8) -> u64 {
    (p as u64).wrapping_sub(WINDOW)
}

/// Physical address of something in the image.
pub fn image_to_phys<T>(p: *const T) -> u64 {
    p as u64 - IMAGE
}

/// Physical address of the kernel's own top-level table.
pub fn kernel_root() -> u64 {
    image_to_phys(ROOT.as_ptr())
}

/// Fills memory with zeros. `bytes` is a multiple of 8 or smaller than that.
pub fn clear_memory(paddr: u64, bytes: u64) {
    let p = phys_to_virt(paddr);
    // SAFETY: the caller owns the memory, which lies in the window.
    unsafe {
        asm!("rep stosq", inout("rcx") bytes / 8 => _, inout("rdi") p => _, in("rax") 0u64, options(nostack, preserves_flags));
    }
    for i in bytes & !7..bytes {
        // SAFETY: as above.
        unsafe { p.add(i as usize).write(0) }
    }
}

/// Bit 8 of an entry, if what it maps is in all address spaces.
fn global() -> u64 {
    u64::from(!tlb::mode().isolated) << 8
}

/// Builds the address space of the table above, with RAM up to `top`, and switches to it. `frame` gives zeroed frames, for machines without
/// 1 GiB pages.
pub fn build(top: u64, mut frame: impl FnMut() -> u64) {
    // SAFETY: boot, once; the statics are this function's until it returns.
    let (root, pdpt, pd, pts) = unsafe { (ROOT.get(), PDPT.get(), IMAGE_PD.get(), IMAGE_PTS.get()) };
    let global = global();
    root.0[KERNEL_INDEX as usize] = image_to_phys(PDPT.as_ptr()) | PRESENT | WRITE;
    for i in 0..top.min(WINDOW_BYTES).div_ceil(1 << 30) {
        let base = i << 30;
        pdpt.0[i as usize] = if super::cpu::has_huge_pages() {
            base | PRESENT | WRITE | LARGE | global | NX
        } else {
            let table = frame();
            for j in 0..512 {
                let e = (base + (j << 21)) | PRESENT | WRITE | LARGE | global | NX;
                // SAFETY: the frame is fresh; the boot tables' window covers it.
                unsafe { phys_to_virt(table + 8 * j).cast::<u64>().write(e) }
            }
            table | PRESENT | WRITE
        };
    }
    pdpt.0[510] = image_to_phys(IMAGE_PD.as_ptr()) | PRESENT | WRITE;
    pdpt.0[511] = image_to_phys(DEVICE_PD.as_ptr()) | PRESENT | WRITE;
    // Addresses of the linker's symbols, which are never read.
    let address = |s: *const u8| s as u64;
    let text = address(&raw const kernel_text_start);
    let rodata = address(&raw const kernel_rodata_start);
    let data = address(&raw const kernel_data_start);
    let end = address(&raw const kernel_virt_end);
    assert!(end <= IMAGE + (4 << 20), "the kernel image is larger than its 4 MiB mapping");
    for (entry, table) in pd.0.iter_mut().zip(pts.iter()) {
        *entry = image_to_phys(table) | PRESENT | WRITE;
    }
    for page in 0..1024u64 {
        let v = IMAGE + (page << 12);
        let rights = match v {
            _ if v < text || v >= end => continue,
            _ if v < rodata => 0,
            _ if v < data => NX,
            _ => NX | WRITE,
        };
        pts[(page / 512) as usize].0[(page % 512) as usize] = (page << 12) | PRESENT | global | rights;
    }
    // SAFETY: the new tables map everything that is in use: image, stack (in the image), and RAM.
    unsafe { asm!("mov cr3, {}", in(reg) kernel_root(), options(nostack, preserves_flags)) };
}

/// Maps device registers uncached, for good. `paddr` may be anywhere in a page.
pub fn map_device(paddr: u64, length: u64) -> *mut u8 {
    // SAFETY: boot, one at a time.
    let (pd, pts, used) = unsafe { (DEVICE_PD.get(), DEVICE_PTS.get(), DEVICE_PAGES.get()) };
    for (entry, table) in pd.0.iter_mut().zip(pts.iter()) {
        *entry = image_to_phys(table) | PRESENT | WRITE;
    }
    let first = *used;
    let base = paddr & !0xfff;
    for page in 0..(paddr - base + length).div_ceil(4096) {
        assert!(*used < 1024, "too many device registers");
        pts[*used / 512].0[*used % 512] = (base + (page << 12)) | PRESENT | WRITE | UNCACHED | global() | NX;
        *used += 1;
    }
    (DEVICES + ((first as u64) << 12) + (paddr - base)) as *mut u8
}

/// Puts the kernel's part into a top-level table of user level, or the way there.
pub fn install_kernel_mappings(root: u64) {
    // SAFETY: the root's capability was shown; the kernel's table is only read.
    unsafe {
        let entry = match tlb::mode().isolated {
            true => isolation::user_entry(),
            false => (*ROOT.as_ptr()).0[KERNEL_INDEX as usize],
        };
        phys_to_virt(root + 8 * KERNEL_INDEX).cast::<u64>().write(entry);
    }
}
