// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel, judged from inside a root task (`tests/kernel`), whose checks arrive as a line protocol.

use postern_cli::qemu;

use crate::build;
use crate::checks::{self, LIMIT};
use crate::machine::Machine;
use crate::runner::{Case, Outcome, with};

pub(super) const CASES: &[Case] = &[
    Case::new("kernel::every_check_of_the_root_task_holds", release),
    Case::new("kernel::every_check_holds_in_the_debug_build_too", debug),
    Case::new("kernel::every_invocation_answers_every_misuse_as_the_table_says", calls),
    Case::new("kernel::the_table_of_invocations_holds_in_the_debug_build_too", calls_debug),
    Case::new("kernel::the_checks_hold_when_grub_boots_it", multiboot),
    Case::new("kernel::each_of_four_domains_runs_in_its_turn", domains),
    Case::new("kernel::a_wrong_number_of_domains_is_refused", wrong_domains),
    Case::new("kernel::two_processors_act_on_each_other_as_one_would", two_processors),
    Case::new("kernel::four_processors_act_on_each_other_as_one_would", four_processors),
    Case::new("kernel::two_processors_are_in_the_same_domains_turn", turns),
    Case::new("kernel::one_thread_of_each_core_is_used", threads),
    Case::new("kernel::interrupts_wait_no_longer_than_10000_instructions", bounded),
    Case::new("kernel::interrupts_wait_no_longer_at_the_end_of_a_domains_turn", bounded_turns),
    Case::new("kernel::dma_and_messages_reach_only_what_capabilities_say", dma),
    Case::new("kernel::a_guest_gets_what_its_vmm_may_give_and_no_more", vcpu),
    Case::new("kernel::guests_run_on_two_processors", guests_elsewhere),
    Case::new("kernel::guests_run_in_their_domains_turns", guests_turns),
    Case::new("kernel::a_processor_that_needs_every_step_at_an_entry_gets_them", vulnerable),
];

/// The least number of checks that must have passed.
pub(super) const ENOUGH: usize = 249;
/// The same for those of DMA and interrupt remapping.
const ENOUGH_OF_DMA: usize = 42;
/// The same for the methods of the table.
const ENOUGH_OF_CALLS: usize = 91;
/// The same for those of virtual CPUs.
pub(super) const ENOUGH_OF_VCPUS: usize = 49;
/// The same for those of several domains.
const ENOUGH_OF_DOMAINS: usize = 100;
/// The same for those of more than one processor.
pub(super) const ENOUGH_OF_CPUS: usize = 22;
/// The same for the operations that take long.
const ENOUGH_OF_STRETCHES: usize = 278;
/// The same for those of domains on more than one.
const ENOUGH_OF_TURNS: usize = 3;
/// The same for those of guests on another processor.
const ENOUGH_OF_GUESTS_ELSEWHERE: usize = 7;
/// The longest stretch with interrupts off that a program may bring about, in instructions.
const LONGEST_STRETCH: u64 = 10_000;
/// What the root task writes to the debug exit device if all went well, as QEMU's exit status.
const SUCCESS: i32 = 0x10 << 1 | 1;

/// What the checks want to find: devices for those of DMA and messages, and a way to end QEMU with a status.
pub(super) fn machine() -> qemu::Machine {
    let devices = [
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-device",
        "pcie-root-port,id=rp1,bus=pcie.0,chassis=1,slot=1,addr=4.0",
        "-device",
        "edu,bus=rp1,dma_mask=0xffffffff",
    ];
    qemu::Machine { arguments: devices.map(String::from).to_vec(), ..Default::default() }
}

/// The machine's arguments, with time counted in instructions: what the checks say of time is then no matter of the host's speed.
pub(super) fn counted() -> Vec<String> {
    let mut arguments = machine().arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    arguments
}

fn release() -> Outcome {
    all_checks(&[], |machine| machine.expect_anywhere("test debug_calls_are_unknown ... ok").map(drop))
}

fn debug() -> Outcome {
    all_checks(&["postern-kernel/debug-syscalls"], |machine| machine.refute("debug_calls_are_unknown ... ok"))
}

fn all_checks(features: &[&str], also: fn(&mut Machine) -> Outcome) -> Outcome {
    boot(counted(), "kernel-tests", features, &[], |machine| {
        judge_at_least(machine, ENOUGH).and_then(|()| also(machine))
    })
}

/// Boots a program of `tests/kernel` in the machine with QEMU's `arguments` and `more`.
pub(super) fn boot(
    mut arguments: Vec<String>,
    program: &str,
    features: &[&str],
    more: &[&str],
    judge: impl FnOnce(&mut Machine) -> Outcome,
) -> Outcome {
    let image = build::bare(("kernel-tests", program), features)?;
    arguments.extend(qemu::boot_arguments(&image));
    arguments.extend(more.iter().copied().map(String::from));
    with(Machine::start(&arguments)?, judge)
}

/// As [`boot`], of time counted in instructions; at least `enough` checks must pass.
fn boot_checks(program: &str, features: &[&str], more: &[&str], enough: usize) -> Outcome {
    boot(counted(), program, features, more, |machine| judge_at_least(machine, enough))
}

/// The table of all invocations and system calls.
fn calls() -> Outcome {
    boot_checks("calls", &[], &[], ENOUGH_OF_CALLS)
}

/// The same with a kernel that knows debug calls.
fn calls_debug() -> Outcome {
    boot_checks("calls", &["postern-kernel/debug-syscalls"], &[], ENOUGH_OF_CALLS)
}

fn multiboot() -> Outcome {
    let image = build::bare(("kernel-tests", "kernel-tests"), &[])?;
    let folder = std::env::temp_dir().join(format!("postern-{}-kernel", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let iso = folder.join("kernel-tests.iso");
    let written = postern_cli::iso::write_in(&folder.join("tree"), &image, "kernel-tests", &iso);
    let outcome = written.and_then(|()| {
        let mut arguments = counted();
        arguments.extend(["-boot".into(), "d".into(), "-cdrom".into(), iso.display().to_string()]);
        with(Machine::start(&arguments)?, |machine| judge_at_least(machine, ENOUGH))
    });
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

/// The checks of scheduling domains, and those that they could break.
fn domains() -> Outcome {
    boot(counted(), "kernel-tests", &[], &["-append", "domains=4"], |machine| {
        machine.expect("domains: 4")?;
        judge_at_least(machine, ENOUGH_OF_DOMAINS)
    })
}

fn wrong_domains() -> Outcome {
    let image = build::bare(("kernel-tests", "kernel-tests"), &[])?;
    for number in ["0", "257", "four", ""] {
        let mut arguments = counted();
        arguments.extend(qemu::boot_arguments(&image));
        arguments.extend(["-append".into(), format!("quiet domains={number}")]);
        with(Machine::start(&arguments)?, |machine| {
            machine
                .expect("cannot start: the boot argument `domains=` wants a number from 1 to 256")
                .map(drop)
        })?;
    }
    Ok(())
}

/// The checks of more than one processor, on two that run side by side.
fn two_processors() -> Outcome {
    side_by_side("cpus", ENOUGH_OF_CPUS)
}

/// The same on four that take turns after few instructions: whoever spins gives way at once.
fn four_processors() -> Outcome {
    boot_checks("cpus", &[], &["-smp", "4"], ENOUGH_OF_CPUS)
}

/// The checks of domains on two processors.
fn turns() -> Outcome {
    boot_checks("cpus", &[], &["-smp", "2", "-append", "domains=2"], ENOUGH_OF_TURNS)
}

/// The checks of guests on a second processor.
fn guests_elsewhere() -> Outcome {
    side_by_side("vcpu", ENOUGH_OF_GUESTS_ELSEWHERE)
}

/// The check of guests in domains.
fn guests_turns() -> Outcome {
    boot_checks("vcpu", &[], &["-append", "domains=3"], 1)
}

/// Boots a test image on two processors that really run side by side, so that one is anywhere while the other acts.
fn side_by_side(program: &str, enough: usize) -> Outcome {
    boot(machine().arguments(), program, &[], &["-smp", "2"], |machine| judge_at_least(machine, enough))
}

/// Two cores with two threads each.
fn threads() -> Outcome {
    boot(counted(), "cpus", &[], &["-smp", "4,cores=2,threads=2"], |machine| {
        machine.expect("processors: 2 not used: each is a further thread of a core,")?;
        machine.expect("processors: 2 used").map(drop)
    })
}

/// The longest operations that there are, each interrupted wherever it can be, and how long each stretch was.
fn bounded() -> Outcome {
    longest_stretch(&[], ENOUGH_OF_STRETCHES)
}

/// The same of the end of a domain's turn.
fn bounded_turns() -> Outcome {
    longest_stretch(&["-append", "domains=2"], 1)
}

fn longest_stretch(extra: &[&str], enough: usize) -> Outcome {
    boot(counted(), "bounded", &["postern-kernel/pretend-interrupted"], extra, |machine| {
        let line = machine.expect_within("bench longest-stretch ", LIMIT)?;
        judge_at_least(machine, enough)?;
        let longest = line.rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
        match longest {
            Some(longest) if longest <= LONGEST_STRETCH => Ok(()),
            _ => Err(format!(
                "the longest stretch with interrupts off: `{line}`, at most {LONGEST_STRETCH} instructions were expected"
            )),
        }
    })
}

/// The checks of DMA and interrupt remapping, which want a second device.
fn dma() -> Outcome {
    let second = [
        "-device",
        "pcie-root-port,id=rp2,bus=pcie.0,chassis=2,slot=2,addr=5.0",
        "-device",
        "edu,bus=rp2,dma_mask=0xffffffff",
    ];
    boot_checks("dma", &[], &second, ENOUGH_OF_DMA)
}

/// The checks of virtual CPUs.
fn vcpu() -> Outcome {
    boot_checks("vcpu", &[], &[], ENOUGH_OF_VCPUS)
}

/// The same with a kernel that takes the processor for a vulnerable one with all registers against that, which the emulator ignores.
fn vulnerable() -> Outcome {
    boot_checks("vcpu", &["postern-kernel/pretend-vulnerable"], &[], ENOUGH_OF_VCPUS)
}

pub(super) fn judge_at_least(machine: &mut Machine, enough: usize) -> Outcome {
    checks::judge(&machine.serial, enough)?;
    match machine.wait_end(LIMIT)? {
        SUCCESS => Ok(()),
        status => Err(format!("QEMU ended with status {status}")),
    }
}
