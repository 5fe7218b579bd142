// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the exits cost, in TSC ticks (under `-icount shift=0`: instructions), seen from the guest: median of a thousand, less the cost of
//! reading the TSC twice.

use core::arch::asm;
use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::{acpi, apic, cpu, pci, println};

const SAMPLES: usize = 1000;
/// A port where nothing is.
const PORT: u16 = 0x80;
const APIC_BASE: u32 = 0x1b;
const PAT: u32 = 0x277;

/// The middle of the samples, unsubtracted.
fn median(mut once: impl FnMut()) -> (u64, u64, u64) {
    let mut samples = [0; SAMPLES];
    for sample in &mut samples {
        let start = cpu::rdtsc();
        once();
        *sample = cpu::rdtsc() - start;
    }
    samples.sort_unstable();
    (samples[SAMPLES / 2], samples[0], samples[SAMPLES - 1])
}

/// Prints one row: `bench <name> <ticks>`.
fn row(name: &str, pair: u64, once: impl FnMut()) {
    let (middle, least, most) = median(once);
    println!("bench {name} {}", middle.saturating_sub(pair));
    println!("hostile: {name}: least {}, most {}", least.saturating_sub(pair), most.saturating_sub(pair));
}

pub fn run(checks: &mut Checks) {
    let (pair, ..) = median(|| ());
    println!("bench rdtsc-pair {pair}");
    row("exit-cpuid", pair, cpuid);
    row("exit-out", pair, || {
        // SAFETY: nothing listens there.
        unsafe { cpu::out8(PORT, 0) };
    });
    row("exit-in", pair, || {
        cpu::in8(PORT);
    });
    row("exit-rdmsr-apic-base", pair, || {
        cpu::rdmsr(APIC_BASE);
    });
    let pat = cpu::rdmsr(PAT);
    row("exit-wrmsr-pat", pair, || {
        // SAFETY: the value that it has.
        unsafe { cpu::wrmsr(PAT, pat) };
    });
    apic_rows(pair);
    configuration_rows(pair);
    checks.report("exits", Ok::<(), &str>(()));
}

/// CPUID with a leaf that every CPU has.
fn cpuid() {
    // SAFETY: RBX, which the compiler may use, is put back.
    unsafe {
        asm!("mov {keep:r}, rbx", "cpuid", "mov rbx, {keep:r}", keep = out(reg) _,
            inout("eax") 0 => _, inout("ecx") 0 => _, out("edx") _, options(nomem, nostack, preserves_flags));
    }
}

/// The task priority register: it changes nothing that anybody sees while interrupts are off.
fn apic_rows(pair: u64) {
    const TASK_PRIORITY: usize = 0x80;
    if apic::is_x2apic() {
        row("exit-apic-msr-read", pair, || {
            apic::read(TASK_PRIORITY);
        });
        row("exit-apic-msr-write", pair, || apic::write(TASK_PRIORITY, 0));
        apic::leave_x2apic();
    }
    row("exit-mmio-read", pair, || {
        apic::read(TASK_PRIORITY);
    });
    row("exit-mmio-write", pair, || apic::write(TASK_PRIORITY, 0));
}

/// The last function of bus 0, which is always absent, and the first that is there.
fn configuration_rows(pair: u64) {
    if let Some(ecam) = acpi::ecam() {
        // SAFETY: configuration space of bus 0.
        let absent = unsafe { Mmio::new(ecam.base + (0x1f << 15 | 7 << 12), 0x1000) };
        row("exit-ecam-absent-read", pair, || {
            absent.read32(0);
        });
        row("exit-ecam-absent-write", pair, || absent.write32(0, 0));
    }
    let mut first = None;
    pci::for_each(|function| {
        first.get_or_insert(function);
    });
    if let Some(function) = first {
        // The identification is read-only.
        row("exit-ecam-read", pair, || {
            function.config().read32(0);
        });
        row("exit-ecam-write", pair, || function.config().write32(0, 0));
    }
}

/// Works without a pause, and prints how many ticks have passed: others' work on the same processor is among them.
pub fn work(rounds: u64, checks: &mut Checks) {
    let start = cpu::rdtsc();
    for round in 0..rounds {
        core::hint::black_box(round);
    }
    println!("hostile: worked for {} ticks", cpu::rdtsc() - start);
    checks.report("work", Ok::<(), &str>(()));
}

/// Computes the same in registers again and again, without end, and says so if it comes out differently.
pub fn sums() -> ! {
    const STEPS: u64 = 200_000;
    let sum = |seed| {
        let step = |x: u64, n| x.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ n;
        (0..STEPS).fold(core::hint::black_box(seed), step)
    };
    let first = sum(1);
    for round in 1u64.. {
        if sum(1) != first {
            println!("hostile: BROKEN: sum {round} is another");
        }
        if round.is_multiple_of(32) {
            println!("hostile: {round} sums");
        }
    }
    unreachable!("more rounds than numbers")
}

/// Exits as fast as it can, without end.
pub fn storm() -> ! {
    println!("hostile: a storm of exits");
    loop {
        cpuid();
    }
}
