// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread's user registers, in the order in which kernel entry pushes them.

use core::cell::Cell;

/// [`Context::kind`]: the thread entered by SYSCALL and `rip` is behind that instruction. RCX and R11 are `rip` and `rflags`: whoever changes
/// those two makes it [`KIND_FULL`]. The return is by SYSRET.
pub const KIND_SYSCALL: u64 = 0x100;
/// [`Context::kind`]: every register counts; return by IRET.
pub const KIND_FULL: u64 = 0;
/// Code segment of user level.
pub const USER_CS: u64 = 0x2b;
/// Stack segment of user level.
pub const USER_SS: u64 = 0x33;
/// RFLAGS of a new thread: interrupts on.
pub const RFLAGS_INITIAL: u64 = 0x202;
/// RFLAGS bits that user level decides: CF PF AF ZF SF TF DF OF AC ID.
const RFLAGS_USER: u64 = 0x0024_0dd5;

/// User registers.
#[repr(C)]
#[allow(missing_docs)]
pub struct Context {
    pub r15: Cell<u64>,
    pub r14: Cell<u64>,
    pub r13: Cell<u64>,
    pub r12: Cell<u64>,
    pub r11: Cell<u64>,
    pub r10: Cell<u64>,
    pub r9: Cell<u64>,
    pub r8: Cell<u64>,
    pub rdi: Cell<u64>,
    pub rsi: Cell<u64>,
    pub rbp: Cell<u64>,
    pub rbx: Cell<u64>,
    pub rdx: Cell<u64>,
    pub rcx: Cell<u64>,
    pub rax: Cell<u64>,
    /// Interrupt vector of the last entry, or [`KIND_SYSCALL`].
    pub kind: Cell<u64>,
    pub error: Cell<u64>,
    pub rip: Cell<u64>,
    pub cs: Cell<u64>,
    pub rflags: Cell<u64>,
    pub rsp: Cell<u64>,
    pub ss: Cell<u64>,
}

// The processor pushes to a 16-byte aligned stack.
const _: () = assert!(core::mem::size_of::<Context>().is_multiple_of(16));

/// A register of a context, by its place.
#[derive(Clone, Copy)]
pub struct Register(usize);

macro_rules! registers {
    ($($name:ident),*) => { [$(Register(core::mem::offset_of!(Context, $name) / 8)),*] };
}

/// Message registers 0..=3.
pub const MESSAGE: [Register; 4] = registers![r10, r8, r9, r15];

/// The words of an UnknownSyscall message, and of its reply.
pub const SYSCALL_MESSAGE: [Register; 18] =
    registers![rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rsp, rflags];

/// The words of the reply to a UserException.
pub const EXCEPTION_REPLY: [Register; 3] = registers![rip, rsp, rflags];

/// The words of the reply to a timeout (without the TLS base), and of `UserContext` (without FS and GS base).
pub const TIMEOUT_REPLY: [Register; 18] =
    registers![rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15];

/// Sign-extends bit 47, so that a wrong address faults in user mode and not on the way there.
pub const fn canonical(address: u64) -> u64 {
    (((address << 16) as i64) >> 16) as u64
}

impl Context {
    /// The register `r`.
    #[inline(always)]
    pub fn at(&self, r: Register) -> &Cell<u64> {
        // SAFETY: a context is an array of words, and a `Register` is the place of one of them.
        unsafe { &*core::ptr::from_ref(self).cast::<Cell<u64>>().add(r.0) }
    }

    /// The state of a new thread.
    pub fn init(&self) {
        self.cs.set(USER_CS);
        self.ss.set(USER_SS);
        self.rflags.set(RFLAGS_INITIAL);
    }

    /// Makes what user level wrote safe to return to: canonical RIP, only user's flags; the next return restores every register.
    pub fn sanitize(&self) {
        self.rip.set(canonical(self.rip.get()));
        self.rflags.set(self.rflags.get() & RFLAGS_USER | RFLAGS_INITIAL);
        self.cs.set(USER_CS);
        self.ss.set(USER_SS);
        self.kind.set(KIND_FULL);
    }

    /// Makes the thread execute its system call again when it next runs.
    pub fn rewind(&self) {
        if self.kind.get() == KIND_SYSCALL {
            self.rip.set(self.rip.get().wrapping_sub(2));
            self.kind.set(KIND_FULL);
        }
    }

    /// Address to which a thread that waits in a system call returns when that is cancelled.
    pub fn restart_rip(&self) -> u64 {
        if self.kind.get() == KIND_SYSCALL { self.rip.get().wrapping_sub(2) } else { self.rip.get() }
    }
}

/// Segment bases that user level sets.
#[repr(C)]
#[allow(missing_docs)]
pub struct Bases {
    pub fs: Cell<u64>,
    pub gs: Cell<u64>,
}

/// x87 and SSE state as XSAVE (standard format, XCR0 = 3) or FXSAVE writes it.
#[repr(C, align(64))]
pub struct FpuState {
    bytes: [Cell<u8>; 576],
}

impl Default for FpuState {
    fn default() -> Self {
        Self::new()
    }
}

impl FpuState {
    /// An area of zeros.
    pub const fn new() -> Self {
        Self { bytes: [const { Cell::new(0) }; 576] }
    }
    /// The state after FNINIT with default MXCSR.
    pub fn init(&self) {
        // FCW at 0, MXCSR at 24 (Intel SDM volume 1, section 10.5.1).
        self.bytes[0].set(0x7f);
        self.bytes[1].set(0x03);
        self.bytes[24].set(0x80);
        self.bytes[25].set(0x1f);
        // XSTATE_BV: x87 and SSE are present.
        self.bytes[512].set(3);
    }
    /// Address of the area.
    pub fn as_ptr(&self) -> *mut u8 {
        self.bytes.as_ptr() as *mut u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_addresses_become_kernel_addresses_not_non_canonical_ones() {
        assert_eq!(canonical(0x8000_0000_0000), 0xffff_8000_0000_0000);
        assert_eq!(canonical(0x1234_0000_0040_0000), 0x40_0000);
    }
}
