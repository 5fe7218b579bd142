// SPDX-License-Identifier: MIT OR Apache-2.0
//! x86-64.

pub mod apic;
pub mod cpu;
pub mod entry;
pub mod fpu;
pub mod gate;
pub mod ioapic;
pub mod isolation;
pub mod nested;
pub mod port;
pub mod probe;
pub mod remap;
pub mod serial;
pub mod smp;
mod snippets;
pub mod tables;
pub mod time;
pub mod tlb;
pub mod window;

use sel4_abi::object::ObjectType;

pub use apic::interrupt_pending;
pub use cpu::{forget_thread, halt, save_bases, set_fs_base, set_gs_base};
pub use fpu::forget as fpu_forget;
pub use ioapic::{count as ioapic_count, disable_pin, enable_pin, mask_pin, pins as ioapic_pins};
pub use port::{port_read, port_write};
pub use remap::{block_message, remap_message};
pub use serial::put as console_put;
pub use smp::{is_awaited, poke, stop, take_state};
pub use time::{now, set_timer, ticks_per_us};
pub use tlb::{drop_elsewhere, flush_all, flush_page, leave_vspace};
pub use window::{clear_memory, install_kernel_mappings, phys_to_virt, virt_to_phys};

use crate::virt;

/// True for object types that this machine has.
pub fn object_supported(ty: ObjectType) -> bool {
    match ty {
        ObjectType::IoPermissionMap => virt::backend().is_some(),
        ObjectType::HugePage => cpu::has_huge_pages(),
        _ => true,
    }
}

/// Makes 16 KiB of zeros a VCPU.
pub fn init_vcpu(paddr: u64) {
    crate::object::vcpu::create(paddr);
}
