// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory is shared out among VMs of any size; what there isn't is refused with the numbers.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[Case::new("memory::vms_of_many_sizes_share_a_machine", sizes)];

fn sizes() -> Outcome {
    let system = build::system("memory-sizes")?;
    with(Machine::start(&system.arguments())?, |machine| {
        for (vm, mib) in [("first", 66), ("second", 130), ("least", 2), ("large", 512), ("last", 62)] {
            machine.expect_anywhere(&format!("[root-task] vm {vm}: started: {mib} MiB of RAM"))?;
        }
        // What it wants, and what there is.
        let line = machine.expect_anywhere("[root-task] vm large-too: refused: not enough memory: ")?;
        let numbers: Vec<u64> = (line.split(|c: char| !c.is_ascii_digit()))
            .filter(|number| !number.is_empty())
            .map(|number| number.parse().unwrap_or(u64::MAX))
            .collect();
        match numbers[..] {
            // RAM, what lies beside it, what is free in pieces of 2 MiB, which is the unit, and in smaller ones.
            [512, beside, free, 2, smaller] if beside < 1024 && (62..=1024 - 710).contains(&free) => {
                if smaller >= 4 << 10 {
                    return Err(format!("{smaller} KiB in small pieces: {line}"));
                }
            }
            _ => return Err(format!("the numbers of {line}: {numbers:?}")),
        }
        // Each has its RAM, its devices, its command line.
        machine.expect_anywhere("[least] hello: memory 0x0000100000..0x0000200000 usable")?;
        machine.expect_anywhere("[large] hello: memory 0x0000100000..0x0020000000 usable")?;
        machine.expect_anywhere("[last] hello: command line \"the last one\"")?;
        machine.expect_anywhere("[second] edu: device 00:11.0 ")?;
        machine.expect_anywhere("[first] test dma-out-and-back ... ok")?;
        machine.expect_anywhere("[first] tests: 11 passed, 0 failed")?;
        machine.expect_anywhere("[large] hello: second 2 of 10")?;
        machine.refute("[large-too] ")
    })
}
