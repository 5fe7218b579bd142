// SPDX-License-Identifier: MIT OR Apache-2.0
//! The figures: systems run under `-icount shift=0`, where the time-stamp counter counts executed instructions, and say
//! `bench <name> <value>` in their log. This collects the values into a table beside the targets and the peers' figures
//! in the same machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use postern_cli::elf::Elf;
use postern_cli::fetch;
use postern_cli::qemu;

use crate::build;
use crate::machine::Machine;
use crate::vtd;

/// How long one run may take. Instructions are counted, not time, but the emulator takes its time over them.
const LIMIT: Duration = Duration::from_secs(600);
/// Requests behind the figures of `http`.
const REQUESTS: u32 = 1000;
/// How often they are asked.
const HTTP_RUNS: usize = 3;

/// One line of the table.
struct Row {
    name: &'static str,
    what: &'static str,
    target: Option<u64>,
    /// Whom to compare with, and their figure; from measurements in the same emulated machine.
    peer: &'static str,
}

const fn row(name: &'static str, what: &'static str, target: u64, peer: &'static str) -> Row {
    Row { name, what, target: Some(target), peer }
}

const fn plain(name: &'static str, what: &'static str, peer: &'static str) -> Row {
    Row { name, what, target: None, peer }
}

const ROWS: &[Row] = &[
    row("boot-user", "kernel's first instruction to user level's first", 40_000_000, ""),
    row("boot-guest", "kernel's first instruction to the guest's first", 40_000_000, ""),
    row(
        "ipc-call-reply",
        "call and reply between two processes, no payload",
        500,
        "seL4 MCS, passive server: fast path 489 to 509, slow path 2,068",
    ),
    plain("ipc-call-reply-10", "the same with 10 words", "seL4 MCS: 2,178"),
    row(
        "ipc-passive-call",
        "call of a passive server of the same priority, one way",
        212,
        "seL4 MCS: 212 to 222",
    ),
    row("ipc-passive-reply", "its reply, and waiting again, one way", 277, "seL4 MCS: 277 to 287"),
    row("ipc-passive-call-reply", "both", 489, "seL4 MCS: 489 to 509"),
    row(
        "exit-cpuid",
        "CPUID answered by the VMM",
        1000,
        "KVM, in its kernel: 3,120 (it has no next-RIP here)",
    ),
    row(
        "exit-out",
        "port write answered by the VMM",
        1000,
        "KVM to its user level: 3,571; in its kernel: 1,720",
    ),
    row("exit-in", "port read answered by the VMM", 1000, "KVM to its user level: 3,605"),
    row("exit-mmio-write", "MMIO write answered by the VMM", 1800, "KVM to its user level: 5,690"),
    row("exit-mmio-read", "MMIO read answered by the VMM", 1800, "KVM to its user level: 6,216"),
    row("msi-spin", "BAR write to the guest's handler, guest spinning", 1500, "KVM and VFIO: 3,380"),
    plain("msi-timed-spin", "the device's own message to the handler, spinning", "KVM and VFIO: 3,380"),
    plain("msi-hlt-doorbell", "BAR write just before HLT to the handler", "KVM and VFIO: 8,676"),
    row("msi-wake", "the device's own message to the handler, guest in HLT", 3000, "KVM and VFIO: 8,861"),
    plain("dma-map-64m", "DMA map of 64 MiB, tables made on the way", "VFIO at its best: 1.66 million"),
    row("dma-map-64m-leaves", "leaf entries written for 64 MiB", 64, "2 MiB leaves: 32"),
    row("vm-kib", "memory of one VM beside its RAM, KiB", 2048, "KVM's floor: 436 to 708"),
    row("exits-per-interrupt", "exits for each interrupt of the guest `http`, at most", 4, ""),
    plain("http-exits", "exits per HTTP request, all reasons", ""),
];

/// What the table shows.
#[derive(Default)]
pub struct Figures {
    values: BTreeMap<String, u64>,
}

impl Figures {
    /// Takes the values out of a log's lines.
    pub fn collect(&mut self, lines: &[String]) {
        for line in lines {
            let mut words = line.split_whitespace().skip_while(|word| *word != "bench").skip(1);
            if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
                self.values.insert(name.to_owned(), value);
            }
        }
    }

    fn set(&mut self, name: &str, value: u64) {
        self.values.insert(name.to_owned(), value);
    }

    /// The table, as Markdown; and whether every target is reached.
    #[must_use]
    pub fn table(&self) -> (String, bool) {
        let mut out =
            String::from("| figure | value | target | | peers |\n| --- | ---: | ---: | --- | --- |\n");
        let mut all = true;
        for row in ROWS {
            let value = self.values.get(row.name);
            let reached = match (value, row.target) {
                (Some(value), Some(target)) if *value <= target => "reached",
                (Some(_), Some(_)) => "missed",
                (Some(_), None) => "",
                (None, _) => "not measured",
            };
            all &= !matches!(reached, "missed" | "not measured");
            let shown = value.map(|value| grouped(*value)).unwrap_or_default();
            let target = row.target.map(grouped).unwrap_or_default();
            let _ = writeln!(out, "| {} | {shown} | {target} | {reached} | {} |", row.what, row.peer);
        }
        for (name, value) in &self.values {
            if !ROWS.iter().any(|row| row.name == name) {
                let _ = writeln!(out, "| {name} | {} | | | |", grouped(*value));
            }
        }
        (out, all)
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

type Step = fn(&mut Figures) -> Result<(), String>;

/// Runs the steps whose name contains `filter` and gives what could be measured; what couldn't is said on standard error.
#[must_use]
pub fn run(filter: &str) -> Figures {
    let mut figures = Figures::default();
    let steps: [(&str, Step); 6] =
        [("boot", boot), ("ipc", ipc), ("exits", exits), ("edu", edu), ("map", map), ("http", http)];
    for (name, step) in steps.into_iter().filter(|(name, _)| name.contains(filter)) {
        eprintln!("bench: {name}");
        if let Err(error) = step(&mut figures) {
            eprintln!("bench: {name}: {error}");
        }
    }
    figures
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
    measure(figures, &arguments, "off", " passed, ")
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

    #[test]
    fn figures_are_collected_and_judged() {
        let mut figures = Figures::default();
        figures.collect(&[
            "[edu] bench msi-spin 1234".into(),
            "bench exit-cpuid 2000".into(),
            "[edu] bench broken x".into(),
            "[x] bench own-thing 1234567".into(),
        ]);
        let (table, all) = figures.table();
        assert!(!all);
        assert!(table.contains("| 1,234 | 1,500 | reached |"), "{table}");
        assert!(table.contains("| 2,000 | 1,000 | missed |"), "{table}");
        assert!(table.contains("| own-thing | 1,234,567 |"), "{table}");
        assert!(table.contains("not measured"));
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
