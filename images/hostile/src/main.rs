// SPDX-License-Identifier: MIT OR Apache-2.0
//! A guest that misbehaves, for tests of the hypervisor, and one that measures what its exits cost. The first word of the command line
//! chooses; see [`command`]. A second word `stay` keeps the guest alive afterwards, for whoever wants to look at it from outside.
#![no_std]
#![no_main]

mod deaths;
mod end;
mod exits;
mod flood;
mod modes;
mod sweep_apic;
mod sweep_config;
mod sweep_instruction;
mod sweep_msr;
mod sweep_port;
mod sweep_registers;
mod vector_state;

use guest_runtime::checks::Checks;
use guest_runtime::{boot, cmdline, irq, println};

guest_runtime::entry!(main);

/// The exit code where the word isn't understood.
const UNUSABLE: u32 = 2;

fn main() -> u32 {
    let line = boot::command_line();
    let Some(word) = cmdline::words(line).next() else {
        println!("hostile: no word on the command line");
        return UNUSABLE;
    };
    println!("hostile: {word}");
    let mut checks = Checks::new();
    if !command(word, line, &mut checks) {
        println!("hostile: \"{word}\" is no command");
        return UNUSABLE;
    }
    let code = checks.finish();
    if cmdline::words(line).any(|word| word == "stay") {
        println!("hostile: staying");
        loop {
            irq::wait();
        }
    }
    code
}

/// Does what the word says; `false` if it says nothing. The first group doesn't come back.
fn command(word: &str, line: &str, checks: &mut Checks) -> bool {
    let number = |key, default| cmdline::value(line, key).and_then(cmdline::number).unwrap_or(default);
    match word {
        "triple-fault" => end::triple_fault(),
        "jump-nowhere" => end::jump(number("address", end::NOWHERE)),
        "jump-into-bar" => end::jump_into_bar(number("bar", 2) as u8),
        "mmio-nowhere" => end::read(number("address", end::NOWHERE)),
        "hlt-off" => end::halt_without_interrupts(),
        "reset" => guest_runtime::exit::reset(),
        "cli-loop" => end::loop_without_interrupts(),

        "exit-code" => guest_runtime::exit::exit(number("code", 7) as u32),
        "xsetbv" => vector_state::change_xcr0(number("seconds", 2), checks),
        "avx" => vector_state::keep_registers(number("seed", 1), number("seconds", 3), checks),
        "msr-sweep" => sweep_msr::run(checks),
        "port-sweep" => sweep_port::run(checks),
        "config-sweep" => sweep_config::run(checks),
        "apic-sweep" => sweep_apic::run(checks),
        "modes" => modes::run(checks),
        "register-sweep" => sweep_registers::run(number("rounds", 20_000), checks),
        "instruction-sweep" => sweep_instruction::run(checks),
        "uart-flood" => flood::run(number("bytes", 65536), checks),
        "exits" => exits::run(checks),
        "sums" => exits::sums(),
        "exit-storm" => exits::storm(),
        "deaths" => deaths::run(line, checks),
        "work" => exits::work(number("rounds", 100_000_000), checks),
        _ => return false,
    }
    true
}
