// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the kernel's first jump to the main function.

use sel4::init_thread::Slot;
use sel4::{BootInfo, BootInfoPtr, cap_type};

#[cfg(not(test))]
core::arch::global_asm!(
    // RDI: boot information. RSP: 0.
    ".global _start",
    "_start:",
    "mov rsp, [rip + SEL4_ROOT_TASK_STACK_TOP]",
    "xor ebp, ebp",
    "call sel4_root_task_main",
    "ud2",
);

/// Sets up the runtime and runs the program. Only [`declare!`](crate::declare) calls it.
#[doc(hidden)]
pub fn enter(bootinfo: usize, stack_guard: usize, main: fn(&BootInfoPtr) -> !) -> ! {
    // SAFETY: the kernel put the address of the boot information into RDI; it is mapped, and nobody writes it.
    let bootinfo = unsafe { BootInfoPtr::new(bootinfo as *const BootInfo) };
    // SAFETY: the kernel made this the initial thread's IPC buffer. Further threads name theirs.
    unsafe { sel4::set_ipc_buffer(bootinfo.ipc_buffer()) };
    if let Some(frame) = image_frame(&bootinfo, stack_guard) {
        // A stack without guard is a stack still.
        let _ = frame.cap().frame_unmap();
    }
    main(&bootinfo)
}

/// The slot of the frame of the image at `address`.
pub fn image_frame(bootinfo: &BootInfoPtr, address: usize) -> Option<Slot<cap_type::Granule>> {
    frame_index(bootinfo.ipc_buffer() as usize, bootinfo.user_image_frames(), address).map(Slot::from_index)
}

/// The frames lie in ascending order, and the IPC buffer's page follows the image's last.
fn frame_index(ipc_buffer: usize, frames: core::ops::Range<usize>, address: usize) -> Option<usize> {
    let from_end = ipc_buffer.checked_sub(address)?.div_ceil(1 << sel4::GRANULE_BITS);
    if from_end == 0 || from_end > frames.len() { None } else { Some(frames.end - from_end) }
}

#[cfg(test)]
mod tests {
    use super::frame_index;

    #[test]
    fn frames_are_counted_from_the_end_of_the_image() {
        // Four pages from 0x400000, the IPC buffer behind them.
        let find = |address| frame_index(0x404000, 20..24, address);
        assert_eq!(find(0x400000), Some(20));
        assert_eq!(find(0x400fff), Some(20));
        assert_eq!(find(0x401000), Some(21));
        assert_eq!(find(0x403fff), Some(23));
        assert_eq!(find(0x404000), None);
        assert_eq!(find(0x3fffff), None);
        assert_eq!(find(0x500000), None);
    }
}
