// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ways to end, or never to.

use core::arch::asm;
use guest_runtime::{exit, pci, println};

/// A guest-physical address in the PCI window where no BAR lies, mapped by the guest's own tables: only the nested ones refuse it.
pub const NOWHERE: u64 = 0xdead_0000;

/// What the host must never see in the log.
fn survived() -> ! {
    println!("hostile: STILL HERE");
    exit::exit(3)
}

pub fn triple_fault() -> ! {
    exit::shut_down()
}

pub fn jump(address: u64) -> ! {
    println!("hostile: jumping to {address:#x}");
    // SAFETY: there is no telling what runs there; that is the attack. It is expected to be nothing.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) };
    survived()
}

/// Puts a `RET` into a BAR that is memory, and calls it.
pub fn jump_into_bar(index: u8) -> ! {
    const RET: u32 = 0xc3;
    let mut found = None;
    pci::for_each(|function| found = found.or(function.bar(index)));
    let Some(bar) = found else {
        println!("hostile: no device has a BAR {index}");
        exit::exit(2)
    };
    bar.registers().write32(0, RET);
    println!("hostile: BAR {index} holds {:#x}", bar.registers().read32(0));
    jump(bar.address)
}

pub fn read(address: u64) -> ! {
    println!("hostile: reading {address:#x}");
    // SAFETY: a read of an address that no Rust value has.
    let value = unsafe { (address as *const u32).read_volatile() };
    println!("hostile: read {value:#x}");
    survived()
}

pub fn halt_without_interrupts() -> ! {
    // SAFETY: nothing runs after it.
    unsafe { asm!("cli", "hlt") };
    survived()
}

/// Keeps the CPU for as long as it gets it.
pub fn loop_without_interrupts() -> ! {
    println!("hostile: interrupts off, looping");
    // SAFETY: touches nothing.
    unsafe { asm!("cli", "2: jmp 2b", options(noreturn)) }
}
