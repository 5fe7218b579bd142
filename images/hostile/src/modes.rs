// SPDX-License-Identifier: MIT OR Apache-2.0
//! Leaves long mode, with EFER.LME on, and turns PAE off: a state in which the processor may be and that nobody needs. Exits from there.
//! QEMU up to at least 7.2 loses the host's CR0 at such an exit, and with it the machine, so that Postern lets no guest get there.

use core::arch::global_asm;
use guest_runtime::checks::Checks;
use guest_runtime::{acpi, cpuid};

const LME: u32 = 1 << 8;
const LMA: u32 = 1 << 10;
const PAE: u32 = 1 << 5;

global_asm!(
    ".pushsection .text.modes, \"ax\"",
    ".globl hostile_leave_long_mode",
    // RDI: five words below 4 GiB, the last the address of a trapped register.
    "hostile_leave_long_mode:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "pushfq",
    "cli",
    "sub rsp, 16",
    "sgdt [rsp]",
    "mov ebp, edi",
    "lgdt [rip + hostile_gdt_pointer]",
    "push 0x18",
    "lea rax, [rip + hostile_32]",
    "push rax",
    "retfq",
    ".code32",
    "hostile_32:",
    "mov eax, cr0",
    "and eax, 0x7fffffff",
    "mov cr0, eax",
    "mov eax, cr4",
    "and eax, 0xffffffdf",
    "mov cr4, eax",
    // An exit.
    "xor eax, eax",
    "cpuid",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "mov dword ptr [ebp], eax",
    "mov ebx, cr4",
    "mov dword ptr [ebp + 4], ebx",
    // A trapped register, by 32-bit code without paging: the I/O APIC's index.
    "mov esi, dword ptr [ebp + 16]",
    "mov dword ptr [esi], 0x21",
    "mov edx, dword ptr [esi]",
    "mov dword ptr [ebp + 16], edx",
    "mov eax, dword ptr [ebp]",
    "xor edx, edx",
    // Long mode off, and on again while PAE is off.
    "and eax, 0xfffffeff",
    "wrmsr",
    "rdmsr",
    "mov dword ptr [ebp + 8], eax",
    "or eax, 0x100",
    "wrmsr",
    "xor eax, eax",
    "cpuid",
    "mov eax, cr4",
    "or eax, 0x20",
    "mov cr4, eax",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "mov dword ptr [ebp + 12], eax",
    "mov eax, cr0",
    "or eax, 0x80000000",
    "mov cr0, eax",
    "push 0x08",
    "mov eax, offset hostile_64",
    "push eax",
    "retf",
    ".code64",
    "hostile_64:",
    "lgdt [rsp]",
    "add rsp, 16",
    "popfq",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    ".balign 8",
    "hostile_gdt:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff",
    "hostile_gdt_pointer:",
    ".word 31",
    ".quad hostile_gdt",
    ".popsection",
);

unsafe extern "C" {
    fn hostile_leave_long_mode(words: *mut [u32; 5]);
}

pub fn run(checks: &mut Checks) {
    let io_apic = acpi::io_apic().map_or(0, |io_apic| io_apic.base as u32);
    let mut words = [0, 0, 0, 0, io_apic];
    // SAFETY: all of this guest's memory is mapped where it is and below 4 GiB; the routine keeps the registers that a function must keep,
    // and comes back in the mode and with the descriptor table that it found.
    unsafe { hostile_leave_long_mode(&raw mut words) };
    let [outside, cr4, off, on, trapped] = words;
    checks.equal("modes-efer-outside-of-long-mode", outside & (LME | LMA), LME);
    checks.equal("modes-without-pae", cr4 & PAE, 0);
    checks.equal("modes-long-mode-off", off & (LME | LMA), 0);
    checks.equal("modes-long-mode-on-again", on & (LME | LMA), LME);
    checks.equal("modes-trapped-register", trapped & 0xff, 0x21);
    checks.equal("modes-back-in-long-mode", cpuid::postern().is_some(), true);
}
