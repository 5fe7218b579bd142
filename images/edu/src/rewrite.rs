// SPDX-License-Identifier: MIT OR Apache-2.0
//! Has the device rewrite an instruction that accesses trapped registers, at a known instruction of its way to the VMM: what the processor
//! found there isn't what the VMM will decode. Either of the two may be done, nothing else, and nobody but this guest may notice.
//! Needs a clock that counts instructions (`-icount shift=0`).

#![allow(unsafe_code)]

use crate::device::{Edu, Transfer};
use alloc::{format, string::String};
use core::arch::asm;
use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::{acpi, cpu, dma::Buffer, println, time};

const MILLISECOND: u64 = 1_000_000;
/// Transfers of a sweep.
const STEPS: u64 = 48;
/// Ticks before the call and after its end that belong to the sweep.
const EDGE: u64 = 100;
/// What the trapped register, the I/O APIC's index, holds before; what the old and the new instruction store there.
const BEFORE: u32 = 0x05;
const OLD_VALUE: u32 = 0x21;
const NEW_VALUE: u32 = 0x32;
/// `mov [rdi], esi; ret`.
const OLD: [u8; 8] = [0x89, 0x37, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3];
/// `mov [rdi], ecx`, `mov ecx, [rdi]`, and a NOP of that length, which is no access at all.
const STORE: [u8; 8] = [0x89, 0x0f, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3];
const LOAD: [u8; 8] = [0x8b, 0x0f, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3];
const NOTHING: [u8; 8] = [0x66, 0x90, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3];

struct Scene<'a> {
    edu: &'a Edu,
    code: Buffer,
    source: Buffer,
    register: Mmio,
    /// Transfers end at this tick of a millisecond.
    phase: u64,
}

pub fn run(edu: &Edu, checks: &mut Checks) {
    let Some(acpi::IoApic { base, .. }) = acpi::io_apic() else {
        checks.report("rewrite", Err("there is no I/O APIC, whose registers trap"));
        return;
    };
    // SAFETY: registers that reach no memory.
    let register = unsafe { Mmio::new(base, 4) };
    let mut scene = Scene { edu, code: Buffer::new(4096), source: Buffer::new(64), register, phase: 0 };
    let into = Transfer::FromRam(scene.source.address());
    scene.phase = (0..8).map(|_| scene.transfer(into) % MILLISECOND).min().unwrap_or(0);
    let length = scene.length();
    println!("edu: the access takes {length} ticks");
    checks.report("rewritten-to-another-store", scene.sweep(STORE, length));
    checks.report("rewritten-to-a-load", scene.sweep(LOAD, length));
    println!("edu: rewriting to what is no access");
    // On its way to the VMM.
    scene.shoot(NOTHING, EDGE + 100);
    println!("edu: STILL HERE");
}

impl Scene<'_> {
    /// Calls the code; what the new instruction's register holds then.
    fn call(&self) -> u32 {
        let held: u32;
        // SAFETY: the page holds one of the instructions above and a return; they reach the trapped register only.
        unsafe {
            asm!("call {0}", in(reg) self.code.address(), in("rdi") self.register.base(), in("esi") OLD_VALUE,
                inout("ecx") NEW_VALUE => held);
        }
        held
    }

    /// A transfer of the source, slept through but for its last millisecond or two; when it was over.
    fn transfer(&self, transfer: Transfer) -> u64 {
        self.edu.start_dma(transfer, 8, false);
        time::sleep_until(time::now() + 98 * MILLISECOND);
        while self.edu.dma_is_busy() {}
        cpu::rdtsc()
    }

    fn length(&mut self) -> u64 {
        self.code.write(0, &OLD);
        self.call();
        let start = cpu::rdtsc();
        self.call();
        cpu::rdtsc() - start
    }

    /// Calls the old instruction, which becomes the new one `after` ticks behind the call (less [`EDGE`]); what was done and what the
    /// new one's register holds.
    fn shoot(&mut self, new: [u8; 8], after: u64) -> (u32, u32) {
        self.source.write(0, &new);
        self.transfer(Transfer::FromRam(self.source.address()));
        self.code.write(0, &OLD);
        self.register.write32(0, BEFORE);
        // A transfer is over 100 ms after the millisecond in which it is begun: not at its edge.
        while !(100_000..500_000).contains(&self.since_phase()) {}
        let due = cpu::rdtsc() - self.since_phase() + 100 * MILLISECOND;
        self.edu.start_dma(Transfer::ToRam(self.code.address()), 8, false);
        time::sleep_until(time::now() + (due - 2 * MILLISECOND).saturating_sub(cpu::rdtsc()));
        while cpu::rdtsc() < due + EDGE - after {}
        let held = self.call();
        let done = self.register.read32(0);
        while self.edu.dma_is_busy() {}
        (done, held)
    }

    fn since_phase(&self) -> u64 {
        (cpu::rdtsc() + MILLISECOND - self.phase) % MILLISECOND
    }

    fn sweep(&mut self, new: [u8; 8], length: u64) -> Result<(), String> {
        let is_load = new == LOAD;
        let (mut old, mut fresh, mut decoded) = (0, 0, 0);
        for step in 0..STEPS {
            let after = step * (length + 2 * EDGE) / STEPS;
            match (self.shoot(new, after), is_load) {
                ((OLD_VALUE, NEW_VALUE), _) => old += 1,
                ((NEW_VALUE, NEW_VALUE), false) | ((BEFORE, BEFORE), true) => {
                    fresh += 1;
                    // The processor had the old one.
                    decoded += u64::from(after > 2 * EDGE);
                }
                (other, _) => return Err(format!("at {after}: {other:x?}")),
            }
            let mut now = [0; 8];
            self.code.read(0, &mut now);
            if now != new {
                return Err(format!("at {after}: the code is {now:x?}"));
            }
            // From here on it is the new one, whatever the VMM remembers.
            self.register.write32(0, BEFORE);
            let wanted = if is_load { (BEFORE, BEFORE) } else { (NEW_VALUE, NEW_VALUE) };
            let held = self.call();
            let found = (self.register.read32(0), held);
            if found != wanted {
                return Err(format!("at {after}, afterwards: {found:x?}"));
            }
        }
        println!("edu: {old} times the old instruction, {fresh} times the new one");
        if old == 0 || decoded == 0 { Err("the sweep missed the access".into()) } else { Ok(()) }
    }
}
