// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel page-table isolation, forced by the command line: the kernel's checks hold with it, and user level's tables are looked at from outside.

use std::ops::RangeInclusive;

use postern_cli::elf::Elf;
use postern_cli::qemu;

use super::kernel::{self, ENOUGH, ENOUGH_OF_CPUS, ENOUGH_OF_VCPUS, counted, judge_at_least, machine};
use crate::build;
use crate::checks::LIMIT;
use crate::gdb::Debugger;
use crate::machine::Machine;
use crate::qmp::Monitor;
use crate::runner::{Case, Outcome};

pub(super) const CASES: &[Case] = &[
    Case::new("isolation::every_check_holds_without_the_kernel_in_user_levels_tables", checks),
    Case::new("isolation::processors_act_on_each_other_as_one_would", processors),
    Case::new("isolation::a_guest_gets_what_its_vmm_may_give_and_no_more", guests),
    Case::new("isolation::user_level_finds_nothing_of_the_kernel_but_the_way_there", tables),
    Case::new("isolation::nothing_of_another_thread_stays_in_the_gate", gate),
];

const ON: [&str; 2] = ["-append", "kpti=on"];
/// What the boot log says of it.
const IS_ON: &str = "kernel page-table isolation: on, by the command line";
/// The kernel's image, and what the processor needs of each processor, as virtual addresses (`kernel/src/arch/x86/window.rs`).
const IMAGE: RangeInclusive<u64> = 0xffff_ffff_8000_0000..=0xffff_ffff_803f_ffff;
const AREAS: RangeInclusive<u64> = 0xffff_ffff_c040_0000..=0xffff_ffff_c05f_ffff;
/// Pages of the way into the kernel: code, data, interrupt descriptors; a gate and four stacks.
const MOST_OF_IMAGE: usize = 5;
const OF_AREAS: usize = 5;

/// In the page of a processor's gate (`Gate` in `kernel/src/arch/x86/tables.rs`), in words: the address of what IRET takes, and the frame of an interrupt.
const FRAME_AT: usize = 1;
const FRAME: RangeInclusive<usize> = 2..=9;
/// What IRET takes begins here.
const IRETS: usize = 5;
/// An instruction of the program `gate`: a thread is there that has come out of the kernel by SYSRET, after another one by IRET.
const SEEN: [u8; 8] = *b"\x0f\x1f\x84\x00gate";

fn boot(arguments: Vec<String>, program: &str, more: &[&str], enough: usize) -> Outcome {
    kernel::boot(arguments, program, &[], &[more, &ON].concat(), |machine| {
        machine.expect(IS_ON)?;
        judge_at_least(machine, enough)
    })
}

fn checks() -> Outcome {
    boot(counted(), "kernel-tests", &[], ENOUGH)
}

/// Two that really run side by side.
fn processors() -> Outcome {
    boot(machine().arguments(), "cpus", &["-smp", "2"], ENOUGH_OF_CPUS)
}

fn guests() -> Outcome {
    boot(counted(), "vcpu", &[], ENOUGH_OF_VCPUS)
}

/// Looks at the tables at user level's first instruction.
fn tables() -> Outcome {
    for isolated in [true, false] {
        let option = if isolated { "kpti=on" } else { "kpti=off" };
        let (mut machine, _debugger) = run_to("kernel-tests", option, |program| Ok(program.entry()))?;
        let pages = kernels_pages(machine.monitor()?)?;
        judge(&pages, isolated)
            .map_err(|why| format!("isolated: {isolated}: {why}\n{}", machine.evidence()))?;
    }
    Ok(())
}

/// A machine that stands where it is about to execute the instruction of a program at the address that `find` gives.
fn run_to(
    program: &str,
    option: &str,
    find: fn(Elf) -> Result<u64, String>,
) -> Result<(Machine, Debugger), String> {
    let image = build::bare(("kernel-tests", program), &[])?;
    let bytes = std::fs::read(&image.root_task).map_err(|error| error.to_string())?;
    let address = find(Elf::parse(bytes)?)?;
    let mut arguments = counted();
    arguments.extend(qemu::boot_arguments(&image));
    arguments.extend(["-append", option].map(String::from));
    let (machine, mut debugger) = Machine::start_with_debugger(&arguments, LIMIT)?;
    debugger.run_to(address)?;
    Ok((machine, debugger))
}

/// A thread's registers are in the gate for IRET. They have to be gone when somebody else runs.
fn gate() -> Outcome {
    let (mut machine, _debugger) = run_to("gate", ON[1], |program| {
        let segments: Vec<_> = program.loads().copied().collect();
        let bytes = program.into_bytes();
        let mut found = segments.iter().flat_map(|segment| {
            let part = &bytes[segment.offset as usize..][..segment.file_size as usize];
            let places = part.windows(SEEN.len()).enumerate().filter(|(_, window)| *window == SEEN);
            places.map(|(at, _)| segment.vaddr + at as u64)
        });
        match (found.next(), found.next()) {
            (Some(address), None) => Ok(address),
            _ => Err("the program `gate` doesn't have the instruction, or has it twice".into()),
        }
    })?;
    let pages = kernels_pages(machine.monitor()?)?;
    let page = pages.iter().find(|page| page.at == *AREAS.start()).ok_or("there is no gate")?;
    let words = machine.monitor()?.words(page.frame, FRAME.end() + 1)?;
    if words[FRAME_AT] != AREAS.start() + 8 * IRETS as u64 {
        return Err(format!("this is no gate: {words:x?}"));
    }
    if words[FRAME].iter().any(|word| *word != 0) {
        return Err(format!("another thread's frame: {words:x?}"));
    }
    Ok(())
}

fn judge(pages: &[Page], isolated: bool) -> Outcome {
    if let Some(page) = pages.iter().find(|page| page.is_users) {
        return Err(format!("a page of the kernel's is user level's: {page:x?}"));
    }
    let inside = |range: &RangeInclusive<u64>| pages.iter().filter(|page| range.contains(&page.at)).count();
    let is_large = pages.iter().any(|page| page.is_large);
    if !isolated {
        // All RAM, in large pages.
        return if is_large { Ok(()) } else { Err(format!("the kernel isn't there: {pages:x?}")) };
    }
    let (image, areas) = (inside(&IMAGE), inside(&AREAS));
    if is_large || image + areas != pages.len() || image > MOST_OF_IMAGE || areas != OF_AREAS {
        return Err(format!("more of the kernel is there than the way to it: {pages:x?}"));
    }
    match pages.iter().find(|page| page.is_global) {
        Some(page) => Err(format!("a page outlives the address space in the processor: {page:x?}")),
        None => Ok(()),
    }
}

#[derive(Debug)]
struct Page {
    at: u64,
    frame: u64,
    is_large: bool,
    is_users: bool,
    is_global: bool,
}

/// What the loaded tables map in the upper half.
fn kernels_pages(monitor: &mut Monitor) -> Result<Vec<Page>, String> {
    let registers = monitor.human("info registers")?;
    let cr3 = registers.split("CR3=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let cr3 = cr3.and_then(|number| u64::from_str_radix(number, 16).ok()).ok_or("no CR3")?;
    let mut pages = Vec::new();
    walk(monitor, cr3 & !0xfff, 4, 0, true, &mut pages)?;
    Ok(pages)
}

fn walk(
    monitor: &mut Monitor,
    table: u64,
    level: u32,
    base: u64,
    is_users: bool,
    pages: &mut Vec<Page>,
) -> Result<(), String> {
    let entries = monitor.words(table, 512)?;
    let first = if level == 4 { 256 } else { 0 };
    for (index, entry) in entries.into_iter().enumerate().skip(first).filter(|(_, entry)| entry & 1 != 0) {
        let mut at = base | (index as u64) << (3 + 9 * level);
        if level == 4 {
            at |= 0xffff << 48;
        }
        let frame = entry & 0x000f_ffff_ffff_f000;
        let (is_users, is_large) = (is_users && entry & 4 != 0, level > 1 && entry & 1 << 7 != 0);
        if level == 1 || is_large {
            pages.push(Page { at, frame, is_large, is_users, is_global: entry & 1 << 8 != 0 });
        } else {
            walk(monitor, frame, level - 1, at, is_users, pages)?;
        }
    }
    Ok(())
}
