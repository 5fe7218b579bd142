// SPDX-License-Identifier: MIT OR Apache-2.0
//! A stand-in for the machine, so that the kernel's logic runs in host tests: an arena of memory, a clock that is set by hand, devices
//! that do nothing.

use core::cell::Cell;
use std::thread_local;
use std::vec::Vec;

use sel4_abi::object::ObjectType;

use crate::cap::Root;
use crate::error::SysResult;
use crate::object::tcb::Tcb;
use crate::ptr::Ptr;

/// Bytes of the arena; physical addresses start at [`ARENA_START`].
pub const ARENA_BYTES: usize = 16 << 20;
/// First physical address of the arena.
pub const ARENA_START: u64 = 1 << 20;

thread_local! {
    static ARENA: u64 = {
        let memory: Vec<u64> = std::vec![0; (ARENA_BYTES + (1 << 21)) / 8];
        (memory.leak().as_mut_ptr() as u64).next_multiple_of(1 << 20)
    };
    /// The time.
    pub static NOW: Cell<u64> = const { Cell::new(0) };
    /// When the timer fires.
    pub static TIMER: Cell<u64> = const { Cell::new(u64::MAX) };
    /// What `interrupt_pending` says.
    pub static PENDING: Cell<bool> = const { Cell::new(false) };
}

/// Address of a byte of the arena.
pub fn phys_to_virt(paddr: u64) -> *mut u8 {
    (ARENA.with(|a| *a) + paddr.wrapping_sub(ARENA_START)) as *mut u8
}
/// The inverse.
pub fn virt_to_phys(p: *mut u8) -> u64 {
    (p as u64).wrapping_sub(ARENA.with(|a| *a)).wrapping_add(ARENA_START)
}
/// Fills memory with zeros.
pub fn clear_memory(paddr: u64, bytes: u64) {
    assert!(paddr >= ARENA_START && paddr + bytes <= ARENA_START + ARENA_BYTES as u64);
    // SAFETY: inside the arena.
    unsafe { phys_to_virt(paddr).write_bytes(0, bytes as usize) }
}
/// The time set by the test.
pub fn now() -> u64 {
    NOW.with(Cell::get)
}
/// Notes when it would fire.
pub fn set_timer(ticks: u64) {
    TIMER.with(|t| t.set(now().saturating_add(ticks)));
}
/// One tick is a nanosecond.
pub fn ticks_per_us() -> u64 {
    1000
}
/// What the test set.
pub fn interrupt_pending() -> bool {
    PENDING.with(Cell::get)
}
/// Every type.
pub fn object_supported(_: ObjectType) -> bool {
    true
}
/// No virtual CPUs.
pub fn init_vcpu(_: u64) {}
/// No processor state.
pub fn fpu_forget(_: Ptr<Tcb>) {}
/// No processor state.
pub fn forget_thread(_: Ptr<Tcb>) {}
/// No processor state.
pub fn save_bases(_: Ptr<Tcb>) {}
/// Sets the base in the thread.
pub fn set_fs_base(t: Ptr<Tcb>, base: u64) {
    t.bases.fs.set(base);
}
/// Sets the base in the thread.
pub fn set_gs_base(t: Ptr<Tcb>, base: u64) {
    t.bases.gs.set(base);
}
/// No translations are cached.
pub fn flush_page(_: Root, _: u64) {}
/// No translations are cached.
pub fn flush_all(_: Root) {}
/// There is one processor.
pub fn drop_elsewhere(_: Root) {}
/// Nothing is loaded.
pub fn leave_vspace(_: Root) {}
/// The kernel has no mappings.
pub fn install_kernel_mappings(_: u64) {}
/// One I/O APIC.
pub fn ioapic_count() -> u64 {
    1
}
/// Of 24 pins.
pub fn ioapic_pins(_: u8) -> u64 {
    24
}
/// Does nothing.
pub fn enable_pin(_: u8, _: u8, _: bool, _: bool, _: u8) {}
/// Does nothing.
pub fn disable_pin(_: u8, _: u8) {}
/// Does nothing.
pub fn mask_pin(_: u8, _: u8, _: bool) {}
/// No remapping.
///
/// # Errors
/// None.
pub fn remap_message(_: u16, _: u64, _: u8) -> SysResult<Option<u16>> {
    Ok(None)
}
/// Does nothing.
pub fn block_message(_: u16, _: bool) {}
/// All ones.
pub fn port_read(_: u16, _: u8) -> u32 {
    u32::MAX
}
/// Does nothing.
pub fn port_write(_: u16, _: u8, _: u32) {}
/// There is one processor.
pub fn is_awaited() -> bool {
    false
}
/// There is one processor.
pub fn stop(_: u8) {}
/// There is one processor.
pub fn poke(_: u8) {}
/// There is one processor.
pub fn take_state(_: &Tcb, _: u8) {}
/// Does nothing.
pub fn console_put(_: u8) {}
/// Ends the test.
pub fn halt() -> ! {
    panic!("the kernel halts")
}

/// Nested tables in the format of CPU tables.
pub mod nested {
    use sel4_abi::message::CapRights;
    /// An entry that points at a table.
    pub fn entry_table(paddr: u64) -> u64 {
        paddr | 7
    }
    /// An entry that maps a frame.
    pub fn entry_frame(paddr: u64, size_bits: u8, rights: CapRights, _: u64) -> u64 {
        paddr | 5 | u64::from(rights.write()) << 1 | u64::from(size_bits > 12) << 7
    }
    /// No translations are cached.
    pub fn flush(_: u64) {}
}
