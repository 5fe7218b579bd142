// SPDX-License-Identifier: MIT OR Apache-2.0
//! Guests that misbehave: each ends or is contained, and the VM beside it is unharmed.

use std::time::Instant;

use serde_json::json;

use crate::build;
use crate::machine::{LIMIT, Machine};
use crate::qmp::Monitor;
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
    Case::new("hostile::instructions_of_the_hypervisor_are_not_the_guests", instructions),
    Case::new("hostile::exits_from_modes_that_nobody_needs_harm_nobody", modes),
    Case::new("hostile::a_flood_of_the_log_is_contained", flood),
    Case::new("hostile::a_log_that_nobody_reads_holds_nobody_up", unread),
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
    beside_hello("hostile-sweeps", |machine| {
        tests_passed(machine, &["msr", "port", "config", "apic", "registers"])
    })
}

fn instructions() -> Outcome {
    beside_hello("hostile-instructions", |machine| {
        tests_passed(machine, &["hostile"])?;
        ["clgi", "vmrun", "skinit"]
            .iter()
            .try_for_each(|name| machine.expect_anywhere(&format!("[hostile] test {name} ... ok")).map(drop))
    })
}

fn modes() -> Outcome {
    beside_hello("hostile-modes", |machine| {
        tests_passed(machine, &["hostile"])?;
        machine.expect_anywhere("[hostile] test modes-back-in-long-mode ... ok").map(drop)
    })
}

/// Each line that `flood` wrote is in the log or counted as lost, nothing in it steers a terminal, and the other guest's lines are
/// whole. `bytes` is what it sent without an end of line. Gives the lost ones.
fn every_line_is_accounted_for(machine: &mut Machine, bytes: usize) -> Result<usize, String> {
    // The machine turns itself off when both guests have ended and the log is written.
    machine.wait_end(LIMIT)?;
    let lines = machine.serial.lines();
    let of_flood: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("[flood] ")).collect();
    let lost_in = |line: &str| {
        line.strip_suffix(" lines lost: the log ring was full)")?.strip_prefix('(')?.parse().ok()
    };
    let notices: Vec<usize> = of_flood.iter().filter_map(|line| lost_in(line)).collect();
    let (shown, lost) = (of_flood.len() - notices.len(), notices.iter().sum::<usize>());
    // The UART cuts at 200 bytes; the first of the bare ends of lines ends the last piece; eight other lines.
    let written = bytes.div_ceil(200) + bytes / 64 - 1 + 8;
    if shown + lost != written {
        return Err(format!("{written} lines were written, {shown} shown, {lost} lost"));
    }
    if let Some(line) = lines.iter().find(|line| line.chars().any(|one| one.is_control() && one != '\t')) {
        return Err(format!("a line that steers the terminal: {line:?}"));
    }
    for second in 1..=10 {
        let whole = format!("[hello] hello: second {second} of 10");
        if lines.iter().filter(|line| **line == whole).count() != 1 {
            return Err(format!("not just one line `{whole}`"));
        }
    }
    Ok(lost)
}

fn flood() -> Outcome {
    beside_hello("hostile-flood", |machine| {
        tests_passed(machine, &["flood"])?;
        every_line_is_accounted_for(machine, 65_536).map(drop)
    })
}

/// Nobody reads COM1 until lines are lost: guests, VMMs and servers must go on all the same.
fn unread() -> Outcome {
    beside_hello("hostile-flood-unread", |machine| {
        machine.expect_anywhere("[flood] hostile: uart-flood")?;
        let monitor = machine.monitor()?;
        monitor.execute("stop", json!({}))?;
        let ring = ring_that_begins_with(monitor, b"hostile: uart-flood\n")?;
        machine.serial.hold(true);
        machine.monitor()?.execute("cont", json!({}))?;
        // The ring's count of lost lines (`docs/architecture.md`, "Memory"). From outside there is nothing else to wait for.
        let deadline = Instant::now() + LIMIT;
        while machine.monitor()?.dwords(ring + 4, 1)? == [0] {
            if Instant::now() > deadline {
                return Err("no line was lost".into());
            }
        }
        machine.serial.hold(false);
        match every_line_is_accounted_for(machine, 200_000)? {
            0 => Err("the log doesn't tell that lines were lost".into()),
            _ => Ok(()),
        }
    })
}

/// The log ring whose first line is this, by its physical address; its first bytes say that much is in it.
fn ring_that_begins_with(monitor: &mut Monitor, line: &[u8]) -> Result<u64, String> {
    const DATA: usize = 128;
    let memory = monitor.memory(0, 256 << 20)?;
    let page = memory.chunks(4096).position(|page| page[DATA..].starts_with(line));
    page.map(|page| page as u64 * 4096).ok_or_else(|| "the log ring is not to be found".into())
}

fn ends() -> Outcome {
    beside_hello("hostile-ends", |machine| {
        machine.expect_anywhere("[code] vmm: the guest has ended with exit code 7")?;
        machine.expect_all(&["[root-task] vm code: ended: ", "code 7"])?;
        machine.expect_anywhere("[reset] vmm: the guest has ended: reset")?;
        machine.expect_anywhere("[root-task] vm reset: ended: reset").map(drop)
    })
}
