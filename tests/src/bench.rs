// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures: systems run under `-icount shift=0`, where the time-stamp counter counts executed instructions, and say
//! `bench <name> <value>` in their log.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use postern_cli::elf::Elf;
use postern_cli::fetch;
use postern_cli::qemu;

use crate::build;
use crate::figures::Figures;
use crate::machine::Machine;
use crate::vtd;

/// How long one run may take. Instructions are counted, not time, but the emulator takes its time over them.
const LIMIT: Duration = Duration::from_secs(600);
/// Requests behind the figures of `http`.
const REQUESTS: u32 = 1000;
/// How often they are asked.
const HTTP_RUNS: usize = 3;

type Step = fn(&mut Figures) -> Result<(), String>;

const STEPS: &[(&str, Step)] = &[
    ("boot", boot),
    ("ipc", ipc),
    ("kernel", kernel),
    ("bounded", bounded),
    ("exits", exits),
    ("edu", edu),
    ("map", map),
    ("http", http),
];

/// Runs the steps whose name contains `filter` and gives what could be measured; what couldn't is said on standard error.
///
/// # Errors
/// A sentence, if there is no such step.
pub fn run(filter: &str) -> Result<Figures, String> {
    let steps: Vec<_> = STEPS.iter().filter(|(name, _)| name.contains(filter)).collect();
    if steps.is_empty() {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no step's name contains `{filter}`: there are {}", names.join(", ")));
    }
    let mut figures = Figures::of(steps.iter().map(|(name, _)| *name));
    for (name, step) in steps {
        eprintln!("bench: {name}");
        if let Err(error) = step(&mut figures) {
            eprintln!("bench: {name}: {error}");
            figures.fail();
        }
    }
    Ok(figures)
}

/// Boots, waits for a line that contains `end`, and collects the figures of the whole log.
fn measure(figures: &mut Figures, arguments: &[String], sleep: &str, end: &str) -> Result<(), String> {
    let mut arguments = arguments.to_vec();
    arguments.extend(["-icount".into(), format!("shift=0,sleep={sleep}")]);
    let mut machine = Machine::start(&arguments)?;
    let ended = machine.expect_within(end, LIMIT);
    figures.collect(&machine.serial.lines());
    ended.map(drop).map_err(|error| format!("{error}\n{}", machine.evidence()))
}

/// Stops the machine at three first instructions and reads how many it has executed by then. For that it records its
/// execution, which changes nothing that is counted.
fn boot(figures: &mut Figures) -> Result<(), String> {
    let system = build::system("systems/hello.toml")?;
    let guest = build::program("hello")?;
    let entry = |file: &Path| {
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Elf::parse(bytes).map(|elf| elf.entry())
    };
    let log = std::env::temp_dir().join(format!("postern-{}-record.bin", std::process::id()));
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), format!("shift=0,sleep=off,rr=record,rrfile={}", log.display())]);
    let (mut machine, mut debugger) = Machine::start_with_debugger(&arguments, LIMIT)?;
    let mut counts = Vec::new();
    for file in [&system.image.kernel, &system.image.root_task, &guest] {
        debugger.run_to(entry(file)?)?;
        let text = machine.monitor()?.human("info replay")?;
        let count = text.trim().rsplit(' ').next().and_then(|number| number.parse::<u64>().ok());
        counts.push(count.ok_or_else(|| format!("no instruction count in: {text}"))?);
    }
    drop(machine);
    let _ = std::fs::remove_file(&log);
    figures.set("boot-user", counts[1] - counts[0]);
    figures.set("boot-guest", counts[2] - counts[0]);
    figures.set("boot-firmware", counts[0]);
    Ok(())
}

/// What the system `web` says of mapping its guest's RAM and of the memory beside it, and the leaves themselves.
fn map(figures: &mut Figures) -> Result<(), String> {
    let system = build::system("systems/web.toml")?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=off".into()]);
    let mut machine = Machine::start(&arguments)?;
    machine.expect_within("http: listening", LIMIT)?;
    let number = |line: &str, after: &str| {
        let digits =
            line.split_once(after).map_or("", |(_, rest)| rest).split(' ').next().unwrap_or_default();
        digits.parse::<u64>().map_err(|_| format!("no number after `{after}` in: {line}"))
    };
    figures.set("dma-map-64m", number(&machine.expect_anywhere("RAM mapped for DMA")?, "DMA in ")?);
    figures.set("vm-kib", number(&machine.expect_anywhere("vm web: started")?, "RAM, ")?);
    let monitor = machine.monitor()?;
    let contexts = vtd::contexts(monitor)?;
    let [card] = contexts[..] else { return Err(format!("context entries: {contexts:x?}")) };
    figures.set("dma-map-64m-leaves", vtd::leaves(monitor, &card)?.len() as u64);
    Ok(())
}

fn ipc(figures: &mut Figures) -> Result<(), String> {
    let image = build::bare(("kernel-tests", "ipc-bench"), &[])?;
    let mut arguments = qemu::Machine::default().arguments();
    arguments.extend(qemu::boot_arguments(&image));
    measure(figures, &arguments, "off", " passed, 0 failed")?;
    ipc_isolated(figures, arguments)
}

/// The same machine with the kernel isolated, for the rows that say so.
fn ipc_isolated(figures: &mut Figures, mut arguments: Vec<String>) -> Result<(), String> {
    arguments.extend(["-append", "kpti=on", "-icount", "shift=0,sleep=off"].map(String::from));
    let mut machine = Machine::start(&arguments)?;
    machine.expect_within(" passed, 0 failed", LIMIT)?;
    for name in ["ipc-call-reply", "ipc-passive-call-reply"] {
        let line = machine.expect_anywhere(&format!("bench {name} "))?;
        let value = line.rsplit(' ').next().and_then(|number| number.parse().ok());
        figures.set(&format!("{name}-isolated"), value.ok_or_else(|| format!("no number in: {line}"))?);
    }
    Ok(())
}

fn kernel(figures: &mut Figures) -> Result<(), String> {
    bare(figures, "kernel-bench", &[])
}

/// The same machine, with a kernel that measures itself.
fn bounded(figures: &mut Figures) -> Result<(), String> {
    bare(figures, "bounded", &["postern-kernel/pretend-interrupted"])
}

/// A program of the kernel's tests, on a machine with a device that sends a message when its register is written.
fn bare(figures: &mut Figures, program: &str, features: &[&str]) -> Result<(), String> {
    let image = build::bare(("kernel-tests", program), features)?;
    let mut arguments = qemu::Machine::default().arguments();
    for device in ["pcie-root-port,id=rp1,bus=pcie.0,chassis=1,slot=1,addr=4.0", "edu,bus=rp1"] {
        arguments.extend(["-device".into(), device.into()]);
    }
    arguments.extend(qemu::boot_arguments(&image));
    measure(figures, &arguments, "off", " passed, 0 failed")
}

fn exits(figures: &mut Figures) -> Result<(), String> {
    let system = build::system("bench-exits")?;
    measure(figures, &system.arguments(), "off", "the guest has ended")
}

fn edu(figures: &mut Figures) -> Result<(), String> {
    let system = build::system("bench-edu")?;
    measure(figures, &system.arguments(), "off", "the guest has ended")
}

/// Two runs with different numbers of requests: what boot and shutdown cost falls out of the difference. Of several such differences
/// the median, since the network's timing is the host's.
fn http(figures: &mut Figures) -> Result<(), String> {
    let mut runs = Vec::new();
    for _ in 0..HTTP_RUNS {
        let (few, many) = (http_exits(100)?, http_exits(100 + REQUESTS)?);
        runs.push(http_run(&few, &many));
    }
    for name in runs[0].keys() {
        let mut values: Vec<u64> =
            runs.iter().map(|run| run.get(name).copied().unwrap_or_default()).collect();
        values.sort_unstable();
        figures.set(name, values[values.len() / 2]);
    }
    Ok(())
}

/// The figures of one such difference.
fn http_run(few: &BTreeMap<String, u64>, many: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    let (mut all, mut interrupts) = (0, 0);
    for (reason, count) in many {
        let each = count.saturating_sub(few.get(reason).copied().unwrap_or(0));
        if reason.starts_with("0x") {
            interrupts += each;
        } else {
            all += each;
            out.insert(format!("http-exits-{reason}-per-1000"), each * 1000 / u64::from(REQUESTS));
        }
    }
    out.insert("http-exits".into(), all.div_ceil(u64::from(REQUESTS)));
    out.insert("exits-per-interrupt".into(), all.div_ceil(interrupts.max(1)));
    out
}

fn http_exits(requests: u32) -> Result<BTreeMap<String, u64>, String> {
    let system = build::system(&format!("bench-http-{requests}"))?;
    let mut arguments = system.arguments();
    arguments.extend(["-icount".into(), "shift=0,sleep=on".into()]);
    let mut machine = Machine::start(&arguments)?;
    let judge = |machine: &mut Machine| {
        machine.expect_within("http: listening", LIMIT)?;
        for _ in 0..requests {
            fetch::get(system.port, "/", LIMIT)?;
        }
        machine.expect_within("exits: ", LIMIT)
    };
    let line = judge(&mut machine).map_err(|error| format!("{error}\n{}", machine.evidence()))?;
    Ok(parse_exits(&line))
}

/// The counters of `exits: cpuid=1 io=2 …; interrupts: 0x40=3`, by reason and by vector.
fn parse_exits(line: &str) -> BTreeMap<String, u64> {
    let exits = line.split_once("exits: ").map_or("", |(_, rest)| rest);
    let pairs = exits.split([' ', ';']).filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    #[test]
    fn every_row_has_a_step() {
        for step in figures::steps() {
            assert!(STEPS.iter().any(|(name, _)| *name == step), "no step `{step}`");
        }
        assert!(run("no such step").is_err());
    }

    #[test]
    fn figures_of_http_are_what_the_requests_added() {
        let few = parse_exits("exits: hlt=300 npf=50; interrupts: 0x40=200");
        let many = parse_exits("exits: hlt=3300 npf=50 msr=1500; interrupts: 0x40=1700");
        let run = http_run(&few, &many);
        assert_eq!(run["http-exits-hlt-per-1000"], 3000);
        assert_eq!(run["http-exits-npf-per-1000"], 0);
        assert_eq!((run["http-exits"], run["exits-per-interrupt"]), (5, 3));
    }

    #[test]
    fn exits_are_read() {
        let exits = parse_exits("[web] vmm: exits: cpuid=1 io=22; interrupts: 0x40=3");
        assert_eq!(
            exits.into_iter().collect::<Vec<_>>(),
            [("0x40".to_owned(), 3), ("cpuid".to_owned(), 1), ("io".to_owned(), 22)]
        );
    }
}
