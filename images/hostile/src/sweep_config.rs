// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space: every function of bus 0 read, every register of the functions there written with all sorts of values. What
//! passes through must stay where the system put it, and the device's address must not move.

use core::arch::asm;
use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::{self, Function};
use guest_runtime::{acpi, cpuid, println};

const COMMAND: usize = 0x04;
const BARS: core::ops::Range<usize> = 0x10..0x28;

pub fn run(checks: &mut Checks) {
    let Some(ecam) = acpi::ecam() else {
        println!("hostile: there is no configuration space");
        checks.report("config-none", Ok::<(), &str>(()));
        return;
    };
    let mut present = 0;
    for slot in 0..256u64 {
        // SAFETY: configuration space of bus 0; its registers don't lead to this guest's memory unless told to.
        let config = unsafe { Mmio::new(ecam.base + (slot << 12), 0x1000) };
        let there = config.read16(0) != 0xffff;
        present += u32::from(there);
        let (mut offset, mut ones) = (0, true);
        while offset < 0x1000 {
            ones &= config.read32(offset) == u32::MAX;
            // Functions that are there in whole, absent ones here and there.
            offset += if there { 4 } else { 0x3fc };
        }
        if !there && !ones {
            checks.report("config-absent-reads-ones", Err("a function without an ID answers"));
        }
    }
    println!("hostile: {present} functions");
    checks.report("config-reads-survived", Ok::<(), &str>(()));
    if cpuid::postern().is_none() {
        return;
    }
    checks.report("config-unaligned", unaligned(ecam.base));
    pci::for_each(|function| writes(&function, checks));
}

/// Accesses that no device would see.
fn unaligned(base: u64) -> Result<(), &'static str> {
    let (word, long): (u32, u64);
    // SAFETY: reads of configuration space, across registers on purpose.
    unsafe {
        asm!("mov {0:e}, dword ptr [{1}]", out(reg) word, in(reg) base + 1, options(nostack, readonly));
        asm!("mov {0}, qword ptr [{1}]", out(reg) long, in(reg) base, options(nostack, readonly));
    }
    if word == u32::MAX && long == u64::MAX { Ok(()) } else { Err("an access across registers was answered") }
}

fn bars(config: &Mmio) -> [u32; 6] {
    let mut values = [0; 6];
    for (value, offset) in values.iter_mut().zip(BARS.step_by(4)) {
        *value = config.read32(offset);
    }
    values
}

/// Writes every register of a function but the command register's, puts back what was there, and looks what became of it.
fn writes(function: &Function, checks: &mut Checks) {
    let config = function.config();
    println!("hostile: writing to {}", function.address());
    let (ids, assigned) = (config.read32(0), bars(config));
    // Neither decoding nor DMA while the registers are in disorder.
    config.write16(COMMAND, 0);
    for offset in (0..0x1000).step_by(4).filter(|offset| *offset != COMMAND) {
        let before = config.read32(offset);
        for value in [0, u32::MAX, 0x5555_5555, 0xaaaa_aaaa, 0xfee0_0000, before] {
            config.write32(offset, value);
        }
        config.write8(offset + 3, 0xff);
        config.write16(offset + 2, (before >> 16) as u16);
    }
    checks.equal("config-ids-stay", config.read32(0), ids);
    for (index, offset) in BARS.step_by(4).enumerate() {
        // Another address, then the right one.
        config.write32(offset, assigned[index] ^ 0x0100_0000);
        config.write32(offset, assigned[index]);
    }
    checks.equal("config-bars-come-back", bars(config), assigned);
    const MEMORY: u16 = 1 << 1;
    config.write16(COMMAND, MEMORY);
    for index in 0..6 {
        if let Some(bar) = function.bar(index) {
            // It is still mapped, and still the device's.
            bar.registers().read32(0);
        }
    }
    checks.report("config-bars-answer", Ok::<(), &str>(()));
}
