// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended state: XCR0 and the vector registers must be the guest's own, whatever it does with them and whoever else runs.
//!
//! Compiled Rust uses no vector register here (the target has none), so what is in them stays until somebody else changes it.

use core::arch::asm;
use guest_runtime::checks::Checks;
use guest_runtime::{cpu, cpuid, println, time};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
/// x87, SSE and AVX state in XCR0.
const AVX_STATE: u64 = 0b111;

/// The sixteen registers, 32 bytes each.
type Registers = [[u64; 4]; 16];

/// Lets the hypervisor do everything that could disturb: answer exits, put the guest to sleep, run others in its stead.
fn provoke(round: u64) {
    match round % 4 {
        0 => {
            cpu::cpuid(0, 0);
        }
        1 => {
            cpu::in8(0x80);
        }
        2 => time::sleep_until(time::now() + MILLISECOND),
        _ => {
            // Longer than a time slice: others run.
            let end = time::now() + 12 * MILLISECOND;
            while time::now() < end {}
        }
    }
}

/// Sets XCR0 to all that is allowed and much that isn't, and looks whether it stays.
pub fn change_xcr0(seconds: u64, checks: &mut Checks) {
    if !cpuid::has_xsave() {
        println!("hostile: CPUID shows no XSAVE");
        checks.report("xsetbv-hidden", Ok::<(), &str>(()));
        return;
    }
    cpu::enable_xsave();
    let leaf = cpu::cpuid(0xd, 0);
    let supported = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
    println!("hostile: XCR0 {:#x}, supported {supported:#x}", cpu::xcr0());
    for refused in [0, 2, 1 << 63, supported | 1 << 62] {
        checks.equal("xcr0-refuses", cpu::try_set_xcr0(refused).is_err(), true);
    }
    let end = time::now() + seconds * SECOND;
    let (mut round, mut wrong) = (0, 0);
    while time::now() < end {
        for value in [1, 3, AVX_STATE] {
            if value & supported != value || cpu::try_set_xcr0(value).is_err() {
                continue;
            }
            provoke(round);
            round += 1;
            if cpu::xcr0() != value {
                wrong += 1;
            }
        }
    }
    // The least that can be set: if it leaked, the others' vector registers would be gone from now on.
    let least = cpu::try_set_xcr0(1).is_ok();
    println!("hostile: XCR0 left at {:#x} after {round} rounds", cpu::xcr0());
    checks.equal("xcr0-least", least, true);
    checks.equal("xcr0-stays", wrong, 0);
    time::sleep_until(time::now() + SECOND / 10);
    checks.equal("xcr0-stays-asleep", cpu::xcr0(), 1);
}

/// Fills all registers with values that nobody else has (`seed` differs between guests) and watches over them.
pub fn keep_registers(seed: u64, seconds: u64, checks: &mut Checks) {
    let wide = cpuid::has_xsave() && cpuid::has_avx();
    if wide {
        cpu::enable_xsave();
        if cpu::try_set_xcr0(AVX_STATE).is_err() {
            checks.report("avx-enable", Err("XCR0 refuses AVX, which CPUID shows"));
            return;
        }
    }
    println!("hostile: {} registers, seed {seed}", if wide { "256-bit" } else { "128-bit" });
    let end = time::now() + seconds * SECOND;
    let (mut round, mut wrong) = (0, 0);
    while time::now() < end {
        let expected = values(seed, round, wide);
        load(&expected, wide);
        provoke(round);
        let found = store(wide);
        if found != expected {
            wrong += 1;
            if let Some(index) = (0..16).find(|index| found[*index] != expected[*index]) {
                println!("hostile: register {index}: {:x?}, not {:x?}", found[index], expected[index]);
            }
        }
        round += 1;
    }
    println!("hostile: {round} rounds");
    checks.equal("vector-registers-kept", wrong, 0);
}

fn values(seed: u64, round: u64, wide: bool) -> Registers {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round;
    let mut registers = [[0; 4]; 16];
    for register in &mut registers {
        for word in register.iter_mut().take(if wide { 4 } else { 2 }) {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *word = state;
        }
    }
    registers
}

/// Fills the registers.
fn load(values: &Registers, wide: bool) {
    let base = values.as_ptr();
    // SAFETY: reads 512 bytes that are there; compiled code doesn't use the registers that change.
    unsafe {
        if wide {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "vmovdqu ymm\\n, ymmword ptr [{0} + 32 * \\n]",
                ".endr",
                in(reg) base, options(readonly, nostack)
            );
        } else {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "movdqu xmm\\n, xmmword ptr [{0} + 32 * \\n]",
                ".endr",
                in(reg) base, options(readonly, nostack)
            );
        }
    }
}

/// Reads the registers; upper halves are zero unless `wide`.
fn store(wide: bool) -> Registers {
    let mut values: Registers = [[0; 4]; 16];
    let base = values.as_mut_ptr();
    // SAFETY: writes 512 bytes of a local variable.
    unsafe {
        if wide {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "vmovdqu ymmword ptr [{0} + 32 * \\n], ymm\\n",
                ".endr",
                in(reg) base, options(nostack)
            );
        } else {
            asm!(
                ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                "movdqu xmmword ptr [{0} + 32 * \\n], xmm\\n",
                ".endr",
                in(reg) base, options(nostack)
            );
        }
    }
    values
}
