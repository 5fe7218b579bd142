// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended state of guests: x87, SSE, AVX and XCR0.
//!
//! A guest's registers stay in the processor over exits; they are saved when a thread that has registers of its own is about
//! to run (`virt::release_extended_state`), or another guest. So a VMM whose thread has none (`fpuDisabled`) answers exits
//! without a save. XCR0 is the host's whenever the host runs.
//!
//! Saving and loading go with every component that the processor has, whatever the guest's XCR0 says: a component that a
//! guest used and then switched off must not show up in the next guest that switches it on.

use core::arch::asm;

use svm::features::Leaves;

use super::object::SvmVcpu;
use crate::arch;
use crate::virt::Vcpu;

/// Bytes that the object has for the XSAVE image.
pub const AREA: usize = 4096;
/// x87, SSE and AVX: what is switched if everything does not fit.
const BASIC: u64 = 7;

/// What the processor has, and whose registers are in it.
pub struct Extended {
    /// All components that are switched; 0 without XSAVE.
    components: u64,
    /// XCR0 of threads.
    host: u64,
    /// What XCR0 holds now.
    current: u64,
    /// Physical address of the VCPU whose registers are in the processor, 0 for none.
    owner: u64,
}

impl Extended {
    /// Looks at the processor; CR4.OSXSAVE is set already where there is XSAVE.
    pub fn detect(leaves: &Leaves) -> Self {
        // Leaf 1, ECX bit 27: the kernel has set CR4.OSXSAVE.
        if leaves.basic.ecx & 1 << 27 == 0 {
            return Self { components: 0, host: 0, current: 0, owner: 0 };
        }
        let supported = u64::from(leaves.xsave.eax) | u64::from(leaves.xsave.edx) << 32;
        // ECX: bytes for all of them.
        let components = if leaves.xsave.ecx as usize <= AREA { supported } else { supported & BASIC };
        let host = xgetbv();
        Self { components, host, current: host, owner: 0 }
    }

    /// True if `vcpu`'s registers are in the processor.
    #[inline]
    pub fn is_owner(&self, vcpu: Vcpu) -> bool {
        self.owner == vcpu.paddr()
    }

    /// Puts `vcpu`'s registers into the processor.
    #[cold]
    pub fn acquire(&mut self, vcpu: Vcpu, state: &mut SvmVcpu) {
        arch::fpu::take_for_guest();
        self.release();
        if self.components != 0 {
            self.set(self.components);
            xrstor(&state.extended, self.components);
            // `before_entry` makes it the guest's.
            self.set(self.host);
        } else {
            // SAFETY: the image is one that FXSAVE or `reset` made, 16-byte aligned.
            unsafe {
                asm!("fxrstor64 [{}]", in(reg) state.extended.0.as_ptr(), options(nostack, preserves_flags))
            };
        }
        self.owner = vcpu.paddr();
    }

    /// Saves the owner's registers; then nobody's are in the processor.
    pub fn release(&mut self) {
        if self.owner == 0 {
            return;
        }
        // SAFETY: the owner is live: `forget` comes before its memory goes.
        let state = SvmVcpu::of(unsafe { Vcpu::at(self.owner) });
        self.owner = 0;
        arch::fpu::set_task_switched(false);
        if self.components != 0 {
            self.set(self.components);
            xsave(&mut state.extended, self.components);
            self.set(self.host);
        } else {
            // SAFETY: 512 bytes of the object's own page, 16-byte aligned.
            unsafe {
                asm!("fxsave64 [{}]", in(reg) state.extended.0.as_mut_ptr(), options(nostack, preserves_flags))
            };
        }
    }

    /// The VCPU at `paddr` goes, or starts anew: what is in the processor is nobody's.
    pub fn forget(&mut self, paddr: u64) {
        if self.owner == paddr {
            self.owner = 0;
        }
    }

    /// Makes XCR0 the guest's.
    #[inline]
    pub fn before_entry(&mut self, xcr0: u64) {
        if xcr0 != self.current && self.components != 0 {
            self.set(xcr0);
        }
    }

    /// Makes XCR0 the host's; returns the guest's. It is read back, since there are processors whose guests can change it
    /// without an exit.
    #[inline]
    pub fn after_exit(&mut self, xcr0: u64) -> u64 {
        if self.components == 0 {
            return xcr0;
        }
        let guest = xgetbv();
        if guest != self.host {
            self.current = guest;
            self.set(self.host);
        }
        guest
    }

    #[inline]
    fn set(&mut self, value: u64) {
        if value != self.current {
            // SAFETY: a value that the processor supports: its own mask, or one fixed by `svm::field` or read from XCR0.
            unsafe {
                asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32,
                    options(nomem, nostack, preserves_flags));
            }
            self.current = value;
        }
    }
}

/// The image of a guest's registers, as XSAVE (standard form) or FXSAVE writes it.
#[repr(C, align(64))]
pub struct Image([u8; AREA]);

impl Image {
    /// What reset leaves: the XSAVE header says "initial" for every component; MXCSR and the x87 control word are read in
    /// any case.
    pub fn reset(&mut self) {
        self.0[..832].fill(0);
        self.0[0..2].copy_from_slice(&0x037fu16.to_le_bytes());
        self.0[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    }
}

#[inline]
fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: CR4.OSXSAVE is set in the host, as `detect` found.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(low) | u64::from(high) << 32
}

fn xsave(image: &mut Image, mask: u64) {
    // SAFETY: the image is 64-byte aligned and, as `detect` made sure, large enough for the components in `mask`.
    unsafe {
        asm!("xsave64 [{}]", in(reg) image.0.as_mut_ptr(), in("eax") mask as u32, in("edx") (mask >> 32) as u32,
            options(nostack, preserves_flags));
    }
}

fn xrstor(image: &Image, mask: u64) {
    // SAFETY: the image is one that XSAVE or `Image::reset` made, 64-byte aligned.
    unsafe {
        asm!("xrstor64 [{}]", in(reg) image.0.as_ptr(), in("eax") mask as u32, in("edx") (mask >> 32) as u32,
            options(nostack, preserves_flags));
    }
}
