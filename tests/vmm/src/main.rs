// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program in the place of `vmm-server`, as one that a guest has taken over would be. It runs no guest. The command line
//! says what it does: `attack` tries everything that a VMM's capabilities let it try against the servers and the root task,
//! `check` uses its device as an honest VMM would and says whether it was served, `silent` and `liar` are asked for their guest.
#![no_std]
#![no_main]

mod attack;
mod check;
mod look;
mod random;

use component::Part;
use protocol::config::VmmConfig;

component::main!(main);

fn main(part: Part) -> ! {
    let Ok(config) = part.config::<VmmConfig>() else { panic!("the configuration can't be read") };
    match config.args.as_str() {
        "attack" => attack::run(&part, &config),
        "silent" => look::silent(),
        "liar" => look::liar(&part),
        _ => check::run(&part),
    }
}
