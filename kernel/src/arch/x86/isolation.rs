// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel out of user level's reach (against Meltdown: Intel, "Rogue Data Cache Load", CVE-2017-5754). The kernel runs in its own address space
//! only; in those of user level the kernel's part holds what the processor needs to get there and back, and nothing else:
//!
//! | virtual | what |
//! | --- | --- |
//! | in the image | code and data of `gate`, the interrupt descriptor table |
//! | [`AREAS`], for each processor | its [`Gate`](super::tables::Gate), the stacks of NMI, double fault, machine check and debug exceptions |
//!
//! The kernel never touches memory by user level's addresses, so it misses nothing.

use core::sync::atomic::{AtomicU64, Ordering};

use super::gate::POSTERN_GATE;
use super::tables::{FIRST, IST_BYTES, PerCpu};
use super::window::{AREAS, NX, PRESENT, WRITE, image_to_phys, kernel_root, phys_to_virt};
use super::{tables, tlb};
use crate::vspace::KERNEL_INDEX;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const PAGE: u64 = 4096;
/// Of a processor's area, one page is its gate.
const GATE_PAGES: u64 = 1;
const IST_PAGES: u64 = IST_BYTES as u64 / PAGE;
const AREA_PAGES: u64 = size_of::<PerCpu>() as u64 / PAGE;
/// Addresses of one processor.
const SPAN: u64 = 16 * PAGE;

const _: () = assert!((AREA_PAGES + IST_PAGES) * PAGE <= SPAN);

/// A root with the kernel's part of user level, and nothing else: that of threads without an address space. 0 where the kernel isn't isolated.
static EMPTY: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    static gate_text_start: u8;
    static gate_text_end: u8;
}

/// The root with nothing of the kernel but the way there.
pub fn empty_root() -> u64 {
    EMPTY.load(Ordering::Relaxed)
}

/// Maps a page in the tables under `root`. Frames for tables are zeroed.
fn map(root: u64, vaddr: u64, entry: u64, frame: &mut dyn FnMut() -> u64) {
    let mut table = root;
    for level in (1..4).rev() {
        let e = phys_to_virt(table + 8 * (vaddr >> (12 + 9 * level) & 511)).cast::<u64>();
        // SAFETY: tables of the kernel's own, in the window, which nobody else writes during boot.
        table = unsafe {
            if e.read() & PRESENT == 0 {
                e.write(frame() | PRESENT | WRITE);
            }
            e.read() & ADDRESS
        };
    }
    // SAFETY: as above.
    unsafe { phys_to_virt(table + 8 * (vaddr >> 12 & 511)).cast::<u64>().write(entry) }
}

/// Isolates the kernel, on the processor that boots. The kernel's address space is loaded.
pub fn init(frame: &mut dyn FnMut() -> u64) {
    let root = frame();
    let address = |s: *const u8| s as u64;
    let text = address(&raw const gate_text_start)..address(&raw const gate_text_end);
    for page in text.step_by(PAGE as usize) {
        map(root, page, image_to_phys(page as *const u8) | PRESENT, frame);
    }
    let shared = POSTERN_GATE.as_ptr();
    map(root, shared as u64, image_to_phys(shared) | PRESENT | WRITE | NX, frame);
    let idt = tables::idt();
    map(root, idt as u64, image_to_phys(idt) | PRESENT | NX, frame);
    EMPTY.store(root, Ordering::Relaxed);
    // SAFETY: boot, one at a time.
    unsafe { POSTERN_GATE.get().kernel_cr3 = tlb::kernel_cr3() };
    map_area(0, image_to_phys(&raw const FIRST), image_to_phys(tables::first_ist()), frame);
    tables::init();
}

/// Maps the area of a processor, at `area`, and its stacks of [`IST_BYTES`] at `ist`, where both the kernel and user level find them.
pub fn map_area(index: u8, area: u64, ist: u64, frame: &mut dyn FnMut() -> u64) {
    let at = area_of(index);
    let entry = |paddr| paddr | PRESENT | WRITE | NX;
    for page in 0..AREA_PAGES {
        map(kernel_root(), at + PAGE * page, entry(area + PAGE * page), frame);
        if page < GATE_PAGES {
            map(empty_root(), at + PAGE * page, entry(area + PAGE * page), frame);
        }
    }
    for page in 0..IST_PAGES {
        map(kernel_root(), ist_of(index) + PAGE * page, entry(ist + PAGE * page), frame);
        map(empty_root(), ist_of(index) + PAGE * page, entry(ist + PAGE * page), frame);
    }
}

/// Where a processor's area is found in each address space.
pub fn area_of(index: u8) -> u64 {
    AREAS + SPAN * u64::from(index)
}

/// The same of its stacks.
pub fn ist_of(index: u8) -> u64 {
    area_of(index) + PAGE * AREA_PAGES
}

/// The entry of a top-level table of user level that leads to the kernel's part.
pub fn user_entry() -> u64 {
    // SAFETY: the root is complete, and stays as it is.
    unsafe { phys_to_virt(empty_root() + 8 * KERNEL_INDEX).cast::<u64>().read() }
}
