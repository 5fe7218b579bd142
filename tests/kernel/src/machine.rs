// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine around the tests: output and end.

use core::sync::atomic::{AtomicU64, Ordering};

use sel4::init_thread::slot;
use sel4::{BootInfoPtr, cap};
use sel4_root_task::{Com1, console};

static COM1: AtomicU64 = AtomicU64::new(0);

/// Makes COM1 the console; takes the slot `index`.
pub fn open_console(index: usize) -> sel4::Result<()> {
    let com1 = Com1::issue(index)?;
    COM1.store(com1.cap().bits(), Ordering::Relaxed);
    console::set(|bytes| {
        Com1::from_cap(cap::IOPort::from_bits(COM1.load(Ordering::Relaxed))).write(bytes);
    });
    Ok(())
}

/// The ports of COM1.
pub fn com1() -> cap::IOPort {
    cap::IOPort::from_bits(COM1.load(Ordering::Relaxed))
}

/// QEMU's debug exit device.
const DEBUG_EXIT: u16 = 0xf4;
/// ACPI PM1a control register of QEMU's Q35.
const PM1A_CONTROL: u16 = 0x604;
/// Sleep enable, type 0: power off.
const POWER_OFF: u16 = 0x2000;

/// Line status register of COM1, and its bit that says that everything is sent.
const LINE_STATUS: u16 = 0x3fd;
const SENT: u8 = 0x40;
/// Bochs's port that ends it when it is told so by name.
const SHUTDOWN: u16 = 0x8900;

/// Ends QEMU: with status 33 for success and 35 for failure if it has the debug exit device, otherwise by power-off. Ends Bochs.
/// Takes the slots `index` to `index + 2`.
pub fn exit(index: usize, success: bool) -> ! {
    let issue = |port: u16, index: usize| {
        let ports = cap::IOPort::from_bits(index as u64);
        let slot = slot::CNODE.cap().absolute_cptr(ports);
        let last = u64::from(port) + 3;
        slot::IO_PORT_CONTROL.cap().ioport_control_issue(port.into(), last, &slot).map(|()| ports)
    };
    if let Ok(ports) = issue(DEBUG_EXIT, index) {
        let _ = ports.ioport_out32(DEBUG_EXIT, if success { 0x10 } else { 0x11 });
    }
    if let Ok(ports) = issue(PM1A_CONTROL, index + 1) {
        let _ = ports.ioport_out16(PM1A_CONTROL, POWER_OFF);
    }
    if let Ok(ports) = issue(SHUTDOWN, index + 2) {
        // It would end before the last line is sent.
        while com1().ioport_in8(LINE_STATUS).is_ok_and(|status| status & SENT == 0) {}
        for byte in *b"Shutdown" {
            let _ = ports.ioport_out8(SHUTDOWN, byte);
        }
    }
    panic!("the emulator runs on")
}

/// Uses the SSE registers.
pub fn use_sse() {
    // SAFETY: changes a register that it says it does.
    unsafe { core::arch::asm!("addps xmm0, xmm0", out("xmm0") _, options(nomem, nostack, preserves_flags)) }
}

/// The time-stamp counter.
#[inline(always)]
pub fn rdtsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter; user level may (CR4.TSD is clear).
    unsafe { core::arch::asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Lets instructions pass: 500 and a few in each of `rounds`. An emulator that counts them has nothing else to do for them, so that it is quick.
pub fn pass(rounds: u64) {
    if rounds > 0 {
        // SAFETY: counts a register down.
        unsafe {
            core::arch::asm!("2:", ".rept 500", "nop", ".endr", "dec {0}", "jnz 2b", inout(reg) rounds => _,
                options(nomem, nostack));
        }
    }
}

/// Lets instructions pass until the time-stamp counter is at `tick` or a few beyond.
pub fn pass_until(tick: u64) {
    // An instruction takes a tick where they are counted, elsewhere less.
    while rdtsc() < tick {
        pass(tick.saturating_sub(rdtsc()) / 1000);
    }
}

/// Ticks of the time-stamp counter in a microsecond.
pub fn ticks_per_us(bootinfo: &BootInfoPtr) -> u64 {
    bootinfo.tsc_mhz().map_or(1000, u64::from)
}

/// Leaf `leaf`, subleaf 0 of CPUID: EAX, EBX, ECX, EDX.
pub fn cpuid(leaf: u32) -> [u32; 4] {
    let r = core::arch::x86_64::__cpuid_count(leaf, 0);
    [r.eax, r.ebx, r.ecx, r.edx]
}
