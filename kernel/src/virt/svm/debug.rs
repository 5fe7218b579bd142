// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debug registers DR0–DR3, which the processor does not switch (it does switch DR6 and DR7).
//!
//! One VCPU owns them. A guest that does not has its accesses to them intercepted; its first access makes it the owner,
//! without its VMM. So guests that never debug pay nothing, and none sees another's breakpoints. Threads can't reach them:
//! the host runs with DR7 off, which #VMEXIT sees to.

use core::arch::asm;

use svm::intercept;

use super::object::SvmVcpu;
use crate::virt::Vcpu;

/// Enable bits of DR7: with one of them set, the registers matter without an access.
pub const DR7_ENABLES: u64 = 0xff;

/// Who owns the registers: physical address of a VCPU, 0 for nobody.
#[derive(Default)]
pub struct Owner(u64);

impl Owner {
    /// Makes `vcpu`, whose state is `state`, the owner.
    #[cold]
    pub fn acquire(&mut self, vcpu: Vcpu, state: &mut SvmVcpu) {
        if self.0 == vcpu.paddr() {
            return;
        }
        self.release();
        self.0 = vcpu.paddr();
        write(&state.debug);
        state.vmcb.control.intercept_dr = 0;
    }

    /// True if the state's DR7 wants the registers, and it does not own them.
    #[inline]
    pub fn is_wanted(state: &SvmVcpu) -> bool {
        state.vmcb.save.dr7 & DR7_ENABLES != 0 && state.vmcb.control.intercept_dr != 0
    }

    /// Saves the owner's registers; then nobody owns them.
    pub fn release(&mut self) {
        if self.0 != 0 {
            // SAFETY: the owner is live: `forget` comes before its memory goes.
            let previous = SvmVcpu::of(unsafe { Vcpu::at(self.0) });
            previous.debug = read();
            previous.vmcb.control.intercept_dr = intercept::DR;
            self.0 = 0;
        }
    }

    /// The VCPU at `paddr` goes.
    pub fn forget(&mut self, paddr: u64) {
        if self.0 == paddr {
            self.0 = 0;
        }
    }
}

fn read() -> [u64; 4] {
    let mut values = [0; 4];
    // SAFETY: reading DR0–DR3 at privilege level 0 has no effect; DR7.GD is never set in the host.
    unsafe {
        asm!("mov {}, dr0", out(reg) values[0], options(nomem, nostack, preserves_flags));
        asm!("mov {}, dr1", out(reg) values[1], options(nomem, nostack, preserves_flags));
        asm!("mov {}, dr2", out(reg) values[2], options(nomem, nostack, preserves_flags));
        asm!("mov {}, dr3", out(reg) values[3], options(nomem, nostack, preserves_flags));
    }
    values
}

fn write(values: &[u64; 4]) {
    // SAFETY: DR7 has no breakpoint enabled in the host, so any address is harmless.
    unsafe {
        asm!("mov dr0, {}", in(reg) values[0], options(nomem, nostack, preserves_flags));
        asm!("mov dr1, {}", in(reg) values[1], options(nomem, nostack, preserves_flags));
        asm!("mov dr2, {}", in(reg) values[2], options(nomem, nostack, preserves_flags));
        asm!("mov dr3, {}", in(reg) values[3], options(nomem, nostack, preserves_flags));
    }
}
