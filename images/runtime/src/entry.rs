// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first instructions: from PVH's 32-bit entry to 64-bit Rust.
//!
//! PVH boot protocol: 32-bit protected mode, flat segments, paging off, EBX = start information. Intel SDM volume 3, section 11.8.5
//! ("Initializing IA-32e mode") gives the order of steps.

use core::arch::global_asm;

global_asm!(
    // The ELF note by which a PVH loader finds the entry (XEN_ELFNOTE_PHYS32_ENTRY = 18). QEMU reads eight bytes of value.
    ".pushsection .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad guest_entry",
    ".popsection",
    ".pushsection .text.boot, \"ax\"",
    ".code32",
    ".globl guest_entry",
    "guest_entry:",
    "cld",
    "mov esp, offset __stack_top",
    "mov ebp, ebx",
    // Top level and second level: one entry, then four, each a gigabyte.
    "mov eax, offset {pdpt} + 3",
    "mov dword ptr [{pml4}], eax",
    "mov eax, offset {pd} + 3",
    "mov ecx, offset {pdpt}",
    "mov edx, 4",
    "2:",
    "mov dword ptr [ecx], eax",
    "add eax, 0x1000",
    "add ecx, 8",
    "dec edx",
    "jnz 2b",
    // Third level: 2,048 leaves of 2 MiB, present, writable.
    "mov eax, 0x83",
    "mov ecx, offset {pd}",
    "mov edx, 2048",
    "2:",
    "mov dword ptr [ecx], eax",
    "add eax, 0x200000",
    "add ecx, 8",
    "dec edx",
    "jnz 2b",
    // The first 2 MiB by 4 KiB pages, without the stack's guard page.
    "mov eax, offset {pt} + 3",
    "mov dword ptr [{pd}], eax",
    "mov eax, 3",
    "mov ecx, offset {pt}",
    "mov edx, 512",
    "2:",
    "mov dword ptr [ecx], eax",
    "add eax, 0x1000",
    "add ecx, 8",
    "dec edx",
    "jnz 2b",
    "mov eax, offset __stack_guard",
    "shr eax, 9",
    "mov dword ptr [eax + {pt}], 0",
    // CR4: PAE, and SSE for guests that want it (OSFXSR, OSXMMEXCPT).
    "mov eax, 0x620",
    "mov cr4, eax",
    "mov eax, offset {pml4}",
    "mov cr3, eax",
    // EFER: long mode and no-execute.
    "mov ecx, 0xc0000080",
    "mov eax, 0x900",
    "xor edx, edx",
    "wrmsr",
    // CR0: paging, write protection, numeric errors, monitor coprocessor, protected mode.
    "mov eax, 0x80010033",
    "mov cr0, eax",
    "lgdt [{gdt_pointer}]",
    "push 0x08",
    "mov eax, offset guest_entry_64",
    "push eax",
    "retf",
    ".code64",
    "guest_entry_64:",
    "mov eax, 0x10",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "lea rsp, [rip + __stack_top]",
    "mov edi, ebp",
    "xor ebp, ebp",
    "call {start}",
    "ud2",
    ".popsection",
    pml4 = sym crate::paging::PML4,
    pdpt = sym crate::paging::PDPT,
    pd = sym crate::paging::PD,
    pt = sym crate::paging::PT,
    gdt_pointer = sym crate::segments::GDT_POINTER,
    start = sym start,
);

unsafe extern "C" {
    fn guest_main() -> u32;
}

/// The first Rust code; `start_info` is the guest-physical address that EBX held.
extern "C" fn start(start_info: u64) -> ! {
    crate::segments::load();
    crate::traps::load();
    crate::serial::init();
    // SAFETY: the address is the boot protocol's, and nothing has been allocated that could lie over it.
    unsafe { crate::boot::init(start_info) };
    // Before the heap exists: a loader's tables may lie in memory that is usable afterwards.
    crate::acpi::init();
    let map = crate::boot::memory_map();
    crate::paging::finish(crate::memory::top_below_4g(map));
    // SAFETY: called once; what the loader passed has been copied.
    unsafe { crate::heap::init(map) };
    crate::time::init();
    crate::apic::init();
    crate::pci::init();
    // SAFETY: `entry!` defines it with this signature; a guest without it doesn't link.
    let code = unsafe { guest_main() };
    crate::exit::exit(code)
}
