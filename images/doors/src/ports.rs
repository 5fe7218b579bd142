// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration space by ports 0xcf8 and 0xcfc shows what configuration space in memory shows, and is written in the same way.

use guest_runtime::checks::Checks;
use guest_runtime::mmio::Mmio;
use guest_runtime::pci::Function;
use guest_runtime::{acpi, cpu};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;
const COMMAND: usize = 0x04;
const BARS: core::ops::Range<usize> = 0x10..0x28;
const INTERRUPT_LINE: usize = 0x3c;

/// A register of a function of bus 0, as the address port wants it.
fn register(devfn: u32, offset: usize) -> u32 {
    ENABLE | devfn << 8 | offset as u32 & 0xfc
}

fn choose(address: u32) {
    // SAFETY: the port holds an address, and does nothing with it.
    unsafe { cpu::out32(ADDRESS, address) };
}

fn data(offset: usize) -> u16 {
    DATA + (offset as u16 & 3)
}

fn read32(devfn: u32, offset: usize) -> u32 {
    choose(register(devfn, offset));
    cpu::in32(DATA)
}

/// Writes `N` bytes of `value` to the chosen register.
fn write<const N: usize>(devfn: u32, offset: usize, value: u32) {
    choose(register(devfn, offset));
    // SAFETY: the registers that this program writes move BARs and stop decoding; nothing uses the device meanwhile.
    unsafe {
        match N {
            1 => cpu::out8(data(offset), value as u8),
            2 => cpu::out16(data(offset), value as u16),
            _ => cpu::out32(data(offset), value),
        }
    }
}

pub fn run(function: &Function, checks: &mut Checks) {
    let devfn = (function.address().offset() >> 12) as u32;
    checks.equal("ports-address", address(), [0x80ff_fffc, 0x80ff_fffc, u32::MAX]);
    checks.equal("ports-show-every-function", others(), 0);
    checks.equal("ports-show-every-register", differences(function.config(), devfn), 0);
    checks.equal("ports-off-show-nothing", off(devfn), [u32::MAX; 4]);
    checks.report("ports-write-all-widths", writes(function.config(), devfn));
    checks.report("ports-size-bars", sizes(function.config(), devfn));
}

/// The address is kept as far as its bits mean something; accesses that aren't of 4 bytes are none of it.
fn address() -> [u32; 3] {
    choose(u32::MAX);
    let kept = cpu::in32(ADDRESS);
    // SAFETY: nothing is there for a byte.
    unsafe { cpu::out8(ADDRESS, 0) };
    [kept, cpu::in32(ADDRESS), u32::from(cpu::in8(ADDRESS)) | !0xff]
}

/// Functions of bus 0 whose identification isn't what memory shows.
fn others() -> usize {
    let Some(ecam) = acpi::ecam() else { return usize::MAX };
    let differs = |devfn: &u32| {
        // SAFETY: configuration space of bus 0.
        let config = unsafe { Mmio::new(ecam.base + (u64::from(*devfn) << 12), 0x1000) };
        read32(*devfn, 0) != config.read32(0)
    };
    (0..256).filter(differs).count()
}

/// Bytes of the function's first 256 that aren't what memory shows, in each width.
fn differences(config: &Mmio, devfn: u32) -> usize {
    let mut differ = 0;
    for offset in 0..256 {
        choose(register(devfn, offset));
        differ += usize::from(cpu::in8(data(offset)) != config.read8(offset));
        if offset.is_multiple_of(2) {
            differ += usize::from(cpu::in16(data(offset)) != config.read16(offset));
        }
        if offset.is_multiple_of(4) {
            differ += usize::from(cpu::in32(data(offset)) != config.read32(offset));
        }
    }
    differ
}

/// Reads that reach nothing: turned off, another bus, across registers, unaligned.
fn off(devfn: u32) -> [u32; 4] {
    choose(register(devfn, 0) & !ENABLE);
    let disabled = cpu::in32(DATA);
    choose(register(devfn, 0) | 1 << 16);
    let elsewhere = cpu::in32(DATA);
    choose(register(devfn, 0));
    [disabled, elsewhere, cpu::in32(DATA + 2), u32::from(cpu::in16(DATA + 1)) | !0xffff]
}

fn writes(config: &Mmio, devfn: u32) -> Result<(), &'static str> {
    let line = config.read8(INTERRUPT_LINE);
    write::<1>(devfn, INTERRUPT_LINE, 0x5a);
    if config.read8(INTERRUPT_LINE) != 0x5a {
        return Err("a byte wasn't written");
    }
    choose(register(devfn, INTERRUPT_LINE) & !ENABLE);
    // SAFETY: the ports are off.
    unsafe { cpu::out8(DATA, 0xa5) };
    if config.read8(INTERRUPT_LINE) != 0x5a {
        return Err("a byte was written though the ports were off");
    }
    config.write8(INTERRUPT_LINE, line);
    let command = config.read16(COMMAND);
    write::<2>(devfn, COMMAND, 0);
    let cleared = config.read16(COMMAND);
    write::<2>(devfn, COMMAND, command.into());
    if cleared != 0 || config.read16(COMMAND) != command {
        return Err("two bytes weren't written");
    }
    let ids = config.read32(0);
    write::<4>(devfn, 0, 0);
    if config.read32(0) != ids { Err("the identification was written") } else { Ok(()) }
}

/// Each base address register tells its size, and where it was, by both ways.
fn sizes(config: &Mmio, devfn: u32) -> Result<(), &'static str> {
    config.write16(COMMAND, config.read16(COMMAND) & !3);
    for offset in BARS.step_by(4) {
        let old = read32(devfn, offset);
        write::<4>(devfn, offset, u32::MAX);
        let (by_ports, by_memory) = (read32(devfn, offset), config.read32(offset));
        write::<4>(devfn, offset, old);
        if by_ports != by_memory || config.read32(offset) != old {
            return Err("a base address register differs");
        }
    }
    config.write16(COMMAND, config.read16(COMMAND) | 2);
    if function_answers(config) { Ok(()) } else { Err("the device is gone") }
}

fn function_answers(config: &Mmio) -> bool {
    config.read16(0) != 0xffff
}
