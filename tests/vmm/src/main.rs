// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program in the place of `vmm-server`, as one that a guest has taken over would be. It runs no guest. The command line
//! says what it does: `attack` tries everything that a VMM's capabilities let it try against the servers and the root task,
//! `check` uses its device as an honest VMM would and says whether it was served, `silent` and `liar` are asked for their guest,
//! `fault-pci` and `fault-timer` have a server get their faults.
#![no_std]
#![no_main]

mod attack;
mod check;
mod look;
mod random;

use component::Part;
use protocol::config::VmmConfig;
use protocol::start::RangeKind;

component::main!(main);

fn main(mut part: Part) -> ! {
    let Ok(config) = part.config::<VmmConfig>() else { panic!("the configuration can't be read") };
    match config.args.as_str() {
        "silent" => look::silent(),
        "liar" => look::liar(&part),
        "attack" => match part.memory() {
            Some(memory) => attack::run(&part, memory, &config),
            None => panic!("no memory of its own"),
        },
        "fault-pci" => fault_to(&part, RangeKind::PciEndpoint),
        "fault-timer" => fault_to(&part, RangeKind::TimerEndpoint),
        _ => check::run(&part),
    }
}

fn fault_to(part: &Part, server: RangeKind) -> ! {
    match part.cap(server) {
        Some(endpoint) => attack::excess::fault_to(endpoint),
        None => panic!("no way to the server"),
    }
}
