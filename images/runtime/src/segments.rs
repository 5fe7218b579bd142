// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segment descriptors and the task state segment (Intel SDM volume 3, sections 3.4.5 and 8.7): flat code and data, and a stack of its own for
//! the double fault, so that a stack overflow is reported.

use core::arch::asm;
use core::cell::UnsafeCell;

/// A structure that only start-up code writes and only the CPU reads afterwards.
#[repr(C, align(16))]
pub struct ForCpu<T>(UnsafeCell<T>);

// SAFETY: one CPU; written by `load` alone, before interrupts are on.
unsafe impl<T> Sync for ForCpu<T> {}

impl<T> ForCpu<T> {
    /// A structure with its first content.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Its address.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// The operand of `lgdt` and `lidt`.
#[repr(C, packed)]
pub struct Pointer<T> {
    pub limit: u16,
    pub base: *const T,
}

#[repr(C, packed)]
struct TaskState {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: [u16; 5],
    io_map: u16,
}

/// The selector of 64-bit code.
pub const CODE: u16 = 0x08;
/// The interrupt stack table's entry for double faults.
pub const DOUBLE_FAULT_STACK: u8 = 1;

const STACK_BYTES: usize = 16 << 10;
const TASK_STATE_SELECTOR: u16 = 0x18;

static GDT: ForCpu<[u64; 5]> = ForCpu::new([
    0,
    0x00af_9b00_0000_ffff, // 0x08: 64-bit code
    0x00cf_9300_0000_ffff, // 0x10: data
    0,                     // 0x18: task state segment, two entries
    0,
]);

/// What the entry code loads; its first six bytes serve 32-bit code too.
pub static GDT_POINTER: ForCpu<Pointer<ForCpu<[u64; 5]>>> =
    ForCpu::new(Pointer { limit: size_of::<[u64; 5]>() as u16 - 1, base: &raw const GDT });

static TASK_STATE: ForCpu<TaskState> = ForCpu::new(TaskState {
    reserved0: 0,
    rsp: [0; 3],
    reserved1: 0,
    ist: [0; 7],
    reserved2: [0; 5],
    io_map: size_of::<TaskState>() as u16,
});

static STACK: ForCpu<[u8; STACK_BYTES]> = ForCpu::new([0; STACK_BYTES]);

/// The two descriptor words of an available 64-bit TSS at `base`.
fn task_state_descriptor(base: u64, limit: u64) -> [u64; 2] {
    const PRESENT_TSS: u64 = 0x89 << 40;
    let low = (limit & 0xffff) | (base & 0xff_ffff) << 16 | PRESENT_TSS | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// Installs the task state segment. The entry code has loaded the descriptor table.
pub fn load() {
    let descriptor = task_state_descriptor(TASK_STATE.get() as u64, size_of::<TaskState>() as u64 - 1);
    // SAFETY: start-up code on the only CPU; nobody else has a reference to these structures. The field is written
    // unaligned because the layout is packed.
    unsafe {
        let stack = STACK.get() as u64 + STACK_BYTES as u64;
        (&raw mut (*TASK_STATE.get()).ist[0]).write_unaligned(stack);
        (*GDT.get())[3] = descriptor[0];
        (*GDT.get())[4] = descriptor[1];
        asm!("ltr {:x}", in(reg) TASK_STATE_SELECTOR, options(nostack, preserves_flags));
    }
}
