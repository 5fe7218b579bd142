// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the two ways into the kernel and out of it (`entry`, `gate`) have in common, as text for the assembler.

/// The general registers out of a `Context`, in its order; RSI goes to `$rsi`.
macro_rules! pop_registers {
    () => {
        pop_registers!("rsi")
    };
    ($rsi:literal) => {
        concat!(
            r#"
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop "#,
            $rsi,
            r#"
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
"#
        )
    };
}
pub(super) use pop_registers;

/// The segment bases are stored to `$old`, and those of the thread whose Context is at RDI are loaded: FS, then, behind SWAPGS, GS. Changes RAX.
macro_rules! exchange_bases {
    ($old:literal) => {
        concat!(
            "
    rdfsbase rax
    mov [",
            $old,
            " + {fs}], rax
    mov rax, [rdi + {bases} + {fs}]
    wrfsbase rax
    swapgs
    rdgsbase rax
    mov [",
            $old,
            " + {gs}], rax
    mov rax, [rdi + {bases} + {gs}]
    wrgsbase rax
"
        )
    };
}
pub(super) use exchange_bases;

/// A stub of 16 bytes for each vector: it pushes 0 where the processor pushes no error code, then the vector, and goes to `$target`.
macro_rules! stubs {
    ($target:literal) => {
        concat!(
            r#"
.set vector, 0
.rept 256
    .p2align 4
    .if vector != 8 && vector != 10 && vector != 11 && vector != 12 && vector != 13 && vector != 14 && vector != 17 && vector != 21 && vector != 29 && vector != 30
    push 0
    .endif
    push vector
    jmp "#,
            $target,
            r#"
    .set vector, vector + 1
.endr
"#
        )
    };
}
pub(super) use stubs;
