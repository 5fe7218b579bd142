// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every register of the local APIC, with all sorts of values; afterwards the timer must still work.

use guest_runtime::checks::Checks;
use guest_runtime::{apic, cpu, cpuid, irq, println, time};

const TASK_PRIORITY: usize = 0x80;
const SPURIOUS: usize = 0xf0;
const COMMAND_LOW: usize = 0x300;
const COMMAND_HIGH: usize = 0x310;
const TIMER: usize = 0x320;
const INITIAL_COUNT: usize = 0x380;
const DIVIDE: usize = 0x3e0;

/// The last one leaves an unmasked vector that isn't the spurious one's: an ordinary interrupt there would never be ended.
const VALUES: [u32; 5] = [0, u32::MAX, 0x5555_5555, 0x0001_0000, 0x0000_00ee];

/// A read that may fault (in x2APIC mode most numbers are no register).
fn read(offset: usize) -> Option<u32> {
    if apic::is_x2apic() {
        cpu::try_rdmsr(0x800 + (offset >> 4) as u32).ok().map(|value| value as u32)
    } else {
        Some(apic::read(offset))
    }
}

fn write(offset: usize, value: u32) {
    if apic::is_x2apic() {
        // SAFETY: an APIC register. Interrupts that it raises are counted, not handled.
        let _ = unsafe { cpu::try_wrmsr(0x800 + (offset >> 4) as u32, value.into()) };
    } else {
        apic::write(offset, value);
    }
}

pub fn run(checks: &mut Checks) {
    let registers = (0..0x400).step_by(16);
    let readable = registers.clone().filter(|offset| read(*offset).is_some()).count();
    println!("hostile: {readable} registers, x2APIC {}", apic::is_x2apic());
    // The command register sends interrupts, even to exceptions' vectors: it has its own turn. On plain QEMU a write to offset 0 is taken for
    // a device's message.
    let first = if cpuid::postern().is_some() { 0 } else { 0x20 };
    for offset in registers.filter(|offset| *offset >= first && ![COMMAND_LOW, COMMAND_HIGH].contains(offset))
    {
        for value in VALUES {
            write(offset, value);
        }
    }
    if apic::is_x2apic() {
        // Numbers beyond the registers, and values wider than one.
        for msr in 0x840..0x900 {
            let _ = cpu::try_rdmsr(msr);
            // SAFETY: no register, or the APIC's.
            let _ = unsafe { cpu::try_wrmsr(msr, u64::MAX) };
        }
    }
    checks.report("apic-sweep-survived", Ok::<(), &str>(()));

    // As the runtime sets it up.
    write(SPURIOUS, 0x100 | u32::from(apic::SPURIOUS_VECTOR));
    write(TASK_PRIORITY, 0);
    write(DIVIDE, 0b1011);
    write(TIMER, apic::TIMER_VECTOR.into());
    write(INITIAL_COUNT, 0);

    // What came up meanwhile is taken before anything is counted.
    irq::with_enabled(|| {
        let settle = time::now() + 1_000_000;
        while time::now() < settle {}
    });
    irq::wait_for_timer(2_000_000);
    checks.report("apic-timer-lives", Ok::<(), &str>(()));

    self_interrupt(checks);
}

/// An interrupt to oneself, by destination and by shorthand.
fn self_interrupt(checks: &mut Checks) {
    const SELF: u32 = 0b01 << 18;
    let Some(vector) = irq::register(|_| ()) else { return };
    for (name, shorthand) in [("apic-self-shorthand", SELF), ("apic-self-destination", 0)] {
        let before = irq::count(vector);
        if apic::is_x2apic() {
            let command = u64::from(apic::id()) << 32 | u64::from(shorthand | u32::from(vector));
            // SAFETY: raises an interrupt that has a handler.
            unsafe { cpu::wrmsr(0x830, command) };
        } else {
            write(COMMAND_HIGH, apic::id() << 24);
            write(COMMAND_LOW, shorthand | u32::from(vector));
        }
        irq::wait_until(u64::MAX, || irq::count(vector) > before);
        checks.equal(name, irq::count(vector) - before, 1);
    }
}
