// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests that misbehave: each ends or is contained, and the VM beside it is unharmed.

use crate::build;
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("hostile::a_triple_fault_ends_its_guest_with_a_dump", triple_fault),
    Case::new("hostile::a_jump_into_nowhere_ends_its_guest", jump_nowhere),
    Case::new("hostile::an_access_to_nowhere_ends_its_guest", mmio_nowhere),
    Case::new("hostile::a_halt_with_interrupts_off_ends_its_guest", halt),
    Case::new("hostile::a_loop_with_interrupts_off_starves_nobody", cli_loop),
    Case::new("hostile::xcr0_is_each_guests_own", xcr0),
    Case::new("hostile::vector_registers_are_each_guests_own", avx),
    Case::new("hostile::sweeps_of_everything_that_exits", sweeps),
    Case::new("hostile::a_flood_of_the_log_is_contained", flood),
    Case::new("hostile::exit_code_and_reset_are_told", ends),
];

/// Boots, and the guest `hello` beside the others runs to its end.
fn beside_hello(name: &str, test: impl FnOnce(&mut Machine) -> Outcome) -> Outcome {
    let system = build::system(name)?;
    with(Machine::start(&system.arguments())?, |machine| {
        test(machine)?;
        machine.expect_anywhere("[hello] hello: second 10 of 10")?;
        machine.expect_anywhere("[root-task] vm hello: ended: power-off, code 0").map(drop)
    })
}

/// The guest is ended for that reason, with its registers and last exits in the log.
fn ended(name: &str, reason: &str) -> Outcome {
    beside_hello(name, |machine| {
        machine.expect_anywhere(&format!("[hostile] vmm: the guest has ended: {reason}"))?;
        for part in ["vmm:   rip=", "vmm:   rax=", "vmm:   r12=", "vmm:   cr0=", "vmm:   last exits:"] {
            machine.expect_anywhere(&format!("[hostile] {part}"))?;
        }
        machine.expect_anywhere("[root-task] vm hostile: ended: ")?;
        machine.refute("STILL HERE")
    })
}

fn triple_fault() -> Outcome {
    ended("hostile-triple-fault", "triple fault")
}

fn jump_nowhere() -> Outcome {
    ended("hostile-jump-nowhere", "instruction fetch from guest-physical address ")
}

fn mmio_nowhere() -> Outcome {
    ended("hostile-mmio-nowhere", "access to guest-physical address ")
}

fn halt() -> Outcome {
    ended("hostile-hlt-off", "halted with interrupts off")
}

fn cli_loop() -> Outcome {
    beside_hello("hostile-cli-loop", |machine| {
        machine.expect_anywhere("[hostile] hostile: interrupts off, looping")?;
        machine.refute("vm hostile: ended")
    })
}

/// All tests that guests ran have passed, and so many guests ran some.
fn tests_passed(machine: &mut Machine, guests: &[&str]) -> Outcome {
    for guest in guests {
        let line = machine.expect_anywhere(&format!("[{guest}] tests: "))?;
        if !line.ends_with(" 0 failed") || line.contains(" 0 passed") {
            return Err(format!("{line}\n(`FAILED` says why)"));
        }
    }
    Ok(())
}

fn xcr0() -> Outcome {
    beside_hello("hostile-xcr0", |machine| tests_passed(machine, &["hostile", "second"]))
}

fn avx() -> Outcome {
    let system = build::system("hostile-avx")?;
    with(Machine::start(&system.arguments())?, |machine| {
        tests_passed(machine, &["first", "second", "changes-xcr0"])?;
        // Else nothing was at stake.
        machine.expect_anywhere("[first] hostile: 256-bit registers")?;
        machine.expect_anywhere("[second] hostile: 256-bit registers").map(drop)
    })
}

fn sweeps() -> Outcome {
    beside_hello("hostile-sweeps", |machine| tests_passed(machine, &["msr", "port", "config", "apic"]))
}

fn flood() -> Outcome {
    beside_hello("hostile-flood", |machine| tests_passed(machine, &["flood"]))
}

fn ends() -> Outcome {
    beside_hello("hostile-ends", |machine| {
        machine.expect_anywhere("[code] vmm: the guest has ended with exit code 7")?;
        machine.expect_all(&["[root-task] vm code: ended: ", "code 7"])?;
        machine.expect_anywhere("[reset] vmm: the guest has ended: reset")?;
        machine.expect_anywhere("[root-task] vm reset: ended: reset").map(drop)
    })
}
