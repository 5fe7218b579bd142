// SPDX-License-Identifier: MIT OR Apache-2.0
//! From PVH's 32-bit mode to Rust, and back to the kernel's entry in the same mode (Xen's boot ABI for x86/HVM guests).

use core::arch::{asm, global_asm};

global_asm!(
    r#"
.section .note.pvh, "a", @note
.p2align 2
    .long 4, 4, 18
    .asciz "Xen"
    .long preloader_entry

.section .text.entry, "ax"
.code32
.global preloader_entry
preloader_entry:
    cli
    cld
    mov esp, offset preloader_stack_end
    // The low 4 GiB, mapped where they are.
    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 21
    or eax, 0x83
    mov [preloader_pds + ecx * 8], eax
    mov dword ptr [preloader_pds + ecx * 8 + 4], 0
    inc ecx
    cmp ecx, 2048
    jb 2b
    mov eax, offset preloader_pds + 3
    xor ecx, ecx
3:  mov [preloader_pdpt + ecx * 8], eax
    add eax, 4096
    inc ecx
    cmp ecx, 4
    jb 3b
    mov eax, offset preloader_pdpt + 3
    mov [preloader_pml4], eax
    mov eax, offset preloader_pml4
    mov cr3, eax
    // SSE as well: the compiler may use it.
    mov eax, 0x620
    mov cr4, eax
    mov ecx, 0xc0000080
    xor edx, edx
    mov eax, 0x100
    wrmsr
    mov eax, 0x80000011
    mov cr0, eax
    lgdt [preloader_gdt_pointer]
    push 8
    mov eax, offset preloader_long_mode
    push eax
    retf
.code64
preloader_long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov edi, ebx
    call {run}
    // The entry in the upper half, the start information in the lower.
    mov ebx, eax
    shr rax, 32
    mov esi, eax
    push 0x18
    mov eax, offset preloader_leave
    push rax
    retfq
.code32
preloader_leave:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, 0x11
    mov cr0, eax
    mov ecx, 0xc0000080
    xor eax, eax
    xor edx, edx
    wrmsr
    mov cr4, eax
    jmp esi
.code64

.section .rodata.entry, "a"
.p2align 3
preloader_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cf9b000000ffff
preloader_gdt_pointer:
    .short 31
    .long preloader_gdt

.section .bss.entry, "aw", @nobits
.p2align 12
preloader_pml4: .skip 4096
preloader_pdpt: .skip 4096
preloader_pds: .skip 16384
.skip 16384
preloader_stack_end:
.text
"#,
    run = sym run,
);

/// The first Rust code; `info` is what the loader left in EBX.
extern "C" fn run(info: u32) -> u64 {
    let (entry, info) = crate::prepare(info.into());
    u64::from(entry) << 32 | u64::from(info)
}

/// Passes time: `turns` times two instructions. Where instructions are counted, that is the time.
pub fn wait(turns: u64) {
    if turns != 0 {
        // SAFETY: counts a register down.
        unsafe { asm!("2: dec {0}", "jnz 2b", inout(reg) turns => _, options(nomem, nostack)) }
    }
}

/// Stands still.
pub fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off.
        unsafe { asm!("hlt", options(nomem, nostack)) }
    }
}
