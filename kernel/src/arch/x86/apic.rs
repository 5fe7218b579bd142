// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local APIC (Intel SDM volume 3, chapter 12): interrupts pending, end of interrupt, the timer.

use super::cpu::{read_msr, write_msr};
use super::window::map_device;
use crate::sync::KernelCell;

/// CPU vector of the timer.
pub const TIMER_VECTOR: u8 = 157;
/// CPU vector of spurious interrupts.
pub const SPURIOUS_VECTOR: u8 = 255;

const MSR_APIC_BASE: u32 = 0x1b;
const X2APIC_ENABLED: u64 = 1 << 10;
const ENABLED: u64 = 1 << 11;

const ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const EOI: u32 = 0xb0;
const LOGICAL_DESTINATION: u32 = 0xd0;
const DESTINATION_FORMAT: u32 = 0xe0;
const SPURIOUS: u32 = 0xf0;
const IRR: u32 = 0x200;
const LVT_TIMER: u32 = 0x320;
const LVT_THERMAL: u32 = 0x330;
const LVT_PERFORMANCE: u32 = 0x340;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;
const MASKED: u32 = 1 << 16;

/// How the registers are reached; `None` before `init`.
enum Access {
    None,
    Mmio(*mut u32),
    X2Apic,
}

static ACCESS: KernelCell<Access> = KernelCell::new(Access::None);

fn read(register: u32) -> u32 {
    // SAFETY: set once at boot.
    match unsafe { ACCESS.get() } {
        Access::None => 0,
        // SAFETY: the page is mapped uncached.
        Access::Mmio(base) => unsafe { base.byte_add(register as usize).read_volatile() },
        Access::X2Apic => read_msr(0x800 + (register >> 4)) as u32,
    }
}

fn write(register: u32, value: u32) {
    // SAFETY: set once at boot.
    match unsafe { ACCESS.get() } {
        Access::None => {}
        // SAFETY: as for `read`; the registers written here concern the kernel's own interrupts only.
        Access::Mmio(base) => unsafe { base.byte_add(register as usize).write_volatile(value) },
        // SAFETY: as above.
        Access::X2Apic => unsafe { write_msr(0x800 + (register >> 4), u64::from(value)) },
    }
}

/// Turns the local APIC on, in the mode in which firmware left it.
pub fn init(address: u64) {
    let base = read_msr(MSR_APIC_BASE);
    let access = if base & X2APIC_ENABLED != 0 {
        Access::X2Apic
    } else {
        // SAFETY: turns the APIC on where firmware left it.
        unsafe { write_msr(MSR_APIC_BASE, base | ENABLED) };
        Access::Mmio(map_device(address, 4096).cast())
    };
    // SAFETY: boot, once.
    unsafe { *ACCESS.get() = access };
    enable();
}

/// Turns on the local APIC of a further processor, in the mode of the first one's.
pub fn init_another() {
    let base = read_msr(MSR_APIC_BASE);
    let mode = if is_x2() { X2APIC_ENABLED } else { 0 };
    // SAFETY: turns the APIC on, from either of the states in which a processor starts.
    unsafe {
        write_msr(MSR_APIC_BASE, base | ENABLED);
        write_msr(MSR_APIC_BASE, base | ENABLED | mode);
    }
    enable();
    start_timer(0, true);
}

/// True in x2APIC mode.
fn is_x2() -> bool {
    // SAFETY: set once at boot.
    matches!(unsafe { ACCESS.get() }, Access::X2Apic)
}

fn enable() {
    if !is_x2() {
        write(DESTINATION_FORMAT, 0xffff_ffff);
        write(LOGICAL_DESTINATION, 1 << 24);
    }
    write(TASK_PRIORITY, 0);
    for lvt in [LVT_TIMER, LVT_THERMAL, LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR] {
        write(lvt, MASKED);
    }
    write(SPURIOUS, 1 << 8 | u32::from(SPURIOUS_VECTOR));
    write(TIMER_DIVIDE, 0b1011); // by 1
}

/// This processor's ID.
pub fn id() -> u32 {
    if is_x2() { read(ID) } else { read(ID) >> 24 }
}

/// True if interrupts can be sent to the processor with the local APIC `id`: not every one can be named outside of x2APIC mode.
pub fn can_name(id: u32) -> bool {
    id < 0xff || is_x2()
}

/// Sends an interrupt to the processor with the local APIC `id` (Intel SDM volume 3, section 12.6.1).
pub fn send(id: u32, vector: u8) {
    command(id, u32::from(vector));
}

/// Resets the processor with the local APIC `id`: it waits for [`send_start`].
pub fn send_init(id: u32) {
    const INIT: u32 = 5 << 8;
    const ASSERT: u32 = 1 << 14;
    command(id, INIT | ASSERT);
}

/// Starts it, in real mode, at the beginning of a page below 1 MiB.
pub fn send_start(id: u32, page: u8) {
    const STARTUP: u32 = 6 << 8;
    const ASSERT: u32 = 1 << 14;
    command(id, STARTUP | ASSERT | u32::from(page));
}

fn command(id: u32, command: u32) {
    const LOW: u32 = 0x300;
    const HIGH: u32 = 0x310;
    const PENDING: u32 = 1 << 12;
    if is_x2() {
        // SAFETY: interrupts for the kernel's own entry, or the start of a processor that waits for it.
        unsafe { write_msr(0x800 + (LOW >> 4), u64::from(id) << 32 | u64::from(command)) };
        return;
    }
    write(HIGH, id << 24);
    write(LOW, command);
    while read(LOW) & PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Ends the interrupt being served.
#[inline]
pub fn end_of_interrupt() {
    write(EOI, 0);
}

/// True when an interrupt waits to be served.
pub fn interrupt_pending() -> bool {
    (0..8).any(|i| read(IRR + 0x10 * i) != 0)
}

/// Starts counting down from `count` with the interrupt on or off.
pub fn start_timer(count: u32, interrupt: bool) {
    write(LVT_TIMER, u32::from(TIMER_VECTOR) | if interrupt { 0 } else { MASKED });
    write(TIMER_INITIAL, count);
}

/// Restarts the timer with its interrupt as it is.
#[inline]
pub fn restart_timer(count: u32) {
    write(TIMER_INITIAL, count);
}

/// The timer's count.
pub fn timer_count() -> u32 {
    read(TIMER_CURRENT)
}
