// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first instructions: from a loader's 32-bit protected mode to Rust.
//!
//! PVH (Xen's boot ABI for x86/HVM guests, which QEMU's `-kernel` speaks): EBX points at `hvm_start_info`. Multiboot2: EAX is
//! its magic, EBX points at the information. The first tables map the low 4 GiB at 0, in the window, and the image at the top.

use core::arch::global_asm;

use crate::arch::tables::stack_top;

global_asm!(
    r#"
.section .boot.header, "awx"
.p2align 3
multiboot2_header:
    .long 0xe85250d6
    .long 0
    .long multiboot2_end - multiboot2_header
    .long 0x100000000 - (0xe85250d6 + (multiboot2_end - multiboot2_header))
    // Entry address.
    .p2align 3
    .short 3, 0
    .long 12
    .long boot_entry_multiboot2
    // Modules page-aligned.
    .p2align 3
    .short 6, 0
    .long 8
    // End.
    .p2align 3
    .short 0, 0
    .long 8
multiboot2_end:

.section .note.pvh, "a", @note
.p2align 2
    .long 4, 4, 18
    .asciz "Xen"
    .long boot_entry_pvh

.section .boot, "awx"
.code32
.global boot_entry_multiboot2
boot_entry_multiboot2:
    mov edi, eax
    jmp boot_common
.global boot_entry_pvh
boot_entry_pvh:
    xor edi, edi
boot_common:
    cli
    cld
    mov esi, ebx
    mov esp, offset boot_stack_end
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb boot_no_long_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc boot_no_long_mode
    // CPUID took EBX; ESI and EDI are as they were.
    xor ecx, ecx
2:  mov eax, ecx
    shl eax, 21
    or eax, 0x83
    mov [boot_pds + ecx * 8], eax
    mov dword ptr [boot_pds + ecx * 8 + 4], 0
    inc ecx
    cmp ecx, 2048
    jb 2b
    mov eax, offset boot_pds + 3
    mov [boot_pdpt + 510 * 8], eax
    xor ecx, ecx
3:  mov [boot_pdpt + ecx * 8], eax
    add eax, 4096
    inc ecx
    cmp ecx, 4
    jb 3b
    mov eax, offset boot_pdpt + 3
    mov [boot_pml4], eax
    mov [boot_pml4 + 511 * 8], eax
    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    or eax, 0x80000001
    mov cr0, eax
    lgdt [boot_gdt_pointer]
    push 8
    mov eax, offset boot_long_mode
    push eax
    retf
boot_no_long_mode:
    mov esi, offset boot_no_long_mode_text
    mov edx, 0x3f8
4:  lodsb
    test al, al
    jz 5f
    out dx, al
    jmp 4b
5:  hlt
    jmp 5b
boot_no_long_mode_text:
    .asciz "[kernel] this processor has no 64-bit mode\r\n"
.code64
boot_long_mode:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    movabs rax, offset {start}
    movabs rcx, offset {stack_top}
    mov ebx, esi
    mov r12d, edi
    mov rsp, offset boot_stack_end
    call rcx
    mov rsp, rax
    movabs rax, offset {start}
    mov edi, r12d
    mov esi, ebx
    call rax
    ud2
.p2align 3
.global boot_gdt
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
boot_gdt_pointer:
    .short 23
    .long boot_gdt
.p2align 12
.global boot_pml4
boot_pml4: .fill 4096
boot_pdpt: .fill 4096
boot_pds: .fill 16384
.fill 4096
boot_stack_end:
.text
"#,
    start = sym super::start,
    stack_top = sym first_stack,
);

/// Top of the kernel's stack, for the entry code.
extern "C" fn first_stack() -> u64 {
    stack_top()
}
