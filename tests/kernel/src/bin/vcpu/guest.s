# SPDX-License-Identifier: MIT OR Apache-2.0
# What the guests of the checks execute: 64-bit code at guest-physical 0x10000, stack below 0x20000, the first GiB identity-mapped.
#
# 0x8000 IDT: vector 0x41 -> guest_irq, 1 -> guest_db.   0x9000 interrupts seen, 0x9008 debug exceptions seen.
# 0x9100 scratch, 0x9400 a flag that the host sets, 0x9408 a counter of the guest, 0x9500 smallest of the timings.
# A routine ends with VMMCALL and RAX = DONE, or FAILED with RDI saying where.
.set DONE, 99
.set FAILED, 0xdead

.pushsection .rodata.guest, "a"
.balign 16
.global guest_begin
guest_begin:

guest_done:
    mov eax, DONE
    vmmcall
    jmp guest_done

guest_failed:
    mov eax, FAILED
    vmmcall
    jmp guest_failed

.balign 16
.global guest_irq
guest_irq:
    inc qword ptr [0x9000]
    iretq

.balign 16
.global guest_db
guest_db:
    inc qword ptr [0x9008]
    iretq

# CPUID whose answer is the VMM's.
.global guest_cpuid
guest_cpuid:
    mov eax, 0x11223344
    mov ebx, 0
    cpuid
    mov edi, 1
    cmp eax, 0x01010101
    jne guest_failed
    cmp ebx, 0x02020202
    jne guest_failed
    cmp ecx, 0x03030303
    jne guest_failed
    cmp edx, 0x04040404
    jne guest_failed
    jmp guest_done

# A byte out, a byte in, two ports.
.global guest_ports
guest_ports:
    mov edx, 0x3f8
    mov eax, 0x41
    out dx, al
    in al, dx
    mov edi, 1
    cmp al, 0x5a
    jne guest_failed
    in ax, 0x60
    mov edi, 2
    cmp ax, 0x1234
    jne guest_failed
    jmp guest_done

# Writes port 0x80, then 0x81.
.global guest_own_port
guest_own_port:
    mov eax, 7
    out 0x80, al
    out 0x81, al
    jmp guest_done

# Reads at 0x30000008, where nothing is mapped at first.
.global guest_memory
guest_memory:
    mov rbx, 0x30000008
    mov rcx, [rbx]
    mov rdx, 0x1122334455667788
    mov edi, 1
    cmp rcx, rdx
    jne guest_failed
    vmmcall
    mov rcx, [rbx]
    jmp guest_done

# Writes at 0x30000008.
.global guest_write
guest_write:
    mov rbx, 0x30000008
    mov [rbx], rbx
    jmp guest_done

# Reads at 0x30000008, then calls what is there.
.global guest_execute
guest_execute:
    mov rbx, 0x30000008
    mov rcx, [rbx]
    call rbx
    jmp guest_done

# Sleeps until an interrupt is given to it.
.global guest_halt
guest_halt:
    sti
    hlt
    cli
    mov edi, 1
    cmp qword ptr [0x9000], 1
    jne guest_failed
    jmp guest_done

# Asks for the interrupt window while it has interrupts off.
.global guest_window
guest_window:
    cli
    mov eax, 5
    vmmcall
    nop
    nop
    mov edi, 1
    cmp qword ptr [0x9000], 0
    jne guest_failed
    sti
    nop
    nop
    nop
    cli
    mov edi, 2
    cmp qword ptr [0x9000], 1
    jne guest_failed
    jmp guest_done

# Spins, every register filled, until the host sets the flag.
.global guest_spin
guest_spin:
    mov rax, 0x0101010101010101
    mov rbx, 0x0202020202020202
    mov rcx, 0x0303030303030303
    mov rdx, 0x0404040404040404
    mov rsi, 0x0505050505050505
    mov rdi, 0x0606060606060606
    mov rbp, 0x0707070707070707
    mov r8, 0x0808080808080808
    mov r9, 0x0909090909090909
    mov r10, 0x1010101010101010
    mov r11, 0x1111111111111111
    mov r12, 0x1212121212121212
    mov r13, 0x1313131313131313
    mov r14, 0x1414141414141414
    mov r15, 0x1515151515151515
2:  inc qword ptr [0x9408]
    cmp qword ptr [0x9400], 0
    je 2b
    add rax, rbx
    add rax, rcx
    add rax, rdx
    add rax, rsi
    add rax, rdi
    add rax, rbp
    add rax, r8
    add rax, r9
    add rax, r10
    add rax, r11
    add rax, r12
    add rax, r13
    add rax, r14
    add rax, r15
    mov rbx, 0x9c9c9c9c9c9c9c9c
    mov edi, 1
    cmp rax, rbx
    jne guest_failed
    jmp guest_done

# Takes AVX into use by itself, and finds its registers again later.
.global guest_avx
guest_avx:
    mov ecx, 0
    xgetbv
    mov edi, 1
    cmp eax, 1
    jne guest_failed
    mov eax, 7
    mov edx, 0
    xsetbv
    # Nobody else's registers are to be seen.
    vmovdqu [0x9100], ymm7
    mov edi, 2
    xor eax, eax
    or rax, [0x9100]
    or rax, [0x9108]
    or rax, [0x9110]
    or rax, [0x9118]
    jnz guest_failed
    vmovdqu ymm7, [rip + guest_pattern]
    mov eax, 8
    vmmcall
    mov ecx, 0
    xgetbv
    mov edi, 3
    cmp eax, 7
    jne guest_failed
    vmovdqu [0x9100], ymm7
    mov edi, 4
    mov rax, [0x9100]
    cmp rax, [rip + guest_pattern]
    jne guest_failed
    mov rax, [0x9118]
    cmp rax, [rip + guest_pattern + 24]
    jne guest_failed
    jmp guest_done

# The system-call registers and FS, GS, without an exit.
.global guest_msrs
guest_msrs:
    mov ecx, 0xc0000082
    mov eax, 0x12345678
    mov edx, 0
    wrmsr
    mov ecx, 0xc0000101
    mov eax, 0x9000
    wrmsr
    mov ecx, 0xc0000102
    mov eax, 0x77777000
    wrmsr
    mov eax, 9
    vmmcall
    mov ecx, 0xc0000082
    rdmsr
    mov edi, 1
    cmp eax, 0x12345678
    jne guest_failed
    mov ecx, 0xc0000102
    rdmsr
    mov edi, 2
    cmp eax, 0x77777000
    jne guest_failed
    mov qword ptr [0x9000], 55
    mov edi, 3
    cmp qword ptr gs:[0], 55
    jne guest_failed
    # EFER is the VMM's.
    mov ecx, 0xc0000080
    rdmsr
    mov edi, 4
    cmp eax, 0xd00
    jne guest_failed
    jmp guest_done

# Debug registers of its own.
.global guest_debug
guest_debug:
    mov rbx, dr0
    mov edi, 1
    test rbx, rbx
    jnz guest_failed
    mov rax, 0xabc000
    mov dr0, rax
    mov eax, 10
    vmmcall
    mov rbx, dr0
    mov edi, 2
    cmp rbx, 0xabc000
    jne guest_failed
    # Single step: #DB is the guest's though the kernel sees it first.
    pushfq
    or qword ptr [rsp], 0x100
    popfq
    nop
    nop
    pushfq
    and qword ptr [rsp], -0x101
    popfq
    mov edi, 3
    cmp qword ptr [0x9008], 2
    jb guest_failed
    jmp guest_done

# An interrupt by instruction, whose delivery finds its stack unmapped in the nested tables.
.global guest_soft_interrupt
guest_soft_interrupt:
    mov rbp, rsp
    mov rsp, 0x30000ff0
    int 0x41
    mov rsp, rbp
    mov edi, 1
    cmp qword ptr [0x9000], 1
    jne guest_failed
    jmp guest_done

# The same for one that the VMM injects.
.global guest_hard_interrupt
guest_hard_interrupt:
    mov rbp, rsp
    mov rsp, 0x30000ff0
    mov eax, 11
    vmmcall
    mov rsp, rbp
    mov edi, 1
    cmp qword ptr [0x9000], 1
    jne guest_failed
    jmp guest_done

# No IDT that would be one.
.global guest_triple_fault
guest_triple_fault:
    lidt [rip + guest_no_idt]
    ud2

# Ticks of the cheapest of 100 exits: CPUID, then OUT; less those of RDTSC itself.
.global guest_timing
guest_timing:
    mov r12d, 100
    mov r13d, 0x7fffffff
3:  rdtsc
    mov esi, eax
    mov eax, 0x11223344
    cpuid
    rdtsc
    sub eax, esi
    cmp eax, r13d
    cmovb r13d, eax
    dec r12d
    jnz 3b
    mov [0x9500], r13
    mov r12d, 100
    mov r13d, 0x7fffffff
    mov ebx, 0x3f8
4:  rdtsc
    mov esi, eax
    mov edx, ebx
    out dx, al
    rdtsc
    sub eax, esi
    cmp eax, r13d
    cmovb r13d, eax
    dec r12d
    jnz 4b
    mov [0x9508], r13
    jmp guest_done

.balign 32
guest_pattern:
    .quad 0x0101010101010101, 0x2323232323232323, 0x4545454545454545, 0x6767676767676767
guest_no_idt:
    .word 0
    .quad 0
.global guest_end
guest_end:
.popsection
